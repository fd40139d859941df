"""What can be wrong with the files that the `auth` settings name, before a server starts."""

from collections.abc import Callable, Iterator

from config.errors import ConfigError
from config.settings import AuthSettings
from gateway.auth.key_store import MAX_BYTES as MAX_KEYS_BYTES
from gateway.auth.keys import decode
from gateway.auth.watched import WatchedFile

Parse = Callable[[bytes, str], object]


def check_files(settings: AuthSettings) -> None:
    """See that all of them can be used; a file of keys may come later.

    Raises:
        ConfigError: one cannot; the message names the setting and the file.
    """
    for setting, path, max_bytes, parse in _files(settings):
        file = WatchedFile(path, max_bytes)
        try:
            parse(file.read(), str(file.path))
        except FileNotFoundError:
            if parse is not decode:
                raise ConfigError(f"{setting}: {file.path}: no such file") from None
        except OSError as error:
            raise ConfigError(f"{setting}: {file.path}: {error.strerror}") from None
        except ConfigError as error:
            raise ConfigError(f"{setting}: {error.message}") from None


def _files(settings: AuthSettings) -> Iterator[tuple[str, str, int, Parse]]:
    if settings.keys_file:
        yield "auth.keys_file", settings.keys_file, MAX_KEYS_BYTES, decode
    if settings.jwt is None:
        return
    from gateway.auth.jwks import MAX_BYTES, parse_jwks, parse_secret

    if settings.jwt.jwks_file:
        yield "auth.jwt.jwks_file", settings.jwt.jwks_file, MAX_BYTES, parse_jwks
    if settings.jwt.hs256_secret_file:
        secret_file = settings.jwt.hs256_secret_file
        yield "auth.jwt.hs256_secret_file", secret_file, MAX_BYTES, parse_secret
