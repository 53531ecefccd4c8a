"""The node's network namespace: loopback, a bridge with the node's address, routes for its own ranges, and no egress.

Uses ioctls instead of `ip`, because a fresh machine may lack iproute2. Without a default route, a packet to an unused pod or Service
address is rejected in the namespace; it can't leave it.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from local.platform import config

_SIOCADDRT: Final = 0x890B
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C
_SIOCBRADDBR: Final = 0x89A0
_IFF_UP: Final = 0x1
_IFF_RUNNING: Final = 0x40
_RTF_UP: Final = 0x1

SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    # Replies between two pods on one bridge must also pass the Service's address translation.
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
"""All of them belong to the network namespace, not to the machine."""


def _address(address: str) -> bytes:
    """``struct sockaddr_in`` of ``address``, port 0."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, ipaddress.IPv4Address(address).packed)


def _with_address(device: str, address: str) -> bytes:
    return struct.pack("16s16s8x", device.encode(), _address(address))


def _with_flags(device: str, flags: int) -> bytes:
    return struct.pack("16sh22x", device.encode(), flags)


def route_request(network: str, device: bytes) -> tuple[bytes, object]:
    """``struct rtentry`` for a directly attached ``network``, and the buffer that it points to, which must outlive the call."""
    import ctypes  # noqa: PLC0415 - only the node needs it

    net = ipaddress.IPv4Network(network)
    name = ctypes.create_string_buffer(device, 16)
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        0,
        _address(str(net.network_address)),
        bytes(16),
        _address(str(net.netmask)),
        _RTF_UP,
        0,
        0,
        0,
        0,
        ctypes.addressof(name),
        0,
        0,
        0,
    )
    return entry, name


def set_up() -> list[str]:
    """Configure the current network namespace; return the sysctls that could not be set.

    Raises:
        OSError: the kernel has no bridge support, or a privilege is missing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, _with_flags("lo", _IFF_UP | _IFF_RUNNING))
        fcntl.ioctl(control, _SIOCBRADDBR, config.NODE_BRIDGE.encode() + b"\0")
        fcntl.ioctl(control, _SIOCSIFADDR, _with_address(config.NODE_BRIDGE, config.NODE_IP))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _with_address(config.NODE_BRIDGE, config.NODE_NETMASK))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _with_flags(config.NODE_BRIDGE, _IFF_UP | _IFF_RUNNING))
        request, _keep = route_request(config.SERVICE_CIDR, config.NODE_BRIDGE.encode())
        fcntl.ioctl(control, _SIOCADDRT, request)
    return [name for name, value in SYSCTLS.items() if not _set(name, value)]


def _set(name: str, value: str) -> bool:
    try:
        Path("/proc/sys", name).write_text(value, encoding="ascii")
    except OSError:
        return False
    return True
