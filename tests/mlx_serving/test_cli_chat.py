import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from config.errors import (
    ConfigError,
    EngineFailed,
    ModelNotFound,
    PeerUnreachable,
    ProtocolError,
    Unauthenticated,
)
from mlx_serving.cli import main
from mlx_serving.cli.chat import Conversation


class Handler(BaseHTTPRequestHandler):
    """An OpenAI-style server of one model that says what the test put into `pieces`."""

    def do_GET(self):
        self.server.keys.append(self.headers["Authorization"])
        self.answer(self.server.listed)

    def do_POST(self):
        self.server.keys.append(self.headers["Authorization"])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, json.loads(body)))
        if self.server.refusal:
            self.answer(*self.server.refusal)
            return
        self.send_response(200)
        self.end_headers()
        for event in self.server.events:
            self.wfile.write(f"data: {event}\n\n".encode())

    def answer(self, body, code=200):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.keys, server.refusal = [], [], None
    server.listed = '{"object": "list", "data": [{"id": "demo"}, {"id": "other"}]}'
    server.url = f"http://127.0.0.1:{server.server_port}"
    says(server, "Hello", " you!")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


def says(server, *pieces, end="[DONE]"):
    deltas = [{"role": "assistant"}, *({"content": piece} for piece in pieces), {}]
    server.events = [json.dumps({"choices": [{"delta": delta}]}) for delta in deltas] + [end]


def test_the_answer_comes_in_pieces(server):
    assert list(Conversation(server.url).say("Hi")) == ["Hello", " you!"]


def test_the_first_model_is_asked(server):
    list(Conversation(server.url).say("Hi"))
    ((path, body),) = server.asked
    assert (path, body["model"], body["stream"]) == ("/v1/chat/completions", "demo", True)


def test_the_named_model_is_asked(server):
    list(Conversation(server.url, "other").say("Hi"))
    assert server.asked[0][1]["model"] == "other"


def test_the_conversation_is_kept(server):
    conversation = Conversation(server.url)
    list(conversation.say("Hi"))
    list(conversation.say("Again"))
    assert server.asked[1][1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello you!"},
        {"role": "user", "content": "Again"},
    ]


def test_a_stopped_answer_is_kept_as_far_as_it_came(server):
    conversation = Conversation(server.url)
    answer = conversation.say("Hi")
    assert next(answer) == "Hello"
    answer.close()
    assert conversation.messages[-1] == {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_url_may_end_as_other_clients_want_it(server, path):
    assert list(Conversation(server.url + path).say("Hi")) == ["Hello", " you!"]


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "key"


def test_the_key_of_a_file_is_sent_with_every_request(server, key_file, monkeypatch, capsys):
    key_file.write_text("sk-mlx-1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    assert main(["chat", "--url", server.url, "--key-file", str(key_file)]) == 0
    assert server.keys == ["Bearer sk-mlx-1"] * 2
    assert capsys.readouterr().out == "Hello you!\n"


@pytest.mark.parametrize("content", [b"", b"two words", b"a\r\nX-Other: 1", "kéy".encode()])
def test_a_file_without_a_key_is_refused(server, key_file, content, capsys):
    key_file.write_bytes(content)
    assert main(["chat", "--url", server.url, "--key-file", str(key_file)]) == 2
    assert "an API key and nothing else" in capsys.readouterr().err
    assert server.keys == []


def test_a_refusal_says_why_and_leaves_no_trace(server):
    server.refusal = '{"error": {"code": "model_not_found", "message": "no model x"}}', 404
    conversation = Conversation(server.url, "x")
    with pytest.raises(ModelNotFound, match="no model x"):
        list(conversation.say("Hi"))
    assert conversation.messages == []


def test_a_refusal_for_want_of_a_key_says_what_to_do(server):
    server.refusal = '{"error": {"code": "invalid_api_key", "message": "no API key"}}', 401
    with pytest.raises(Unauthenticated, match="no API key; name a file with a key: --key-file"):
        list(Conversation(server.url, "x").say("Hi"))


def test_a_refusal_of_another_kind_of_server(server):
    server.refusal = "<html>", 502
    with pytest.raises(Exception, match="the server answered 502 Bad Gateway"):
        list(Conversation(server.url).say("Hi"))


def test_an_error_within_the_answer(server):
    server.events[-1] = '{"error": {"message": "the engine is gone"}}'
    with pytest.raises(EngineFailed, match="broke off: the engine is gone"):
        list(Conversation(server.url).say("Hi"))


def test_an_answer_without_its_end(server):
    del server.events[-1]
    with pytest.raises(EngineFailed, match="the server closed the connection"):
        list(Conversation(server.url).say("Hi"))


def test_no_server_is_said_clearly():
    with pytest.raises(PeerUnreachable, match="start one with: mlx-serving serve"):
        Conversation("http://127.0.0.1:1")


def test_a_server_of_something_else(server):
    server.listed = "<html>"
    with pytest.raises(ProtocolError, match="is no server of language models"):
        Conversation(server.url)


def test_a_server_without_models(server):
    server.listed = '{"data": []}'
    with pytest.raises(ModelNotFound, match="serves no model yet"):
        Conversation(server.url)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:y"])
def test_what_is_no_url(url):
    with pytest.raises(ConfigError, match="--url: expected something like"):
        Conversation(url)


def test_questions_from_a_pipe(server, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\nAgain\n"))
    assert main(["chat", "--url", server.url]) == 0
    assert capsys.readouterr().out == "Hello you!\nHello you!\n"
    assert len(server.asked) == 2


def test_an_error_ends_a_pipe(server, monkeypatch, capsys):
    server.refusal = '{"error": {"code": "queue_full", "message": "too many wait"}}', 429
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\nAgain\n"))
    assert main(["chat", "--url", server.url]) == 1
    assert capsys.readouterr().err == "mlx-serving: too many wait\n"
    assert len(server.asked) == 1


class Person(io.StringIO):
    """Someone at a terminal."""

    def isatty(self):
        return True


def test_a_person_is_told_of_an_error_and_goes_on(server, monkeypatch, capsys):
    server.refusal = '{"error": {"code": "queue_full", "message": "too many wait"}}', 429
    monkeypatch.setattr("sys.stdin", Person("Hi\nAgain\n"))
    assert main(["chat", "--url", server.url]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"demo at {server.url}.")
    assert err.count("mlx-serving: too many wait") == 2


def test_ctrl_c_stops_the_answer_and_not_the_conversation(server, monkeypatch, capsys):
    interrupted = []

    def interrupt(self, text):
        for piece in Conversation.whole(self, text):
            yield piece
            if not interrupted:
                interrupted.append(True)
                raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "whole", Conversation.say, raising=False)
    monkeypatch.setattr(Conversation, "say", interrupt)
    monkeypatch.setattr("sys.stdin", Person("Hi\nAgain\n"))
    assert main(["chat", "--url", server.url]) == 0
    assert "Hello [stopped]" in capsys.readouterr().out
    assert len(server.asked) == 2
