"""What the official clients make of our errors, and of connections and streams that break."""

import http.client
import json

import anthropic
import openai
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]

ASK = {
    "model": "demo",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 8,
    "temperature": 0,
}
LONG = ASK | {"max_tokens": 1800, "extra_body": {"ignore_eos": True}}


class Statuses(list):
    """The statuses of all answers that a client got; `then` is called with each."""

    def __init__(self):
        super().__init__()
        self.then = lambda status: None

    def hook(self, response):
        self.append(response.status_code)
        self.then(response.status_code)


@pytest.fixture
def statuses():
    return Statuses()


@pytest.fixture
def connect(server, statuses):
    """A client of OpenAI's that tries again as often as it does by default."""
    clients = []

    def connect(key, **more):
        http_client = openai.DefaultHttpxClient(event_hooks={"response": [statuses.hook]})
        url = server.url + "/v1"
        clients.append(openai.OpenAI(base_url=url, api_key=key, http_client=http_client, **more))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def api(connect, key):
    return connect(key)


@pytest.mark.parametrize(
    ("asked", "kind", "code", "param"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError, "model_not_found", "model"),
        ({"temperature": 3}, openai.BadRequestError, "invalid_request", "temperature"),
        ({"stream": True, "n": 0}, openai.BadRequestError, "invalid_request", "n"),
        ({"extra_body": {"top_kk": 1}}, openai.BadRequestError, "invalid_request", "top_kk"),
    ],
)
def test_an_error_has_its_class_code_and_parameter_and_is_not_tried_again(
    api, statuses, asked, kind, code, param
):
    with pytest.raises(kind) as caught:
        api.chat.completions.create(**(ASK | asked))
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.request_id.startswith("req_")
    assert len(statuses) == 1


def test_a_wrong_key(connect, server):
    with pytest.raises(openai.AuthenticationError, match="key is not valid"):
        connect("sk-wrong").chat.completions.create(**ASK)
    with (
        anthropic.Anthropic(base_url=server.url, api_key="sk-wrong") as client,
        pytest.raises(anthropic.AuthenticationError, match="key is not valid"),
    ):
        client.messages.create(model="demo", messages=ASK["messages"], max_tokens=8)


def test_what_is_for_admins_only(api):
    with pytest.raises(openai.PermissionDeniedError):
        api.get("/../metrics", cast_to=str)


def test_a_client_waits_as_long_as_it_is_told_and_asks_again(connect, limited_key, statuses):
    client = connect(limited_key, max_retries=10)
    stream = client.chat.completions.create(stream=True, **LONG)
    statuses.then = lambda status: stream.close() if status == 429 else None
    answer = client.chat.completions.create(**ASK)
    assert "Paris" in answer.choices[0].message.content
    assert statuses[:2] == [200, 429]
    assert statuses[-1] == 200


def test_what_can_never_pass_is_not_tried_again(connect, limited_key, statuses):
    with pytest.raises(openai.RateLimitError, match="20000 tokens a minute"):
        connect(limited_key).completions.create(
            model="demo", prompt=["Once"] * 100, max_tokens=1800
        )
    assert statuses == [429]


def test_an_answer_that_took_too_long_is_not_asked_for_again(api, statuses):
    with pytest.raises(openai.InternalServerError, match=r"0\.3 s"):
        api.chat.completions.create(extra_headers={"X-Request-Timeout": "0.3"}, **LONG)
    assert statuses == [504]


def test_a_stream_that_fails_says_so_at_its_end(api):
    late = {"X-Request-Timeout": "0.5"}
    with pytest.raises(openai.APIError, match=r"0\.5 s") as caught:
        for _ in api.chat.completions.create(stream=True, extra_headers=late, **LONG):
            pass
    assert caught.value.code == "request_timeout"


def test_a_stream_whose_gateway_dies_ends_in_an_error_and_the_client_can_go_on(server, api):
    chunks = iter(api.chat.completions.create(stream=True, **LONG))
    next(chunks)
    dead = server.kill("gateway:0")
    with pytest.raises(openai.APIConnectionError):
        list(chunks)
    server.wait_successor(dead)
    answer = api.chat.completions.create(**ASK)
    assert "Paris" in answer.choices[0].message.content


def test_a_connection_outlives_errors(server, key):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.connect()
    first = connection.sock
    for path, body, allowed, status in [
        ("/v1/chat/completions", ASK, "sk-wrong", 401),
        ("/v1/nowhere", ASK, key, 404),
        ("/v1/chat/completions", ASK | {"temperature": 3}, key, 400),
        ("/v1/chat/completions", ASK | {"stream": True}, key, 200),
        ("/v1/chat/completions", ASK, key, 200),
    ]:
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {allowed}"})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, connection.sock) == (status, first)
    connection.close()
