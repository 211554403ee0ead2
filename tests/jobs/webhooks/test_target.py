"""Addresses that a webhook must not reach, by every spelling; and those that it may."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from mwalimu.jobs.webhooks.sender import resolved
from mwalimu.jobs.webhooks.target import BadTarget, is_public, parsed, pinned

PUBLIC = "93.184.215.14"

# Refused as they are written, whatever they lead to.
WRITTEN = [
    "",
    "https",
    "https://",
    "https:///path",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:6379/_FLUSHALL",
    "javascript:alert(1)",
    "//example.com/",
    "https:example.com",
    "https:/example.com",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com/\r\nHost: other",
    "https://example.com/a b",
    "https://exa\tmple.com/",
    "https://exam\nple.com/",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1#@example.com/",
    "https://127.0.0.1?@example.com/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.other.com/",
    "https://example.com/#fragment",
    "https://%31%32%37.0.0.1/",
    "https://example.com%00.other/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ex\u0430mple.com/",  # a Cyrillic letter
    "https://example。com/",
    "https://.example.com/",
    "https://-example.com/",
    "https://example.com./",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:-1/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:80/",
    "https://example.com:/",
    "https://example.com:443x/",
    "https://example.com/" + "a" * 2000,
]

# Written like any other; what they lead to is not public.
LEADS_INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # the clouds' metadata
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",  # Azure's host agent
    "192.0.0.192",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo with 127.0.0.1 as its client
    "2001:db8::1",
]


@pytest.mark.parametrize("url", WRITTEN, ids=range(len(WRITTEN)))
def test_what_is_no_plain_public_address_is_refused(url: str) -> None:
    with pytest.raises(BadTarget) as caught:
        parsed(url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("address", LEADS_INSIDE)
def test_what_leads_inside_is_refused(address: str) -> None:
    """Alone, behind a public address of the same name, and written out as the host."""
    for answer in ([address], [PUBLIC, address]):
        with pytest.raises(BadTarget, match="not public"):
            pinned(parsed("https://example.com/"), lambda host, port, a=answer: a)  # type: ignore[misc]
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(BadTarget, match="not public"):
        pinned(parsed(f"https://{host}/"), resolved)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0"])
def test_other_spellings_of_this_machine_are_resolved_and_refused(host: str) -> None:
    with pytest.raises((BadTarget, OSError)):
        pinned(parsed(f"https://{host}/"), resolved)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.com", "/"),
        ("https://example.com/hooks/a-b_c~d?token=x%20y&z=1", "/hooks/a-b_c~d?token=x%20y&z=1"),
        ("https://EXAMPLE.com:8443/", "/"),
        ("https://[2606:2800:220:1::1]/x", "/x"),
    ],
)
def test_plain_public_addresses(url: str, path: str) -> None:
    target = parsed(url)
    assert target.path == path and target.host == target.host.lower()
    assert "token" not in target.place


def test_the_first_address_is_the_one_that_is_called() -> None:
    answers = [["93.184.215.14", "93.184.215.15"], ["127.0.0.1"]]

    def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    address = pinned(parsed("https://example.com/"), resolve)
    assert str(address) == "93.184.215.14" and len(answers) == 1


def test_an_allowed_host_may_be_private_and_without_tls_and_no_other_may() -> None:
    allowed = ("hooks.internal:8080", "127.0.0.1")
    inside = ["10.0.0.5"]
    target = parsed("http://hooks.internal:8080/x", allowed)
    assert str(pinned(target, lambda host, port: inside, allowed)) == "10.0.0.5"
    parsed("http://127.0.0.1:9/", allowed)
    for url in (
        "http://hooks.internal:8081/",
        "http://hooks.internal/",
        "http://a.hooks.internal:8080/",
        "http://127.0.0.2/",
    ):
        with pytest.raises(BadTarget, match="not https"):
            parsed(url, allowed)


def test_ranges_that_are_public() -> None:
    for text in (PUBLIC, "1.1.1.1", "2606:4700::1111", "64:ff9b::5db8:d70e", "2002:5db8:d70e::"):
        assert is_public(ipaddress.ip_address(text)), text
