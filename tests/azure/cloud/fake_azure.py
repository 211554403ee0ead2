"""Azure on this machine: a real HTTPS server that answers for every host name.

The SDK's whole way out is exercised: its credentials, policies and retries, requests, TLS and the
socket. Every name resolves to this server while it runs, so that nothing can leave the machine,
and every byte that was sent is kept for the tests to look at.
"""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.azure.cloud.answers import Exchange, FakeAzure, Reply

HOSTS = (
    "management.azure.com",
    "ml.azure.com",
    "*.api.azureml.ms",
    "*.blob.core.windows.net",
)


class FakeCredential:
    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token-of-the-tests", int(time.time()) + 3600)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    azure: FakeAzure

    def _serve(self) -> None:
        address = urlsplit(self.path)
        body = self._read_body()
        host, path = self.headers["Host"].partition(":")[0], unquote(address.path)
        query = parse_qs(address.query)
        if host.endswith(".blob.core.windows.net"):
            reply = self.azure.blob(self.command, address.path, query, self.headers, body)
        else:
            reply = self.azure.answer(self.command, host, path, body)
        self.azure.exchanges.append(
            Exchange(self.command, host, path, query, dict(self.headers), body, reply.status)
        )
        self._write(reply)

    def _read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _write(self, reply: Reply) -> None:
        raw = isinstance(reply.body, bytes | str)
        body = reply.body if raw else b"" if reply.body is None else json.dumps(reply.body)
        data = body.encode() if isinstance(body, str) else body
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        kind = "application/octet-stream" if raw else "application/json"
        self.send_header("Content-Type", "application/xml" if data[:5] == b"<?xml" else kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_PATCH = do_DELETE = _serve

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def fake_azure(certificate: Path, key: Path, patch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    """Every host name means this server, with the certificate that the SDK is told to trust."""
    azure = FakeAzure()
    handler = type("Handler", (_Handler,), {"azure": azure})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    port = azure.port = server.server_address[1]

    def resolve(host: Any, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    patch.setattr(socket, "getaddrinfo", resolve)
    patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        patch.delenv(name, raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield azure
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake azure")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in HOSTS]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file
