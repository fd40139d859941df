"""`mlx-serving chat`: a conversation with a running server, in the terminal."""

import contextlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    from mlx_serving.cli.arguments import Commands

_CONNECT_S = 5.0
_SILENCE_S = 600.0  # the server's own deadline for a request comes first
_MAX_KEY_BYTES = 16 * 1024

Message = dict[str, str]


def add(commands: "Commands", common: ArgumentParser) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser("chat", parents=[common], help="talk to a running server")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8080", metavar="URL", help="the server's address"
    )
    parser.add_argument("--model", metavar="M", help="which model; default: the first it serves")
    parser.add_argument(
        "--key-file", metavar="FILE", help="a file with the API key, where the server wants one"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Talk until Ctrl-D; Ctrl-C stops an answer."""
    key = _key(arguments.key_file) if arguments.key_file else None
    conversation = Conversation(arguments.url, arguments.model, key)
    person = sys.stdin.isatty()
    if person:
        _use_line_editing()
        print(f"{conversation.model} at {arguments.url}. Ctrl-C stops an answer, Ctrl-D leaves.")
    while True:
        try:
            text = input("> " if person else "")
        except EOFError:
            return 0
        except KeyboardInterrupt:
            if not person:
                raise
            print("\n(Ctrl-D leaves)")
            continue
        if text.strip():
            _answer(conversation, text, forgiving=person)


def _key(file: str) -> str:
    from pathlib import Path

    from config.errors import ConfigError

    words = Path(file).expanduser().read_bytes()[:_MAX_KEY_BYTES].split()
    if len(words) != 1 or not words[0].isascii():
        raise ConfigError(f"--key-file: {file} should have an API key and nothing else")
    return words[0].decode()


def _answer(conversation: "Conversation", text: str, *, forgiving: bool) -> None:
    """Print it; a person is told of an error and may go on, a script gets it."""
    from config.errors import ServingError

    try:
        with contextlib.closing(conversation.say(text)) as pieces:
            for piece in pieces:
                print(piece, end="", flush=True)
        print()
    except KeyboardInterrupt:
        print(" [stopped]")
    except ServingError as error:
        if not forgiving:
            raise
        print(f"\nmlx-serving: {error.message}", file=sys.stderr)


def _use_line_editing() -> None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (input() uses it once it is there)


class Conversation:
    """What was said so far, with one model of one server."""

    def __init__(self, url: str, model: str | None = None, key: str | None = None) -> None:
        self._url = _checked(url)
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self.messages: list[Message] = []
        self.model = model or self._first_model()

    def say(self, text: str) -> Generator[str]:
        """The answer's text, piece by piece.

        What was received stays in the conversation even when the iteration is broken off.

        Raises:
            ServingError: the server is not there or did not answer.
        """
        asked: Message = {"role": "user", "content": text}
        body = {"model": self.model, "messages": [*self.messages, asked], "stream": True}
        connection, response = self._send("POST", "/v1/chat/completions", body)
        pieces: list[str] = []
        try:
            for piece in _pieces(response):
                pieces.append(piece)
                yield piece
        finally:
            connection.close()
            if pieces:
                self.messages += [asked, {"role": "assistant", "content": "".join(pieces)}]

    def _first_model(self) -> str:
        from config.errors import ModelNotFound, ProtocolError

        connection, response = self._send("GET", "/v1/models")
        try:
            listed = json.loads(response.read())["data"]
            names = [str(model["id"]) for model in listed]
        except (OSError, ValueError, KeyError, TypeError):
            raise ProtocolError(f"{self._url.geturl()} is no server of language models") from None
        finally:
            connection.close()
        if not names:
            raise ModelNotFound(f"{self._url.geturl()} serves no model yet")
        return names[0]

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> "tuple[HTTPConnection, HTTPResponse]":
        from http.client import HTTPException

        from config.errors import PeerUnreachable

        connection = _connection(self._url)
        try:
            connection.connect()
            if connection.sock:
                connection.sock.settimeout(_SILENCE_S)
            base = self._url.path.rstrip("/").removesuffix("/v1")
            connection.request(
                method, base + path, json.dumps(body) if body else None, self._headers
            )
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            url = self._url.geturl()
            raise PeerUnreachable(
                f"no server answers at {url} ({error}); start one with: mlx-serving serve"
            ) from None
        if response.status != 200:
            raise _refusal(response)
        return connection, response


def _checked(url: str) -> SplitResult:
    from config.errors import ConfigError

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--url: expected something like http://127.0.0.1:8080, got {url!r}")
    return parts


def _connection(url: SplitResult) -> "HTTPConnection":
    from http.client import HTTPConnection, HTTPSConnection

    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(url.hostname or "", url.port, timeout=_CONNECT_S)


def _pieces(response: "HTTPResponse") -> Generator[str]:
    """The text in a stream of server-sent events, up to `[DONE]`."""
    from http.client import HTTPException

    from config.errors import EngineFailed

    try:
        for line in response:
            data = line.decode("utf-8").strip().removeprefix("data:").strip()
            if data == "[DONE]":
                return
            if line.startswith(b"data:"):
                yield from _content(json.loads(data))
    except (OSError, HTTPException, ValueError) as error:
        raise EngineFailed(f"the answer broke off: {error}") from None
    raise EngineFailed("the answer broke off: the server closed the connection")


def _content(event: dict[str, Any]) -> Generator[str]:
    from config.errors import EngineFailed

    if "error" in event:
        raise EngineFailed(f"the answer broke off: {event['error'].get('message')}")
    for choice in event.get("choices", []):
        if choice.get("delta", {}).get("content"):
            yield choice["delta"]["content"]


def _refusal(response: "HTTPResponse") -> Exception:
    from config.errors import from_wire

    remedy = "; name a file with a key: --key-file" if response.status == 401 else ""
    try:
        error = json.loads(response.read())["error"]
        return from_wire(str(error.get("code")), str(error["message"]) + remedy)
    except (ValueError, KeyError, TypeError, AttributeError):
        return from_wire("", f"the server answered {response.status} {response.reason}")
