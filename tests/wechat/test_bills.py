"""Bill files: unpacked, checked against the announced SHA-1, there as a whole or not at all."""

import asyncio
import gzip
import hashlib

import pytest

from payd.models.wechat import BillOffer, Unclear
from payd.wechat.bills import BillDamaged, check_download_url

CONTENT = ("\ufeff交易时间,公众账号ID\r\n" + "`2026-11-23 10:00:00,`wx1\r\n" * 500).encode()


@pytest.fixture
def offer(gateway):
    """Builds an offer for a content on the gateway."""

    def build(content=CONTENT, **changes):
        members = {
            "download_url": f"{gateway.base}/v3/billdownload/file?token=a%2Fb+c==&tartype=gzip",
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(content).hexdigest(),
        }
        return BillOffer(**(members | changes))

    return build


def files_in(path):
    """Names of all files."""
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.parametrize("packed", [True, False])
async def test_a_bill_is_unpacked_checked_and_put_in_place(packed, client, gateway, reply, offer, tmp_path, calls):
    """GZIP is the file's format; a plain file is taken as it is. The token goes out as it came in."""
    body = gzip.compress(CONTENT) if packed else CONTENT
    gateway.script(reply(body=body, signed=False, headers={"Content-Type": "application/x-gzip"}))
    target = tmp_path / "bills" / "2026-11-23.csv"

    heard = await client.download_bill(offer(), target)

    assert heard is None
    assert target.read_bytes() == CONTENT
    assert files_in(target.parent) == ["2026-11-23.csv"]
    assert gateway.requests[0].target == "/v3/billdownload/file?token=a%2Fb+c==&tartype=gzip"
    assert "mchid" in gateway.requests[0].authorization
    assert "text/plain" in gateway.requests[0].headers["Accept"]
    assert calls == [("download", "ok")]


def broken():
    """(name, body, what the message says)."""
    packed = gzip.compress(CONTENT)
    return [
        ("cut short", packed[:-20], "cut short"),
        ("damaged", packed[:100] + b"\0\0\0" + packed[103:], "damaged"),
        ("other content", gzip.compress(CONTENT + b"x"), "SHA-1"),
        ("nothing", b"", "SHA-1"),
        ("packed twice", gzip.compress(packed), "SHA-1"),
    ]


@pytest.mark.parametrize(("name", "body", "says"), broken(), ids=[name for name, _, _ in broken()])
async def test_a_damaged_bill_leaves_nothing_behind(name, body, says, client, gateway, reply, offer, tmp_path, calls):
    """Unclear; the file of an earlier good run stays untouched."""
    gateway.script(reply(body=body, signed=False))
    target = tmp_path / "bills" / "bill.csv"
    target.parent.mkdir()
    target.write_bytes(b"earlier")

    heard = await client.download_bill(offer(), target)

    assert (Unclear, "malformed") == (type(heard), heard.reason)
    assert says in heard.message
    assert target.read_bytes() == b"earlier"
    assert files_in(target.parent) == ["bill.csv"]
    assert calls == [("download", "unknown")]


async def test_a_bomb_stops_at_the_limit(client, gateway, reply, offer, tmp_path, monkeypatch):
    """A small gzip file cannot fill the disk."""
    monkeypatch.setattr("payd.wechat.bills.BILL_PLAIN_BYTES_MAX", 1_000_000)
    bomb = b"\0" * 20_000_000
    gateway.script(reply(body=gzip.compress(bomb), signed=False))
    (tmp_path / "b").mkdir()

    heard = await client.download_bill(offer(bomb), tmp_path / "b" / "bill.csv")

    assert "too large" in heard.message
    assert files_in(tmp_path / "b") == []


async def test_a_stale_token_is_told_with_its_code(client, gateway, reply, offer, tmp_path):
    """The caller applies again."""
    gateway.script(reply(status=400, body={"code": "INVALID_REQUEST", "message": "token过期"}))
    (tmp_path / "b").mkdir()

    heard = await client.download_bill(offer(), tmp_path / "b" / "bill.csv")

    assert (heard.reason, heard.status, heard.code) == ("status", 400, "INVALID_REQUEST")
    assert files_in(tmp_path / "b") == []


