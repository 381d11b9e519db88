"""The guard against requests into the merchant's own network: by address, by notation, by what a name answers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import pytest
from pydantic import SecretStr
from tornado.iostream import IOStream

from payd.config import WebhookConfig
from payd.webhook.address_guard import NEVER, PRIVATE, AddressRefused, GuardingResolver, Resolved, refusal
from payd.webhook.sender import HttpWebhookSender
from tests.webhook.receiver import SECRET, ManualClock

#: Addresses that only allow_private_addresses lets through.
PRIVATE_ADDRESSES = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.127.255.255", "198.18.0.1", "::1", "fc00::1", "fd12:3456:789a::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:1::1", "2a00::5efe:10.0.0.1",
    "2a00::200:5efe:127.0.0.1",
)  # fmt: skip

#: Addresses nothing lets through.
REFUSED_ADDRESSES = (
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254",
    "2001:db8::1", "2001:0:7f00:1::1", "64:ff9b:1::1", "100::1", "5f00::1", "3fff::1", "::127.0.0.1",
    "::ffff:0:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "fe80::5efe:8.8.8.8", "2a00::5efe:169.254.169.254",
)  # fmt: skip

PUBLIC_ADDRESSES = (
    "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.167.255.255",
    "9.255.255.255", "11.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "169.253.255.255",
    "2606:4700:4700::1111", "2400:3200::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_private_addresses_need_the_switch(address: str) -> None:
    """Loopback, private, shared and wrapped forms of them: refused, unless the endpoint allows private addresses."""
    assert refusal(ip_address(address), allow_private=False) is not None
    assert refusal(ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_some_addresses_are_never_an_endpoint(address: str) -> None:
    """Metadata services, link-local, multicast, unspecified and reserved addresses: refused with the switch too."""
    assert refusal(ip_address(address), allow_private=False) is not None
    assert refusal(ip_address(address), allow_private=True) is not None


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_allowed(address: str) -> None:
    """The internet, up to the very borders of the special blocks."""
    assert refusal(ip_address(address), allow_private=False) is None


@pytest.mark.parametrize("network", [n for n, _ in (*NEVER, *PRIVATE)], ids=str)
def test_every_block_is_refused_from_its_first_to_its_last_address(network: Sequence[object]) -> None:
    """No block has a hole at its ends."""
    assert refusal(network[0], allow_private=False) is not None  # type: ignore[arg-type]
    assert refusal(network[-1], allow_private=False) is not None  # type: ignore[arg-type]


def sender_for(url: str, lookup: object = None, *, allow_private: bool = False) -> HttpWebhookSender:
    """Make a sender whose endpoint went round the configuration's own checks: the guard must hold by itself."""
    endpoint = WebhookConfig.model_construct(
        url=url, secrets=(SecretStr(SECRET),), events=("*",), allow_private_addresses=allow_private
    )
    return HttpWebhookSender([endpoint], clock=ManualClock(), lookup=lookup)  # type: ignore[arg-type]


class Names:
    """A name server of our own: each look-up of a name gives the next of its answers, the last one for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked = 0

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> Sequence[Resolved]:
        self.asked += 1
        lists = self.answers[host]
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [(socket.AF_INET6, (a, port, 0, 0)) if ":" in a else (socket.AF_INET, (a, port)) for a in addresses]


#: Hosts as somebody may write them; {} is where a port goes. None of these may be connected to.
FORMS = (
    "https://127.0.0.1/", "https://127.0.0.1:8443/hook", "https://127.1/", "https://127.0.1/", "https://2130706433/",
    "https://0x7f000001/", "https://0X7F000001/", "https://017700000001/", "https://0177.0.0.1/", "https://0x7f.1/",
    "https://0x7f.0x0.0x0.0x1/", "https://127.0.0.01/", "https://127.8.8.8/", "https://0/", "https://0.0.0.0/",
    "https://[::]/", "https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
    "https://localhost/", "https://LOCALHOST/", "https://10.1.2.3/", "https://167838211/", "https://0xa.1.2.3/",
    "https://172.16.5.5/", "https://192.168.1.1/", "https://3232235777/", "https://192.168.257/",
    "https://169.254.169.254/latest/meta-data/", "https://2852039166/", "https://0xa9fea9fe/",
    "https://[::ffff:169.254.169.254]/", "https://[fd00:ec2::254]/", "https://100.64.0.1/",
    "https://100.100.100.200/", "https://[fe80::1]/", "https://[fc00::1]/", "https://224.0.0.1/",
    "https://255.255.255.255/", "https://240.0.0.1/", "https://１２７.０.０.１/", "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/", "https://127.0.0.1#@hooks.example/", "https://127.0.0.1?@hooks.example/",
)  # fmt: skip


@pytest.mark.parametrize("url", FORMS)
async def test_no_notation_of_a_private_address_gets_through(io_loop: object, url: str) -> None:
    """The system's own resolver turns every notation into an address, and that is what is judged."""
    sender = sender_for(url)

    answer = await sender.post(url, webhook_id="msg_1", payload=b"{}")
    await sender.close()

    assert answer.status is None
    assert answer.error is not None
    assert answer.error.startswith("address refused: ")


