"""Whom a client of the service trusts.

The local service's own certificate need not be signed by an authority. The workspace says which one
it shows, and only its user may write there: so that very one is trusted, by whatever name of this
machine the service is reached, and no other.
"""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

_CERTIFICATE = re.compile(
    "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.ASCII | re.DOTALL
)


def own_certificate(pem: str) -> str | None:
    """The first of a chain, which is what its server shows; a key beside it is left out."""
    found = _CERTIFICATE.search(pem)
    return found and f"{found[0]}\n"


def trusted(url: str, certificate: str | None) -> ssl.SSLContext | bool:
    """What an httpx2 client has to `verify` by. Raises ValueError for what is no certificate."""
    if certificate is not None:
        return pinned(certificate)
    if urlsplit(url).scheme == "https":
        return True  # the machine's authorities; reading them takes a client 24 ms
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody


def pinned(certificate: str) -> ssl.SSLContext:
    """Trusts this certificate alone. Raises ValueError for what is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # which one it is says more than what it is called
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # be it an authority's or not
    try:
        context.load_verify_locations(cadata=certificate)
    except ssl.SSLError:
        raise ValueError("is no certificate") from None
    return context
