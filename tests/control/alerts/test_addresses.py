"""A webhook is sent to public addresses only, and to the very one that was checked."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from branchtrack.control.alerts import addresses
from branchtrack.errors import InvalidInput

PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "0.0.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "::1",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "fd00::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "not an address",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1"]


def answering(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Have every name looked up as these addresses; the names that were looked up."""
    names: list[str] = []

    def look_up(host: str, port: int, **_how: Any) -> list[Any]:
        names.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_not_everybody_could_reach_is_not_public(address: str) -> None:
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "http://localhost:8000/hook",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_every_spelling_of_an_address_of_ones_own_is_refused_unless_allowed(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        addresses.resolve(url)
    assert "/hook" not in str(refused.value) and "meta-data" not in str(refused.value)
    assert addresses.resolve(url, allow_private=True).address


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "example.org",
        "http://",
        "http://a b/",
        "http://user:secret@example.org/",
        "http://example.org:99999/",
        "http://exa\udc80mple.org/",
        "http://" + "a" * 300 + ".org/",
        "",
    ],
)
def test_what_is_no_url_to_post_to_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        addresses.resolve(url, allow_private=True)
    assert "secret" not in str(refused.value)


def test_a_name_is_looked_up_once_and_its_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    names = answering(monkeypatch, "93.184.216.34")
    target = addresses.resolve("https://hooks.example.org:8443/a?b=c")
    assert names == ["hooks.example.org"]
    assert (target.address, target.port, target.path) == ("93.184.216.34", 8443, "/a?b=c")
    assert target.host_header == "hooks.example.org:8443"
    assert addresses.resolve("http://hooks.example.org").host_header == "hooks.example.org"


def test_a_name_with_one_address_that_is_private_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(InvalidInput):
        addresses.resolve("https://hooks.example.org/")
