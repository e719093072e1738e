"""The addresses under which other machines of the network reach this one."""

import ipaddress
import socket
import struct
import sys
from contextlib import suppress

from mitmproxy.net import local_ip

_SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface (netdevice(7))."""
_VIRTUAL = ("br-", "cni", "docker", "flannel", "lxc", "vboxnet", "veth", "virbr", "vmnet")
"""Beginnings of the names of interfaces that lead to containers and virtual machines."""


def network_addresses() -> list[str]:
    """IPv4 addresses, the one of the default route first; an IPv6 address if there are none."""
    found = [local_ip.get_local_ip(), *_of_interfaces()]
    addresses = list(dict.fromkeys(each for each in found if each and _is_useful(each)))
    if not addresses and (only := local_ip.get_local_ip6()) and _is_useful(only):
        addresses = [only]
    return addresses


def _of_interfaces() -> list[str]:
    """The addresses of all interfaces, as a VPN may have the default route. Linux only: other systems need
    libraries of their own for that."""
    if sys.platform != "linux":
        return []
    import fcntl

    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            if name.startswith(_VIRTUAL):
                continue
            with suppress(OSError):  # it is down, or has no IPv4 address
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                addresses.append(socket.inet_ntoa(answer[20:24]))
    return addresses


def _is_useful(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)
