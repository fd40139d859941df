"""Runs a node: takes the runtime directory and the port, then supervises the tree."""

import contextlib
import platform
import socket
import sys
from pathlib import Path

import msgspec

from config.errors import ConfigError
from config.settings import ServerSettings, Settings
from config.version import server_version
from gateway.http.server.tls import tls_context
from mlx_serving.console import Console
from mlx_serving.limits import FEW_FILES, backlog_limit, raise_open_files
from mlx_serving.server_log import ServerLog
from mlx_serving.terminal import Terminal
from mlx_serving.tree import Tree
from supervisor.loop import Supervisor
from transport.endpoints import RuntimeDirectory, default_directory
from transport.messages.admin import Event

# Connections that wait while a gateway restarts. The system may cut it: macOS to
# kern.ipc.somaxconn (128 unless raised with sysctl), Linux to net.core.somaxconn (4096).
BACKLOG = 2048


def run_server(settings: Settings, *, verbose: bool, exit_with_parent: bool) -> int:
    """Serve until a signal, the admin socket or a failure ends it; the process's exit code.

    With `exit_with_parent` the end of standard input ends the server, too.

    Raises:
        ConfigError: the port, the runtime directory or the log directory cannot be used; nothing
            was started.
    """
    with contextlib.ExitStack() as stack:
        terminal, logging = Terminal(), settings.logging
        log = ServerLog(terminal, logging.directory, logging.max_file_bytes, verbose=verbose)
        stack.callback(log.close)
        _see_to_limits(terminal, log)
        if settings.server.tls is not None:
            tls_context(settings.server.tls)  # the gateways' own fault would come late
        listener = stack.enter_context(_listen(settings.server))
        host, port = listener.getsockname()[:2]
        runtime = RuntimeDirectory(_runtime_path(settings.server, port))
        stack.callback(runtime.create().release)
        scheme = "http" if settings.server.tls is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        names = [model.name for model in settings.models]
        keys = settings.auth.configured
        console = Console(terminal, url, names, verbose=verbose, keys=keys)

        def on_event(event: Event) -> None:
            console.event(event)
            log.note(f"[supervisor] {msgspec.json.encode(event).decode()}")

        tree = Tree(settings, runtime, listener.fileno())
        return Supervisor(
            tree.root(),
            runtime,
            node=platform.node() or "localhost",
            version=server_version(),
            loader=tree,
            config_text=lambda: msgspec.yaml.encode(settings).decode(),
            on_event=on_event,
            on_output=log.line,
            drain_timeout_s=settings.server.drain_timeout_s,
            exit_on_eof=sys.stdin.fileno() if exit_with_parent else None,
            log_level=logging.level,
        ).run()


def _see_to_limits(terminal: Terminal, log: ServerLog) -> None:
    """Before anything starts: children inherit the limits of this process."""
    files, backlog = raise_open_files(), backlog_limit()
    if files < FEW_FILES:
        text = f"mlx-serving: only {files} open files are allowed (ulimit -n); connections may fail"
        terminal.line(text)
        log.note(text)
    if backlog is not None and backlog < BACKLOG:
        log.note(f"[supervisor] the system lets {backlog} connections wait, not {BACKLOG}")


def _listen(server: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"server.port: cannot listen on {server.host}:{server.port}: {error.strerror}; "
            "choose another with --port"
        ) from None
    listener.setblocking(False)
    return listener


def _runtime_path(server: ServerSettings, port: int) -> Path:
    return Path(server.runtime_dir) if server.runtime_dir else default_directory(port)
