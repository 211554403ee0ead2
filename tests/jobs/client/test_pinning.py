"""Whom a client trusts."""

import ssl
from pathlib import Path

import pytest

from mwalimu.jobs.client.pinning import own_certificate, trusted
from tests.azure.cloud.fake_azure import write_certificate


def test_the_authorities_of_the_machine_where_nothing_else_is_said() -> None:
    assert all(trusted(f"{scheme}://desk:8600", None) is True for scheme in ("https", "HTTPS"))


def test_nobody_where_there_is_no_tls() -> None:
    context = trusted("http://127.0.0.1:8600", None)
    assert isinstance(context, ssl.SSLContext) and context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED and context.get_ca_certs() == []


def test_one_certificate_and_no_other(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    pem = own_certificate(certificate.read_text())
    for url in ("https://127.0.0.1:8600", "http://127.0.0.1:8600"):
        context = trusted(url, pem)
        assert isinstance(context, ssl.SSLContext) and context.verify_mode is ssl.CERT_REQUIRED
        assert context.cert_store_stats()["x509"] == 1
    with pytest.raises(ValueError, match="is no certificate"):
        trusted("https://127.0.0.1:8600", "nothing")
