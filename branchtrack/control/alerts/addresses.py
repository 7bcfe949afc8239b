"""Which addresses a webhook may be sent to: looked up once, checked, and used as they are.

A name that is looked up again for the connection could then be that of another machine.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from branchtrack.errors import InvalidInput

_PORTS = {"http": 80, "https": 443}
_RULE = (
    "an http or https URL of a public address; BRANCHTRACK_WEBHOOK_ALLOW_PRIVATE=1 allows others"
)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """Where a webhook is sent: ``host`` as it is spelled, and the ``address`` to connect to.

    ``path`` includes the query.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: str

    @property
    def host_header(self) -> str:
        """The value of the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def resolve(url: str, *, allow_private: bool = False) -> Target:
    """Return where a URL leads, after one look-up of its name.

    Raises:
        InvalidInput: it is no such URL, or leads to an address that is not public. The message does
            not repeat the URL, which may hold a secret.
        OSError: the name cannot be looked up.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host is not None:
            host.encode("idna")
    except ValueError:
        # So are errors of encoding, whose text repeats what was to be encoded.
        raise _refused("it is no URL") from None
    if parts.scheme not in _PORTS or not host or any(letter.isspace() for letter in host):
        raise _refused("it is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise _refused("it has a name or a password in it")
    port = _PORTS[parts.scheme] if port is None else port
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in entries]
    if not allow_private:
        # One that is not public is reason enough: which of them is used is not for the name to say.
        for address in addresses:
            if not is_public(address):
                raise _refused(f"{host} is the address {address}, which is not public")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, addresses[0])


def is_public(address: str) -> bool:
    """Return whether an address belongs to a machine that anybody could reach."""
    try:
        parsed: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.is_site_local:
            return False
        inner = parsed.ipv4_mapped or parsed.sixtofour or _embedded(parsed)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not (
        parsed.is_multicast
        or parsed.is_private
        or parsed.is_loopback
        or parsed.is_link_local
        or parsed.is_reserved
        or parsed.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an address stands for by NAT64 or Teredo, or is spelled as."""
    if address in ipaddress.ip_network("64:ff9b::/96") or int(address) >> 32 == 0:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None if address.teredo is None else address.teredo[1]


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        "webhook", "(its URL)", _RULE, what=f"The webhook cannot be sent to its URL: {why}."
    )
