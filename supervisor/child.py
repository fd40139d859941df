"""A child's first lines: `python -m supervisor.child FD PARENT_PID`.

Reads `Start` from the lifeline at FD, sees to logging, signals and orphanhood, and calls the
entry in the main thread. Writing to stdout and stderr goes to the supervisor.
"""

import faulthandler
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from config.errors import ServingError, load_fault
from supervisor.orphan import tie_to_parent
from transport.lifeline import Lifeline, accept_start

TERMINATED_STOP_S = 2.0  # what is left after SIGTERM

log = logging.getLogger(__name__)


def main(fd: int, parent_pid: int) -> int:
    """Become the child that the lifeline says; the exit code is the entry's."""
    _prepare_signals()
    tie_to_parent(parent_pid)
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    start = accept_start(sock)
    logging.basicConfig(level=start.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    lifeline = Lifeline(sock, start)
    lifeline.watch()  # importing the entry may take seconds
    threading.Thread(target=_obey_sigterm, args=(lifeline,), name="sigterm", daemon=True).start()
    try:
        return _entry(start.entry)(lifeline, bytes(start.args))
    except Exception as error:
        return _fail(lifeline, error)


def _prepare_signals() -> None:
    """Before any other thread: SIGTERM is for one thread alone, SIGINT is for the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _obey_sigterm(lifeline: Lifeline) -> None:
    while signal.sigwait({signal.SIGTERM}):
        lifeline.stop_within(TERMINATED_STOP_S)


def _entry(name: str) -> Callable[[Lifeline, bytes], int]:
    module, _, function = name.partition(":")
    found: Callable[[Lifeline, bytes], int] = getattr(importlib.import_module(module), function)
    return found


def _fail(lifeline: Lifeline, error: Exception) -> int:
    if isinstance(error, ServingError):
        log.error("%s", error.message)
        lifeline.start_failed(error.code, error.message, load_fault(error))
    else:
        log.error("unexpected failure", exc_info=error)
        lifeline.start_failed("child_start_failed", f"{type(error).__name__}: {error}")
    return 1


def _leave(code: int) -> None:
    """End now: a forgotten thread must not keep a child that has finished its work."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _leave(main(int(sys.argv[1]), int(sys.argv[2])))