@pytest.mark.parametrize("act", ["reset", "truncate"])
async def test_a_broken_download_is_unclear(act, client, gateway, reply, offer, tmp_path):
    """Half a file is no file."""
    gateway.script(reply(act=act, body=gzip.compress(CONTENT), signed=False))
    (tmp_path / "b").mkdir()

    heard = await client.download_bill(offer(), tmp_path / "b" / "bill.csv")

    assert (Unclear, "connection") == (type(heard), heard.reason)
    assert files_in(tmp_path / "b") == []


async def test_a_folder_that_cannot_be_written_is_unclear(client, gateway, reply, offer, tmp_path):
    """A full or read-only disk is told, not raised."""
    gateway.script(reply(body=gzip.compress(CONTENT), signed=False))
    (tmp_path / "file").write_text("in the way")

    heard = await client.download_bill(offer(), tmp_path / "file" / "bill.csv")

    assert Unclear is type(heard)
    assert "cannot be written" in heard.message


BASES = ("https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com")
LOOPBACK = ("http://127.0.0.1:8081",)


@pytest.mark.parametrize(
    ("url", "bases"),
    [
        ("https://api.mch.weixin.qq.com/v3/billdownload/file?token=x", BASES),
        ("https://api2.mch.weixin.qq.com/v3/billdownload/file?token=x", BASES),
        ("https://other.mch.weixin.qq.com/v3/bill/downloadurl?token=x", BASES),
        ("https://api.wechatpay.cn/v3/billdownload/file?token=x", BASES),
        ("http://127.0.0.1:9999/v3/billdownload/file?token=x", LOOPBACK),
        ("http://localhost:9999/x", LOOPBACK),
    ],
)
def test_wechats_own_hosts_are_asked(url, bases):
    """The host that the signed offer names, when it is WeChat's."""
    check_download_url(url, bases)


@pytest.mark.parametrize(
    ("url", "bases"),
    [
        ("http://api.mch.weixin.qq.com/x", BASES),
        ("https://evil.example/x", BASES),
        ("https://weixin.qq.com.evil.example/x", BASES),
        ("https://evilweixin.qq.com.cn/x", BASES),
        ("https://api.mch.weixin.qq.com@evil.example/x", BASES),
        ("https://user@api.mch.weixin.qq.com/x", BASES),
        ("http://127.0.0.1/x", BASES),
        ("https://169.254.169.254/x", BASES),
        ("file:///etc/passwd", BASES),
        ("", BASES),
        ("https://api.mch.weixin.qq.com/x", LOOPBACK),
        ("http://192.168.1.1/x", LOOPBACK),
        ("file:///etc/passwd", LOOPBACK),
    ],
)
def test_other_hosts_are_never_asked(url, bases):
    """A signed request goes to WeChat only; a simulated merchant's stays on this machine."""
    with pytest.raises(BillDamaged):
        check_download_url(url, bases)


async def test_an_offer_elsewhere_is_unclear_and_nothing_is_sent(client, gateway, offer, tmp_path):
    """The check comes before the first byte."""
    heard = await client.download_bill(offer(download_url="https://evil.example/x"), tmp_path / "b" / "bill.csv")

    assert (Unclear, "malformed", []) == (type(heard), heard.reason, gateway.requests)
    assert not (tmp_path / "b").exists()


async def test_pieces_that_come_when_nobody_waits_any_more_run_into_nothing(client, offer, tmp_path, monkeypatch):
    """Whoever stops waiting does not stop curl: it still hands over pieces, for a file that is closed and gone."""
    asked, late = asyncio.Event(), []

    async def download(url, *, headers, write, seconds):
        late.append(write)
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(client._transport, "download", download)
    waiting = asyncio.ensure_future(client.download_bill(offer(), tmp_path / "bills" / "2026-11-23.csv"))
    await asked.wait()
    late[0](b"a piece in time")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    late[0](b"a piece too late")

    assert files_in(tmp_path / "bills") == []
