"""Which addresses a webhook may go to: the guard against requests into the merchant's own network (SSRF).

The check sits in the resolver of the HTTP client, so it judges the very addresses that are connected to, after every
notation (decimal, hex, octal, short, IDNA digits) has become an address and however often a name changes its answer.
Source of the blocks: the IANA special-purpose address registries (RFC 6890 and its updates) and the clouds' manuals.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from tornado.netutil import Resolver

from payd.limits import WEBHOOK_CONCURRENCY_MAX

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: (address family, socket address), as ``getaddrinfo`` gives them.
Resolved = tuple[int, Any]
#: Looks a name up: host, port, address family. Raises OSError when there is no such name.
Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[Sequence[Resolved]]]


def _networks(*rows: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(block), reason) for block, reason in rows)


#: Never a merchant's endpoint, whatever the configuration says. Looked through before `PRIVATE`.
NEVER: Final = _networks(
    ("0.0.0.0/8", "unspecified"),
    ("169.254.0.0/16", "link-local or cloud metadata"),
    ("100.100.100.200/32", "cloud metadata"),
    ("168.63.129.16/32", "cloud metadata"),
    ("192.0.0.0/24", "reserved or cloud metadata"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("::/128", "unspecified"),
    ("64:ff9b:1::/48", "a translation prefix"),
    ("2001::/23", "reserved or Teredo"),
    ("2001:db8::/32", "documentation"),
    ("3fff::/20", "documentation"),
    ("fd00:ec2::254/128", "cloud metadata"),
    ("fd20:ce::254/128", "cloud metadata"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)

#: Refused unless the endpoint has ``allow_private_addresses``.
PRIVATE: Final = _networks(
    ("127.0.0.0/8", "loopback"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("100.64.0.0/10", "carrier-grade NAT"),
    ("198.18.0.0/15", "benchmarking"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private"),
)

#: IPv6 blocks that only wrap an IPv4 address, and the first bit of that address.
WRAPPED: Final[tuple[tuple[IPv6Network, int], ...]] = (
    (IPv6Network("::ffff:0:0/96"), 96),  # IPv4-mapped, RFC 4291
    (IPv6Network("64:ff9b::/96"), 96),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 16),  # 6to4, RFC 3056
)
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291: everything else is special or unassigned
ISATAP_MARKS: Final = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # RFC 5214: in any prefix, an IPv4 address follows


class AddressRefused(OSError):
    """A name or address that no connection is made to. The message names it and the reason."""


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Say why no webhook may go to ``address``, or None when it may."""
    if isinstance(address, IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return refusal(inner, allow_private=allow_private)
        if address.packed[8:12] in ISATAP_MARKS:
            reason = refusal(IPv4Address(address.packed[12:]), allow_private=allow_private)
            if reason is not None:
                return reason
    for network, reason in NEVER:
        if address in network:
            return reason
    for network, reason in PRIVATE:
        if address in network:
            return None if allow_private else reason
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return "reserved"
    return None


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """Take out the IPv4 address that a translating IPv6 address stands for."""
    for network, first_bit in WRAPPED:
        if address in network:
            start = first_bit // 8
            return IPv4Address(address.packed[start : start + 4])
    return None


class GuardingResolver(Resolver):
    """Resolves for Tornado's simple client and refuses a name when any of its addresses is not allowed.

    One bad address among good ones refuses all: a client that falls back to the next address would reach it.
    """

    def initialize(self, *, lookup: Lookup, allow_private: bool) -> None:
        """Take the place of ``__init__`` (a Tornado ``Configurable``)."""
        self._lookup = lookup
        self._allow_private = allow_private

    async def resolve(self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[Resolved]:
        """Look up ``host``. Raises AddressRefused, or OSError when there is no such name."""
        found = list(await self._lookup(host, port, family))
        if not found:
            raise OSError(f"{host} has no address")
        for _family, socket_address in found:
            address = ip_address(str(socket_address[0]).partition("%")[0])  # without an IPv6 zone
            reason = refusal(address, allow_private=self._allow_private)
            if reason is not None:
                raise AddressRefused(f"{host} is at {address}, which is refused: {reason}")
        return found


class SystemLookup:
    """Asks the system's resolver, in threads of its own: a name server that hangs holds up webhooks only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WEBHOOK_CONCURRENCY_MAX, thread_name_prefix="payd-webhook-dns")

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> Sequence[Resolved]:
        """Look up ``host`` for TCP."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        )
        return [(entry[0], entry[4]) for entry in found]

    def close(self) -> None:
        """Take no more look-ups; one that hangs is left to its own time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)
