"""What the head of a request may say of its host, its target and its body (RFC 9110 and 9112)."""

import pytest

from config.settings import AuthSettings
from gateway.auth.cors import Cors
from gateway.auth.guard import Guard
from gateway.http.server.connection import Limits
from gateway.http.server.head import is_host
from gateway.http.server.refused import Refused
from gateway.http.server.target import absolute, path_of, target
from tests.gateway.http.raw import CLOSE, PLAIN, POST, answers, exchange, status

CODED = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: 2\r\n\r\n{}"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "coding",
    [
        b"Content-Encoding: gzip\r\n",
        b"content-encoding:BR\r\n",
        b"Content-Encoding: deflate, identity\r\n",
        b"Content-Encoding: identity\r\nContent-Encoding: zstd\r\n",
        b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/v1/completions", b"/v1/messages"])
def test_a_coded_body_is_refused_in_the_shape_of_its_path(path, coding):
    head, body = exchange(CODED % (path, coding))
    assert status(head) == 415
    assert b"\r\nAccept-Encoding: identity\r\n" in head
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"].startswith("Content-Encoding: ")
    assert body.get("type") == ("error" if path == b"/v1/messages" else None)


def test_a_coded_body_is_refused_before_it_comes():
    head, _ = exchange(POST + b"Content-Encoding: gzip\r\nContent-Length: 500000\r\n\r\n")
    assert status(head) == 415


@pytest.mark.parametrize("coding", [b"identity", b" Identity , identity ", b""])
def test_a_body_may_be_said_to_be_plain(coding):
    head, _ = exchange(POST + b"Content-Encoding: " + coding + b"\r\n" + PLAIN)
    assert status(head) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"Host: x\r\nHost: x\r\n",
        b"Host: x\r\nHost: y\r\n",
        b"Host: a b\r\n",
        b"Host: user@x\r\n",
        b"Host: x/path\r\n",
        b"Host: x:y\r\n",
        b"Host: \xe9\r\n",
    ],
)
def test_a_request_has_one_host(hosts):
    head, body = exchange(b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n" + SMUGGLED)
    assert status(head) == 400
    assert "host" in body["error"]["message"].lower()


@pytest.mark.parametrize(
    "host", [b"", b"x", b"x:80", b"x: ", b"127.0.0.1:8080", b"[::1]", b"[::1]:1", b"a_b.c-d.e."]
)
def test_what_a_host_is(host):
    assert is_host(host)
    head, _ = exchange(b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE + b"\r\n")
    assert status(head) == 200


def test_before_http_1_1_a_request_needs_no_host():
    assert status(exchange(b"GET /health HTTP/1.0\r\n\r\n")[0]) == 200


@pytest.mark.parametrize(
    ("codings", "expected"),
    [
        (b"gzip, chunked", 501),
        (b"gzip\r\nTransfer-Encoding: chunked", 501),
        (b"gzip\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nConnection: upgrade", 501),
        (b"gzip", 400),
        (b"identity", 400),
        (b"xchunked", 400),
        (b"chunked, gzip", 400),
        (b"chunked, chunked", 400),
        (b"chunked\r\nTransfer-Encoding: identity", 400),
        (b"chunked\r\nTransfer-Encoding: chunked", 400),
        (b"chunked;a=b", 400),
        (b'"chunked"', 400),
        (b",chunked", 400),
        (b"chunked,", 400),
        (b"", 400),
        (b"\x0bchunked", 400),
        (b"chunked\r\nContent-Length: 3", 400),
        (b"chunked\r\nContent-Length: 3\r\nUpgrade: h2c\r\nConnection: upgrade", 400),
    ],
)
def test_chunked_is_the_only_transfer_coding(codings, expected):
    raw = POST + b"Transfer-Encoding: " + codings + b"\r\n\r\n0\r\n\r\n" + SMUGGLED
    head, body = exchange(raw)
    assert status(head) == expected
    assert body["error"]["type"] == "invalid_request_error"


def test_a_length_before_a_transfer_coding_is_refused():
    raw = POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED
    assert status(exchange(raw)[0]) == 400


def test_http_1_0_has_no_transfer_codings():
    raw = b"POST /v1/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    head, body = exchange(raw)
    assert (status(head), "HTTP/1.1" in body["error"]["message"]) == (400, True)


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b"\tchunked "])
def test_a_body_in_chunks_is_taken(coding):
    raw = POST + b"Transfer-Encoding: " + coding + b"\r\n" + CLOSE
    head, _ = exchange(raw + b'\r\ne;a="b"\r\n{"prompt":"x"}\r\n0\r\nX: y\r\n\r\n')
    assert status(head) == 200


BODY = b'Content-Length: 14\r\n%b\r\n{"prompt":"x"}'
NO_HTTP = [
    *(b"X: a\r\n b\r\n", b"X: a\nY: b\r\n", b"X: a\rY: b\r\n", b"X : a\r\n", b"X: \0\r\n"),
    *(b"Content-Length: 14\r\n", b"Content-Length: 3\r\n", b"Authorization: a\r\nX-\xe9: b\r\n"),
]


