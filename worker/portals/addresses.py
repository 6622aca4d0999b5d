"""Where notifications may go: nowhere inside, unless the configuration says so.

The address that is judged is the one about to be connected to, after every name was resolved: a name that changes its
answer between a look and the connection gains nothing.
"""

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Address = IPv4Address | IPv6Address

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 as IPv6-only networks see them."""
_LOW_32_BITS: Final = 0xFFFF_FFFF
_METADATA: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200"), ip_address("168.63.129.16")})
"""Clouds' metadata services outside the link-local range: they hand out credentials to who asks from inside."""
_NOWHERE: Final = tuple(
    ip_network(text)
    for text in (
        *("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23"),
        *("3fff::/20", "5f00::/16", "fec0::/10"),
    )
)
"""What leads nowhere in public, or to who knows where, and what a Python may count as public all the same."""
_INNER: Final = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7")
)
"""What `private = true` opens: inner networks and this machine, not link-local addresses."""


class AddressForbiddenError(OSError):
    """No notification goes to this address."""


def is_allowed(address: str, *, private: bool) -> bool:
    """Whether a notification may go to an IP address; `private`: to inner ones too."""
    plain = _plain(ip_address(address.partition("%")[0]))
    if private and _within(plain, _INNER) and plain not in _METADATA:
        return True
    return plain.is_global and not plain.is_multicast and plain not in _METADATA and not _within(plain, _NOWHERE)


def guarded_sockets(*, private: bool) -> Callable[[Any], socket.socket]:
    """A maker of sockets, as aiohttp wants one, that makes none for a forbidden address."""

    def make(info: Any) -> socket.socket:  # noqa: ANN401 (getaddrinfo's tuple)
        family, kind, protocol, _, where = info
        if not is_allowed(str(where[0]), private=private):
            raise AddressForbiddenError("not a public address, and the configuration does not say private = true")
        return socket.socket(family, kind, protocol)

    return make


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if address in _NAT64:
        embedded = IPv4Address(int(address) & _LOW_32_BITS)
    return embedded or address


def _within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