@pytest.mark.parametrize(
    "url", ["https://user:pw@hooks.example/", "https://user@hooks.example/", "https://hooks.example\\@127.0.0.1/"]
)
async def test_a_url_with_userinfo_is_refused_before_any_look_up(io_loop: object, url: str) -> None:
    """Whoever writes an @ into a host wants two readers to see two hosts."""
    names = Names(hooks_example=[["8.8.8.8"]])
    sender = sender_for(url, names)

    answer = await sender.post(url, webhook_id="msg_1", payload=b"{}")
    await sender.close()

    assert (answer.status, answer.error) == (None, "the URL carries a user name or password")
    assert names.asked == 0


async def test_plain_http_is_refused_without_the_switch(io_loop: object) -> None:
    """Orders go over the internet encrypted or not at all."""
    names = Names(hooks_example=[["8.8.8.8"]])
    sender = sender_for("http://hooks.example/", names)

    answer = await sender.post("http://hooks.example/", webhook_id="msg_1", payload=b"{}")
    await sender.close()

    assert (answer.status, answer.error) == (None, "the URL is not https")
    assert names.asked == 0


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["2606:4700::1", "::1"], ["169.254.169.254", "1.1.1.1"]]
)
async def test_a_name_is_refused_when_any_of_its_addresses_is(io_loop: object, addresses: list[str]) -> None:
    """One good address does not buy the bad one beside it."""
    resolver = GuardingResolver(lookup=Names(hooks_example=[addresses]), allow_private=False)

    with pytest.raises(AddressRefused):
        await resolver.resolve("hooks.example", 443)


async def test_a_name_with_public_addresses_resolves_to_exactly_these(io_loop: object) -> None:
    """What was judged is what is connected to."""
    resolver = GuardingResolver(lookup=Names(hooks_example=[["8.8.8.8", "2606:4700::1"]]), allow_private=False)

    found = await resolver.resolve("hooks.example", 443)

    assert found == [(socket.AF_INET, ("8.8.8.8", 443)), (socket.AF_INET6, ("2606:4700::1", 443, 0, 0))]


async def test_an_ipv6_zone_does_not_hide_an_address(io_loop: object) -> None:
    """fe80::1%eth0 is fe80::1."""
    resolver = GuardingResolver(lookup=Names(hooks_example=[["fe80::1%eth0"]]), allow_private=True)

    with pytest.raises(AddressRefused, match="link-local"):
        await resolver.resolve("hooks.example", 443)


async def test_a_name_that_changes_its_answer_is_judged_at_every_connection(
    io_loop: object, raw_endpoint: Callable[[Callable[[IOStream], Awaitable[None]]], str]
) -> None:
    """DNS rebinding: public at the first attempt, loopback at the second; nothing ever arrives on loopback."""
    connections = 0

    async def count(stream: IOStream) -> None:
        nonlocal connections
        connections += 1
        stream.close()

    port = raw_endpoint(count).split(":")[2].split("/")[0]
    names = Names(rebind_example=[["0.0.0.0"], ["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"]])
    url = f"https://rebind.example:{port}/hook"
    sender = sender_for(url, names)

    answers = [await sender.post(url, webhook_id="msg_1", payload=b"{}") for _ in range(4)]
    await sender.close()

    assert [answer.status for answer in answers] == [None] * 4
    assert all((answer.error or "").startswith("address refused: rebind.example is at ") for answer in answers)
    assert names.asked == 4
    assert connections == 0


async def test_a_name_is_looked_up_once_per_connection(
    io_loop: object, raw_endpoint: Callable[[Callable[[IOStream], Awaitable[None]]], str]
) -> None:
    """Nobody asks again between the check and the connection: the second answer is never used."""

    async def say_ok(stream: IOStream) -> None:
        await stream.read_until(b"{}")
        await stream.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        stream.close()

    port = raw_endpoint(say_ok).split(":")[2].split("/")[0]
    names = Names(hook_example=[["127.0.0.1"], ["0.0.0.0"]])
    url = f"http://hook.example:{port}/hook"
    sender = sender_for(url, names, allow_private=True)

    first = await sender.post(url, webhook_id="msg_1", payload=b"{}")
    second = await sender.post(url, webhook_id="msg_1", payload=b"{}")
    await sender.close()

    assert (first.status, first.error) == (204, None)
    assert second.status is None
    assert names.asked == 2
