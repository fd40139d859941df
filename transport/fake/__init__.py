"""An engine and a control process without a model, for tests of whatever talks to them.

Both speak the real protocol over real sockets, each in a thread of its own, and can be made to
fail in every way the real ones do. A fake engine's tokens depend on nothing but the seed and the
position, so a sequence that went through many engines can be compared with `fake_tokens`.

    control = FakeControl("/tmp/x")
    engine = FakeEngine("engine:fake:0", 1, "ipc:///tmp/x/e.sock", control=control.control_endpoint)
    ...
    engine.die()
    control.engine_down("engine:fake:0", 1)
"""

from transport.fake.control import FakeControl
from transport.fake.engine import (
    EOS,
    FakeEngine,
    fake_card,
    fake_token,
    fake_tokens,
    fake_vector,
)

__all__ = [
    "EOS",
    "FakeControl",
    "FakeEngine",
    "fake_card",
    "fake_token",
    "fake_tokens",
    "fake_vector",
]
