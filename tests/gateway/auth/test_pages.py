import pytest

from config.errors import Forbidden
from gateway.auth.cors import Cors
from gateway.auth.pages import PageGuard, is_local_name

LOCAL_NAMES = [
    "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]", "localhost", "LOCALHOST:8080",
    "localhost.", "192.168.1.5:8080", "my-mac.local:8080", "host.docker.internal:8080", "mlx:80",
    "app.localhost:8080", "",
]  # fmt: skip
FOREIGN_NAMES = [
    "evil.example.org", "evil.example.org:8080", "127.0.0.1.evil.org", "localhost.evil.org",
    "evillocal.org", "a.local.evil.org:8080", "notlocalhost.com", "1.2.3", "evil.org.", "evil.org:",
    "127.0.0.1@evil.org", "[::1].evil.org",
]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL_NAMES)
def test_names_that_nobody_can_register(host):
    assert is_local_name(host)
    PageGuard(Cors()).check(host, None)


@pytest.mark.parametrize("host", FOREIGN_NAMES)
def test_a_name_that_somebody_may_have_made_point_here_is_refused(host):
    guard = PageGuard(Cors())
    for origin in (None, f"http://{host}"):
        with pytest.raises(Forbidden, match="local names"):
            guard.check(host, origin)


def test_programs_send_no_origin():
    PageGuard(Cors()).check("127.0.0.1:8080", None)
    PageGuard(Cors()).check(None, None)


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "HTTP://127.0.0.1:8080"])
def test_our_own_pages_may_ask(origin):
    PageGuard(Cors()).check("127.0.0.1:8080", origin)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.org", "null", "", "http://127.0.0.1:3000", "http://127.0.0.1:8080.x",
     "file://", "http://localhost:8080"],
)  # fmt: skip
def test_other_pages_may_not(origin):
    guard = PageGuard(Cors())
    with pytest.raises(Forbidden, match=r"cors\.origins"):
        guard.check("127.0.0.1:8080", origin)


def test_configured_pages_may():
    guard = PageGuard(Cors(["http://localhost:3000"]))
    guard.check("127.0.0.1:8080", "http://localhost:3000")
    with pytest.raises(Forbidden):
        guard.check("127.0.0.1:8080", "http://localhost:3001")


def test_only_so_many_hosts_are_remembered():
    guard = PageGuard(Cors())
    for number in range(1000):
        guard.check(f"mac{number}.local", None)
    assert len(guard._hosts) == 64
