"""Keeps web pages away from a server without keys, which trusts whoever sits at its machine.

A browser sends a page's requests to loopback, too, and a page whose host name was made to point
there (DNS rebinding) may even read the answers. Of both, `Origin` and `Host` tell.
"""

import ipaddress

from config.errors import Forbidden
from gateway.auth.cors import Cors

# Nobody can register a name below these.
_LOCAL_ENDINGS = ("localhost", "local", "internal", "lan", "home.arpa")
_REMEMBERED = 64


class PageGuard:
    """Tells requests of programs from those of foreign pages."""

    def __init__(self, cors: Cors) -> None:
        self._cors = cors
        self._hosts: set[str] = set()

    def check(self, host: str | None, origin: str | None) -> None:
        """See that no foreign page sent a request with these headers.

        Raises:
            Forbidden: one did.
        """
        if host is not None and host not in self._hosts:
            self._check_host(host)
        if origin is None or self._cors.allows(origin) or _same(origin, host):
            return
        raise Forbidden(
            "pages of this origin may not ask; the setting cors.origins has those that may"
        )

    def _check_host(self, host: str) -> None:
        if not is_local_name(host):
            raise Forbidden(
                "without API keys this server answers under local names and addresses only; "
                "ask it as 127.0.0.1 or set auth.keys_file"
            )
        if len(self._hosts) < _REMEMBERED:
            self._hosts.add(host)


def is_local_name(host: str) -> bool:
    """Whether `host` (a `Host` header) cannot be a name that a stranger registered.

    Those are addresses, names without a dot and names below `.localhost`, `.local` and the like.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.lower().removesuffix(".")
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return "." not in name or name.endswith(tuple(f".{end}" for end in _LOCAL_ENDINGS))
    return True


def _same(origin: str, host: str | None) -> bool:
    return host is not None and origin.lower() in (
        f"http://{host}".lower(),
        f"https://{host}".lower(),
    )
