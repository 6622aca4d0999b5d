"""Where notifications may go."""

import socket

import pytest

from worker.portals.addresses import AddressForbiddenError, guarded_sockets, is_allowed

PUBLIC = ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")
INNER = (
    *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("::1", "fd12:3456::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:0001::1"),
)
NEVER = (
    *("169.254.169.254", "169.254.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1"),  # noqa: S104
    *("fe80::1", "fe80::1%lo", "::", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254"),
    *("100.100.100.200", "168.63.129.16", "2001:db8::1", "192.0.0.192", "198.18.0.1", "192.88.99.1", "::127.0.0.1"),
    *("::10.0.0.1", "::8.8.8.8", "fec0::1", "64:ff9b:1::a00:1", "100::1", "3fff::1", "5f00::1", "::ffff:0.0.0.0"),
    *("2002:a9fe:a9fe::1", "ff0e::1", "255.1.1.1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """Whatever the configuration says, in every spelling."""
    assert is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_need_the_configurations_word(address: str) -> None:
    """This machine and inner networks, also inside an IPv6 address."""
    assert not is_allowed(address, private=False)
    assert is_allowed(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address: str) -> None:
    """Clouds' metadata, link-local, multicast, nowhere."""
    assert not is_allowed(address, private=False)
    assert not is_allowed(address, private=True)


def test_no_socket_is_made_for_a_forbidden_address() -> None:
    """The guard judges what is about to be connected to."""
    with pytest.raises(AddressForbiddenError):
        guarded_sockets(private=False)((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)))
    guarded_sockets(private=True)((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))).close()
