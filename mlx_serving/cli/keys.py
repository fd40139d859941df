"""`mlx-serving keys`: create, list and revoke API keys, also while a server runs with them."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlx_serving.cli.arguments import days, limit

if TYPE_CHECKING:
    from gateway.auth.key_store import KeyStore
    from gateway.auth.keys import KeyRecord
    from mlx_serving.cli.arguments import Commands

_DAY_S = 86_400
_HEAD = ("ID", "NAME", "TENANT", "ROLE", "EXPIRES", "MODELS", "LIMITS")


def add(commands: "Commands", common: ArgumentParser) -> None:
    """Describe the commands to the parser."""
    parser = commands.add_parser("keys", help="create, list and revoke API keys")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, run: Callable[[Namespace], int], help: str) -> ArgumentParser:
        added = verbs.add_parser(name, parents=[common], help=help)
        added.add_argument("--keys-file", metavar="FILE", help="the file of keys")
        added.add_argument("--config", metavar="FILE", help="or the settings that name it")
        added.set_defaults(run=run)
        return added

    _describe_key(verb("create", run_create, "make a key and print it, this once"))
    listing = verb("list", run_list, "what keys there are")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    revoke = verb("revoke", run_revoke, "make a key invalid for good")
    revoke.add_argument("id", metavar="ID", help="the key's id; see keys list")


def _describe_key(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whose key it is")
    parser.add_argument(
        "--tenant", default="", metavar="T", help="whom its owner belongs to, for shared limits"
    )
    parser.add_argument(
        "--role", choices=("user", "admin"), default="user", help="admin: may use admin routes"
    )
    parser.add_argument("--days", type=days, metavar="N", help="expires then; default: never")
    parser.add_argument(
        "--model", action="append", metavar="M", help="may use this one; repeat it; default: all"
    )
    for name in ("requests-per-minute", "tokens-per-minute", "concurrent-streams"):
        parser.add_argument(f"--{name}", type=limit, metavar="N", help="default: no limit")


def run_create(arguments: Namespace) -> int:
    """Print the key alone on stdout, so that a script can take it, and its id on stderr."""
    from gateway.auth.keys import new_key

    store = _store(arguments)
    key_id, key = new_key()
    store.add(_record(arguments, key_id, key))
    print(key)
    print(f"key {key_id} is in {store.path}; it is not shown again", file=sys.stderr)
    return 0


def run_list(arguments: Namespace) -> int:
    """Print a table, or the records without their hashes as JSON."""
    import time

    keys = _store(arguments).read()
    if arguments.json:
        print(_json(keys))
    elif not keys:
        print("no keys", file=sys.stderr)
    else:
        from mlx_serving.cli.admin_text import table

        print(table([_HEAD, *(_row(record, time.time()) for record in keys)]))
    return 0


def run_revoke(arguments: Namespace) -> int:
    """Remove it from the file."""
    record = _store(arguments).revoke(arguments.id)
    print(f"revoked: {record.id} ({record.name})")
    return 0


def _store(arguments: Namespace) -> "KeyStore":
    from pathlib import Path

    from config.errors import ConfigError
    from config.load import read_settings
    from gateway.auth.key_store import KeyStore

    path = arguments.keys_file
    if path is None:
        file = Path(arguments.config) if arguments.config else None
        path = read_settings(file).settings.auth.keys_file
    if path is None:
        raise ConfigError("which file of keys? Name it with --keys-file, or set auth.keys_file")
    return KeyStore(path)


def _record(arguments: Namespace, key_id: str, key: str) -> "KeyRecord":
    import time

    import msgspec

    from config.errors import ConfigError
    from gateway.auth.identity import KeyLimits
    from gateway.auth.keys import KeyRecord, digest

    now_time = int(time.time())
    limits = KeyLimits(
        arguments.requests_per_minute, arguments.tokens_per_minute, arguments.concurrent_streams
    )
    record = KeyRecord(
        id=key_id,
        sha256=digest(key).hex(),
        name=arguments.name,
        created_time=now_time,
        tenant=arguments.tenant,
        role=arguments.role,
        expires_time=now_time + arguments.days * _DAY_S if arguments.days else None,
        models=tuple(arguments.model) if arguments.model else None,
        limits=limits if limits != KeyLimits() else None,
    )
    try:
        return msgspec.json.decode(msgspec.json.encode(record), type=KeyRecord)
    except (msgspec.ValidationError, UnicodeEncodeError):
        text = "NAME, --tenant and --model: expected plain text of 1 to 128 characters"
        raise ConfigError(text) from None


def _json(keys: "tuple[KeyRecord, ...]") -> str:
    import msgspec

    shown = [msgspec.structs.asdict(record) for record in keys]
    for record in shown:
        del record["sha256"]
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _row(record: "KeyRecord", now_time: float) -> tuple[str, ...]:
    return (
        record.id,
        record.name,
        record.tenant or "-",
        record.role,
        _expiry(record.expires_time, now_time),
        "all" if record.models is None else ",".join(record.models),
        _limits(record),
    )


def _expiry(expires_time: int | None, now_time: float) -> str:
    from datetime import UTC, datetime

    if expires_time is None:
        return "never"
    if expires_time <= now_time:
        return "expired"
    return datetime.fromtimestamp(expires_time, UTC).strftime("%Y-%m-%d")


def _limits(record: "KeyRecord") -> str:
    import msgspec

    if record.limits is None:
        return "none"
    given = msgspec.structs.asdict(record.limits).items()
    return ",".join(f"{name}={value}" for name, value in given if value is not None)
