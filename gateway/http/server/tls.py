"""Encrypted connections."""

import ssl

from config.errors import ConfigError
from config.settings import TlsSettings


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 or later with the certificate of these files; they are read now.

    Raises:
        ConfigError: a file is missing, damaged or locked, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a terminal nobody could be asked for a password.
        context.load_cert_chain(settings.certificate_file, settings.key_file, lambda: b"")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError) else "not usable together"
        raise ConfigError(
            f"server.tls: {settings.certificate_file} and {settings.key_file}: {reason}"
        ) from error
    return context
