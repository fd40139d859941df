"""What a person at the terminal sees of a running server."""

import time

from mlx_serving.terminal import Terminal
from transport.messages.admin import (
    ChildEnded,
    ChildFaulted,
    ChildRecycled,
    ChildStateChanged,
    Escalated,
    Event,
    GroupRemoved,
    LoadingProgress,
    RestartPlanned,
    Stopping,
    TreeReady,
)

_QUESTION = '"messages": [{"role": "user", "content": "Hello! Who are you?"}]'
REPEAT_S = 2.0  # between two lines about the same stage of the same child


class Console:
    """Turns events into lines on stderr; the supervisor's thread only."""

    def __init__(
        self, terminal: Terminal, url: str, models: list[str], *, verbose: bool, keys: bool = False
    ) -> None:
        """`keys`: clients have to send an API key."""
        self._terminal = terminal
        self._url = url
        self._models = models
        self._verbose = verbose
        self._key_header = '-H "Authorization: Bearer $KEY" ' if keys else ""
        self._started = False
        self._embedders: set[str] = set()  # models that make vectors
        self._told: dict[str, tuple[str, float]] = {}

    def event(self, event: Event) -> None:
        """Say it, if it is worth a line."""
        text = self._text(event)
        if text is not None:
            for line in f"mlx-serving: {text}".split("\n"):
                self._terminal.line(line)

    def _text(self, event: Event) -> str | None:
        match event:
            case LoadingProgress():
                return self._progress(event)
            case TreeReady():
                self._started = True
                return self._ready()
            case ChildStateChanged(facts={"kind": "embedding", "model": str(model)}):
                self._embedders.add(model)
                return f"{event.child_id}: {event.state}" if self._verbose else None
            case _ if not self._started and not self._verbose:
                return None  # a start that fails is told in one line, at the end
            case ChildEnded(asked=False):
                return f"{event.child_id} ended: {event.reason}"
            case ChildFaulted():
                return f"{event.child_id} is being replaced: {event.reason}"
            case ChildRecycled():
                return f"{event.child_id} is being replaced by a fresh process: {event.reason}"
            case RestartPlanned():
                return f"restarting {', '.join(event.children)} in {event.delay_s:.1f} s"
            case Escalated():
                return f"{event.group_id} is given up: {event.reason}"
            case GroupRemoved(reason=str(reason)):
                return f"{event.group_id} was removed: {reason}"
            case Stopping(drain_s=drain_s) if drain_s > 0:
                return f"{event.reason}; finishing what runs, at most {drain_s:.0f} s"
            case Stopping():
                return f"stopping: {event.reason}"
            case ChildStateChanged() if self._verbose:
                return f"{event.child_id}: {event.state}"
        return None

    def _progress(self, event: LoadingProgress) -> str | None:
        now = time.monotonic()
        stage, told_at = self._told.get(event.child_id, ("", 0.0))
        if stage == event.stage and now - told_at < REPEAT_S:
            return None
        self._told[event.child_id] = (event.stage, now)
        share = "" if event.fraction is None else f" ({event.fraction:.0%})"
        return f"{event.child_id}: {event.stage}{share}"

    def _ready(self) -> str:
        if not self._models:
            return f"ready on {self._url}, no model loaded yet (mlx-serving admin load MODEL)"
        model = self._models[0]
        path, asked = "chat/completions", _QUESTION
        if model in self._embedders:
            path, asked = "embeddings", '"input": "Hello!"'
        return (
            f"ready on {self._url}, serving {', '.join(self._models)}. Try:\n\n"
            f"  curl {self._url}/v1/{path} -H 'Content-Type: application/json' "
            f'{self._key_header}-d \'{{"model": "{model}", {asked}}}\'\n'
        )
