"""Whose names are this machine's, in a Host header and in an Origin header."""

import pytest

from mwalimu.serving.addresses import is_loopback, named_host, place_of


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("LocalHost:8000", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("127.0.0.1:1.evil", None),
        ("127.0.0.1:80@evil", None),
        ("", None),
        ("a b", None),
    ],
)
def test_a_host_header_has_a_name_and_a_number_or_none(header: str, name: str | None) -> None:
    assert named_host(header) == name


def test_an_origin_is_a_web_pages() -> None:
    assert place_of("https://Shop.example:8443") == "shop.example:8443"
    assert place_of("null") is place_of("file:///etc") is place_of("http://[::1") is None


def test_what_is_listened_to_by_this_machine_alone() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "")))
