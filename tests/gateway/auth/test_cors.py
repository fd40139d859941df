import pytest

from gateway.auth.cors import Cors

PAGE, OTHER = "https://chat.example.org", "https://evil.example.org"
ALLOW = "Access-Control-Allow-Origin"


def test_it_is_off_unless_configured():
    cors = Cors()
    assert not cors.allows(PAGE)
    assert cors.headers(PAGE) == {}
    assert cors.preflight(PAGE, "POST", "authorization") is None


def test_a_configured_page_may_read_answers():
    headers = Cors([PAGE]).headers(PAGE)
    assert headers[ALLOW] == PAGE
    assert headers["Vary"] == "Origin"
    exposed = headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Retry-After", "X-Request-ID", "request-id", "x-should-retry"} < set(exposed)
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "", None, f"{PAGE}.evil.org", f"{PAGE}:444", "http://chat.example.org",
     f"{PAGE}/", f"{PAGE}, {PAGE}", f"x{PAGE}", "*"],
)  # fmt: skip
def test_no_other_page_may(origin):
    cors = Cors([PAGE])
    assert cors.headers(origin) == {"Vary": "Origin"}  # a cache must not give it to PAGE either
    assert cors.preflight(origin, "POST", None) is None


def test_hosts_have_no_case():
    assert Cors(["https://Chat.Example.org"]).headers(PAGE)[ALLOW] == PAGE
    assert Cors([PAGE]).headers("https://CHAT.example.org")[ALLOW] == "https://CHAT.example.org"


def test_every_page_may():
    cors = Cors(["*"])
    assert cors.headers(OTHER)[ALLOW] == cors.headers(None)[ALLOW] == "*"
    assert "Vary" not in cors.headers(OTHER)
    assert cors.preflight("null", "POST", None)[ALLOW] == "*"


def test_a_preflight():
    asked = "authorization,content-type,x-stainless-os"
    answer = Cors([PAGE]).preflight(PAGE, "POST", asked)
    assert answer == {
        ALLOW: PAGE,
        "Vary": "Origin",
        "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": "600",
    }


def test_an_options_request_of_another_kind_is_no_preflight():
    assert Cors([PAGE]).preflight(PAGE, None, None) is None
    assert Cors([PAGE]).preflight(None, "POST", None) is None


@pytest.mark.parametrize(
    "names", ["a\r\nSet-Cookie: x", "a b", "a,,b", "é", "", " ", "a," * 5000 + "a"]
)
def test_what_are_no_names_of_headers_is_not_repeated(names):
    answer = Cors([PAGE]).preflight(PAGE, "POST", names)
    assert "Access-Control-Allow-Headers" not in answer
