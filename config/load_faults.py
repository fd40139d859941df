"""Why a model could not be loaded, as clients may know it: one of a closed list.

What a library said has paths and names of classes in it, and is for the operator alone. So only
the names of this list go from process to process, and what clients read is made of them here.
"""

from typing import Literal

LoadFault = Literal[
    "missing",
    "config",
    "unsupported",
    "package",
    "weights",
    "tokenizer",
    "files",
    "hub",
    "memory",
    "late",
    "ended",
    "other",
]

_WORDS: dict[LoadFault, str] = {
    "missing": "its folder is not there, or misses a file",
    "config": "its configuration cannot be used, or does not fit its weights",
    "unsupported": "its kind is not supported",
    "package": "a package that it needs is not installed",
    "weights": "its weights cannot be read",
    "tokenizer": "its tokenizer cannot be read",
    "files": "its files cannot be used",
    "hub": "it is not on this machine, and could not be downloaded",
    "memory": "it needs more memory than there is",
    "late": "it was not loaded in time",
    "ended": "its engine ended while it was loaded",
    "other": "it could not be started",
}


def public_reason(fault: LoadFault) -> str:
    """What clients are told of it."""
    return f"{_WORDS[fault]}; the server's log says more"
