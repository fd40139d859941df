"""Whatever a body says, it is understood or refused."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import InvalidRequest
from gateway.anthropic.conversation import conversation
from gateway.anthropic.parameters import generation_parameters
from gateway.anthropic.schema import Block, MessagesBody, Thinking, Tool, ToolChoice, read_messages
from gateway.messages import template_messages
from gateway.tools import tool_use

KINDS = ["text", "tool_use", "tool_result", "thinking", "image", "redacted_thinking", "custom"]
KINDS += ["auto", "any", "tool", "none", "enabled", "adaptive", "disabled", "json_schema"]
FIELDS = [Block, MessagesBody, Thinking, Tool, ToolChoice]
NAMES = sorted({name for kind in FIELDS for name in kind.__struct_fields__})
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-1, 3000)
    | st.floats(0, 2)
    | st.text("a\x00ü", max_size=3)
)
VALUES = st.recursive(
    ATOMS | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)
TYPED = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={name: VALUES for name in Block.__struct_fields__[1:]},
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", "tool"]),
            "content": st.text(max_size=3) | st.lists(TYPED, max_size=4),
        }
    ),
    max_size=4,
)
BODIES = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 3000), "messages": MESSAGES | VALUES},
    optional={
        "system": st.lists(TYPED, max_size=2) | VALUES,
        "tools": st.lists(TYPED | VALUES, max_size=2),
        "tool_choice": TYPED | VALUES,
        "thinking": TYPED | VALUES,
        **dict.fromkeys(["temperature", "stop_sequences", "metadata", "output_config"], VALUES),
    },
)


@settings(deadline=None, max_examples=100)
@given(BODIES)
def test_it_is_understood_or_refused(given):
    try:
        body = read_messages(json.dumps(given).encode())
        said = conversation(body.system, body.messages)
        tool_use(generation_parameters(body), 10_000)
        template_messages(said.messages)
    except InvalidRequest:
        return
    assert len(said.messages) == len(said.places)