@pytest.mark.parametrize("more", NO_HTTP)
def test_what_others_read_differently_is_refused(more):
    assert status(exchange(POST + BODY % more + SMUGGLED)[0]) == 400


@pytest.mark.parametrize(
    "length", [b"+5", b"-1", b"5, 5", b"0x5", b"5 5", b"", b"1_0", b"\xb2", b"9" * 30]
)
def test_a_length_is_a_plain_number(length):
    raw = POST + b"Content-Length: " + length + b"\r\n\r\nhello" + SMUGGLED
    assert status(exchange(raw)[0]) == 400


CHUNKS = [
    *(b"1\na\r\n0\r\n\r\n", b"-1\r\na\r\n0\r\n\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"\r\na\r\n"),
    *(b"1 \r\na\r\n0\r\n\r\n", b"1\r\naX0\r\n\r\n", b"1\r\na\n0\r\n\r\n", b"1" * 20 + b"\r\na"),
    *(b"1;a\nb\r\na\r\n0\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nX : a\r\n"),
]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_are_as_they_should_be(chunks):
    raw = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + SMUGGLED
    assert status(exchange(raw)[0]) == 400


@pytest.mark.parametrize(
    "rest", [b"1;" + b"x" * 40_000, b"0\r\nX: " + b"x" * 40_000, b"0\r\n" + b"X: y\r\n" * 200]
)
def test_what_surrounds_chunks_is_bounded(rest):
    assert status(exchange(POST + b"Transfer-Encoding: chunked\r\n\r\n" + rest)[0]) == 431


@pytest.mark.parametrize("method", [b"HEAD", b"GET", b"OPTIONS", b"DELETE"])
def test_a_body_is_never_read_as_a_request(method):
    inner = b"%b /health HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (
        method,
        len(SMUGGLED),
    )
    found = answers(inner + SMUGGLED + b"GET /health HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
    assert found.count(b"HTTP/1.1 ") == 2
    assert b"smuggled" not in found
    assert found.endswith(b'{"status":"ok"}')


def test_a_refusal_of_head_has_no_body():
    found = answers(b"HEAD /health HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 415 ")
    assert found.endswith(b"\r\n\r\n")


def test_what_came_before_something_malformed_is_answered():
    one = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    found = answers(b"".join(one % number for number in range(5)) + b"no request\r\n\r\n")
    for number in range(5):
        assert b'there is nothing at /%d"' % number in found


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (b"http://x/health", 200),
        (b"HTTPS://x:80/health?a=b", 200),
        (b"http://[::1]:80/health", 200),
        (b"http://x", 404),
        (b"http://x?y", 404),
        (b"ftp://x/health", 400),
        (b"http://user@x/health", 400),
        (b"http:///health", 400),
        (b"http://:80/health", 400),
        (b"http://x/health#part", 400),
        (b"http://x/../health", 400),
        (b"*", 400),
    ],
)
def test_a_target_may_be_a_whole_address(address, expected):
    raw = b"GET " + address + b" HTTP/1.1\r\nHost: other\r\n" + CLOSE + b"\r\n"
    assert status(exchange(raw)[0]) == expected


def test_a_whole_address_has_a_host_a_path_and_a_query():
    host, rest = absolute(b"http://a:1/%41/b?c=%41")
    assert (host, target(rest)) == (b"a:1", ("/A/b", b"c=%41"))
    assert absolute(b"http://a?q") == (b"a", b"/?q")
    with pytest.raises(Refused):
        absolute(b"nowhere")


def test_the_host_of_a_whole_address_counts():
    raw = b"GET http://evil.example.org/v1/models HTTP/1.1\r\nHost: localhost\r\n"
    guard = Guard(AuthSettings(), Cors())
    head, body = exchange(raw + CLOSE + b"\r\n", authenticator=guard)
    assert status(head) == 403
    assert "local names" in body["error"]["message"]


def test_where_the_path_is_known_it_shapes_the_refusal():
    assert path_of(b"/v1/messages?x") == path_of(b"http://x/v1/messages") == "/v1/messages"
    assert path_of(b"nowhere") == path_of(b"/..") == ""


def test_white_space_after_a_value_is_none_of_it():
    raw = POST + b"X-Request-ID: mine \t\r\nExpect: 100-continue \r\n" + PLAIN
    go_on, head, _ = answers(raw).split(b"\r\n\r\n", 2)
    assert (status(go_on), status(head)) == (100, 200)
    assert b"\r\nX-Request-ID: mine\r\n" in head


def test_a_header_that_comes_twice_has_both_values():
    head, _ = exchange(POST + b"X-Request-Timeout: 5\r\nX-Request-Timeout: 6\r\n" + PLAIN)
    assert status(head) == 400


def test_lengths_are_checked_before_the_body_comes():
    raw = POST + b"Content-Length: 1001\r\n\r\n"
    assert status(exchange(raw, Limits(body_bytes=1000))[0]) == 413
