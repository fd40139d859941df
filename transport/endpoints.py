"""The runtime directory and the addresses in it.

`ipc://` paths are short by need: 107 bytes on Linux, 103 on macOS. A second bind on the same path
silently steals it, so the directory is locked by the supervisor that uses it.
"""

import contextlib
import fcntl
import os
import stat
import tempfile
from pathlib import Path

from config.errors import ConfigError

MAX_IPC_PATH_BYTES = 103
_LONGEST_NAME = "topology-000000.sock"  # e0000-00-000000.sock is as long, the others are shorter


class RuntimeDirectory:
    """Where the sockets of one running tree lie; private to the user (0700)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ipc(self, name: str) -> str:
        """The endpoint of a socket file in this directory."""
        return f"ipc://{self.path / name}.sock"

    def of_incarnation(self, name: str, incarnation: int) -> str:
        """The endpoint that this incarnation binds; what its dead predecessors left is removed."""
        for leftover in self.path.glob(f"{name}-*.sock"):
            leftover.unlink(missing_ok=True)
        return self.ipc(f"{name}-{incarnation}")

    @property
    def admin(self) -> str:
        """Bound by the supervisor (ROUTER)."""
        return self.ipc("admin")

    @property
    def events(self) -> str:
        """Bound by the supervisor (PUB)."""
        return self.ipc("events")

    @property
    def metrics(self) -> Path:
        """Memory-mapped metric values of all processes."""
        return self.path / "metrics"

    @property
    def responses(self) -> Path:
        """What `/v1/responses` stores; see `gateway/responses/store.py`."""
        return self.path / "responses"

    def client(self, gateway: int) -> str:
        """Bound by gateway number `gateway` (ROUTER) for users' programs."""
        return self.ipc(f"client-{gateway}")

    def clients(self) -> list[str]:
        """The client endpoints of all gateways that were ever started here.

        Raises:
            ConfigError: somebody else could have put them there.
        """
        if not self.path.exists():
            return []
        check_private(self.path)
        return sorted(f"ipc://{path}" for path in self.path.glob("client-*.sock"))

    def touch(self) -> None:
        """Keep the files young: systems clean their temporary folders of what nobody touches."""
        for path in [self.path, *self.path.rglob("*")]:
            with contextlib.suppress(OSError):  # a socket may go in between
                os.utime(path)

    def create(self) -> "DirectoryLock":
        """Make the directory and take it for this process.

        Raises:
            ConfigError: its path is too long, it cannot be made, is not ours alone, or is taken.
        """
        _check_length(self.path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"server.runtime_dir: cannot make {self.path}: {error.strerror}; choose another"
            ) from None
        check_private(self.path, mend=True)
        lock = DirectoryLock(self.path)
        for leftover in [*self.path.glob("*.sock"), *self.metrics.glob("*.db")]:
            leftover.unlink(missing_ok=True)
        self.metrics.mkdir(mode=0o700, exist_ok=True)
        return lock


class DirectoryLock:
    """Holds the runtime directory until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise ConfigError(
                f"another server runs in {directory}; choose another port or --runtime-dir"
            ) from None

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._fd)


def default_directory(port: int) -> Path:
    """The runtime directory of the server on this port, for this user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(base) if base and os.path.isdir(base) else Path(tempfile.gettempdir())
    return root / f"mlx-serving-{os.getuid()}" / str(port)


def _check_length(path: Path) -> None:
    length = len(os.fsencode(path / _LONGEST_NAME))
    if length > MAX_IPC_PATH_BYTES:
        raise ConfigError(
            f"server.runtime_dir: {path} is {length - MAX_IPC_PATH_BYTES} bytes too long for "
            "socket files; choose a shorter one"
        )


def check_private(path: Path, *, mend: bool = False) -> None:
    """Refuse a directory that another user may write to, or could have put there.

    `mend`: if it is ours but open to others, close it instead.

    Raises:
        ConfigError: says what is wrong with it.
    """
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        raise ConfigError(f"server.runtime_dir: {path} is a link; give the folder itself")
    if facts.st_uid != os.getuid():
        raise ConfigError(f"server.runtime_dir: {path} belongs to another user; choose another")
    # Whoever owns the folder above could put another one in this one's place.
    if path.parent.stat().st_uid not in (0, os.getuid()):
        raise ConfigError(
            f"server.runtime_dir: {path.parent} belongs to another user; choose another"
        )
    if stat.S_IMODE(facts.st_mode) & 0o077 and not mend:
        raise ConfigError(f"server.runtime_dir: {path} is open to other users; chmod 700 it")
    if stat.S_IMODE(facts.st_mode) != 0o700 and mend:
        path.chmod(0o700)
