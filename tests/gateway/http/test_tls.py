"""Connections that are encrypted."""

import asyncio
import datetime
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from config.errors import ConfigError
from config.settings import TlsSettings
from gateway.http.server.connection import Limits
from gateway.http.server.exchange import Response
from gateway.http.server.server import HttpServer
from gateway.http.server.tls import tls_context
from tests.gateway.scripted import WAIT_S


def make_files(folder, name="server", password=None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = serialization.NoEncryption()
    if password is not None:
        locked = serialization.BestAvailableEncryption(password)
    pem = serialization.Encoding.PEM
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
    return TlsSettings(certificate_file=str(files[0]), key_file=str(files[1]))


class Hello:
    async def answer(self, request):
        return Response(b'"hello"')

    def refuse(self, request, refused):
        return Response(b'"no"', refused.status)


async def asked(port, context):
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
    )
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), WAIT_S)
    writer.close()
    return answer


def test_a_client_that_trusts_the_certificate_is_answered_and_a_plain_one_is_not(tmp_path):
    settings = make_files(tmp_path)

    async def run():
        server = HttpServer(Hello(), Limits(body_bytes=1000))
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await server.start(sock, tls_context(settings))
        trusting = ssl.create_default_context(cafile=settings.certificate_file)
        assert (await asked(port, trusting)).endswith(b'"hello"')
        with pytest.raises(ssl.SSLError):
            await asked(port, ssl.create_default_context())
        assert not (await asked(port, None)).startswith(b"HTTP/1.1 200")
        await server.close()

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["missing", "damaged", "another key", "locked"])
def test_files_that_cannot_be_used_are_named(tmp_path, fault):
    settings = make_files(tmp_path, password=b"x" if fault == "locked" else None)
    if fault == "another key":
        other = make_files(tmp_path, "other")
        settings = TlsSettings(certificate_file=settings.certificate_file, key_file=other.key_file)
    elif fault == "missing":
        (tmp_path / "server.key").unlink()
    elif fault == "damaged":
        (tmp_path / "server.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"server\.tls: .*server\.crt"):
        tls_context(settings)
