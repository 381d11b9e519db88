"""Certificate mode: first download, rotation without a restart, and what an invented serial can cost."""

import asyncio

import pytest

from payd.errors import VerificationError
from payd.models.wechat import Closed, Unclear

NUMBER = "P20261124000000abc"


@pytest.fixture
def certificates(platform, keys, reply):
    """Builds the gateway's reply to GET /v3/certificates."""

    def build(*which, **members):
        return reply(body=platform.certificates(*which), **members)

    return build


async def test_the_first_list_is_verified_with_the_certificate_inside_it(
    certificate_client, gateway, platform, keys, certificates, reply, calls
):
    """Nothing is loaded before; afterwards its serial is named on every request."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate), reply(status=204))
    assert not client.key_status().loaded

    await client.refresh_keys()
    heard = await client.close(NUMBER)

    status = client.key_status()
    assert (True, (keys.platform_serial,)) == (status.loaded, status.serials)
    assert keys.platform_certificate.not_valid_after_utc == status.not_after
    assert Closed is type(heard)
    assert gateway.requests[0].target == "/v3/certificates"
    assert "Wechatpay-Serial" not in gateway.requests[0].headers
    assert keys.platform_serial == gateway.requests[1].headers["Wechatpay-Serial"]
    assert calls == [("certificates", "ok"), ("close", "ok")]


async def test_pure_public_key_mode_never_downloads(client, gateway, platform, clock, keys):
    """Not on schedule and not for an unknown certificate serial: new merchants get a 404 there."""
    await client.refresh_keys()
    clock.advance(100_000)
    await client.refresh_keys()
    platform.use_certificate()
    headers, body = platform.callback({"a": 1})
    with pytest.raises(VerificationError) as caught:
        await client.open_notification(headers, body, [])

    assert caught.value.step == "serial"
    assert gateway.requests == []
    assert client.key_status().not_after is None


async def test_rotation_needs_no_restart(certificate_client, gateway, platform, keys, certificates, clock, paid):
    """A callback signed by the successor is opened after one download; the old key still works."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    await client.refresh_keys()
    gateway.script(certificates(keys.platform_certificate, keys.successor_certificate))

    platform.use_certificate(successor=True)
    opened = await client.open_notification(*platform.callback(paid()), [])
    platform.use_certificate()
    again = await client.open_notification(*platform.callback(paid()), [])

    assert NUMBER == opened.resource["out_trade_no"] == again.resource["out_trade_no"]
    assert len(gateway.requests) == 2
    assert {keys.platform_serial, keys.successor_serial} == set(client.key_status().serials)


async def test_an_answer_signed_by_the_successor_is_believed_after_one_download(
    certificate_client, gateway, platform, keys, certificates, reply
):
    """Answers find rotated keys the same way callbacks do."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    await client.refresh_keys()
    platform.use_certificate(successor=True)
    gateway.script(
        reply(status=204), certificates(keys.platform_certificate, keys.successor_certificate), reply(status=204)
    )

    heard = await client.close(NUMBER)

    assert Closed is type(heard)
    assert [
        "/v3/certificates",
        f"/v3/pay/transactions/out-trade-no/{NUMBER}/close",
        "/v3/certificates",
    ] == [request.target for request in gateway.requests]


async def test_invented_serials_cost_one_download_per_half_minute(
    certificate_client, gateway, platform, keys, certificates, clock
):
    """However many come, and at the same time; PUB_KEY_ID_ serials cost none."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    await client.refresh_keys()

    async def attack(serial):
        headers, body = platform.callback({"a": 1}, serial=serial)
        with pytest.raises(VerificationError) as caught:
            await client.open_notification(headers, body, [])
        assert caught.value.step == "serial"

    await asyncio.gather(*(attack(f"{number:040X}") for number in range(1, 30)))
    await attack("EE" * 20)
    assert len(gateway.requests) == 2
    await attack("PUB_KEY_ID_9")
    clock.advance(29)
    await attack("EE" * 20)
    assert len(gateway.requests) == 2
    clock.advance(2)
    await attack("EE" * 20)
    assert len(gateway.requests) == 3


async def test_a_failed_refresh_keeps_the_old_set_and_comes_again(
    certificate_client, gateway, platform, keys, certificates, reply, clock, paid
):
    """Every kind of bad list is refused; half a minute later it is tried again."""
    client = certificate_client(cert_refresh_interval_seconds=1000)
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    await client.refresh_keys()
    other_key = platform.certificates(keys.successor_certificate)
    other_key["data"][0]["encrypt_certificate"] = platform.seal(b"x", "certificate", key=b"f" * 32)
    wrong_serial = platform.certificates(keys.successor_certificate)
    wrong_serial["data"][0]["serial_no"] = "AB" * 20
    bad = [
        certificates(keys.successor_certificate, signed=False),
        certificates(keys.successor_certificate, signed="wrong"),
        certificates(keys.successor_certificate, signed="stranger"),
        certificates(keys.successor_certificate, signed="stale"),
        certificates(keys.merchant_certificate),
        reply(body=other_key),
        reply(body=wrong_serial),
        reply(body={"data": []}),
        reply(body={"data": [5]}),
        reply(body={"data": [{"serial_no": "AA", "encrypt_certificate": "x"}]}),
        reply(body=b"<html>"),
        reply(status=500, signed=False),
        reply(status=404, signed=False, body={"code": "RESOURCE_NOT_EXISTS", "message": "无可用的平台证书"}),
        reply(act="reset"),
    ]
    for answer in bad:
        clock.advance(1001)
        gateway.script(answer)
        asked = len(gateway.requests)
        await client.refresh_keys()
        assert len(gateway.requests) > asked
        assert (keys.platform_serial,) == client.key_status().serials
    clock.advance(1001)
    gateway.script(certificates(keys.platform_certificate, keys.successor_certificate))
    await client.refresh_keys()

    assert len(client.key_status().serials) == 2


async def test_the_schedule_is_kept(certificate_client, gateway, platform, keys, certificates, reply, clock):
    """Good: after the interval. Failed: after half a minute. No certificates at all (404): after the interval."""
    client = certificate_client(cert_refresh_interval_seconds=600)
    platform.use_certificate()

    async def downloads_after(seconds):
        clock.advance(seconds)
        before = len(gateway.requests)
        await client.refresh_keys()
        return len(gateway.requests) - before

    gateway.script(certificates(keys.platform_certificate))
    assert [await downloads_after(seconds) for seconds in (0, 599, 2)] == [1, 0, 1]
    gateway.script(reply(status=502, signed=False))
    assert [await downloads_after(seconds) for seconds in (601, 29, 2)] == [1, 0, 1]
    gateway.script(reply(status=404, signed=False, body={"code": "RESOURCE_NOT_EXISTS", "message": "x"}))
    assert [await downloads_after(seconds) for seconds in (31, 599, 2)] == [1, 0, 1]


async def test_a_slow_download_holds_a_callback_no_longer_than_its_budget(
    certificate_client, gateway, platform, reply, monkeypatch
):
    """The callback is refused in time; the download goes on and serves the next one."""
    monkeypatch.setattr("payd.wechat.certificates.CERT_REFRESH_BUDGET_SECONDS", 0.05)
    client = certificate_client()
    platform.use_certificate()
    gateway.script(reply(act="hang"))
    headers, body = platform.callback({"a": 1})

    with pytest.raises(VerificationError) as caught:
        await client.open_notification(headers, body, [])

    assert (caught.value.step, caught.value.status) == ("serial", 401)
    assert len(gateway.requests) == 1


async def test_downloaded_certificates_survive_a_restart(
    certificate_client, gateway, platform, keys, certificates, tmp_path, paid
):
    """They are read from the cache of this merchant and host, and of no other."""
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    first = certificate_client()
    await first.refresh_keys()
    (cached,) = (tmp_path / "cache").iterdir()

    second = certificate_client()
    elsewhere = certificate_client(api_base="http://127.0.0.1:9")
    opened = await second.open_notification(*platform.callback(paid()), [])

    assert opened.resource["out_trade_no"] == NUMBER
    assert len(gateway.requests) == 1
    assert not elsewhere.key_status().loaded
    assert oct(cached.stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END"])
async def test_a_damaged_cache_is_as_good_as_none(
    content, certificate_client, gateway, platform, keys, certificates, tmp_path
):
    """Starting never fails because of it."""
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate))
    await certificate_client().refresh_keys()
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(content)

    client = certificate_client()

    assert not client.key_status().loaded


async def test_both_modes_at_once_trust_both_and_name_the_public_key(
    open_client, gateway, platform, key_dir, keys, reply, paid
):
    """During the switch callbacks come under either key; requests ask for the public key's answer."""
    client = open_client(platform_cert_path=key_dir / "platform_cert.pem")
    gateway.script(reply(status=204))

    await client.close(NUMBER)
    under_key = await client.open_notification(*platform.callback(paid()), [])
    platform.use_certificate()
    under_certificate = await client.open_notification(*platform.callback(paid()), [])

    assert gateway.requests[0].headers["Wechatpay-Serial"].startswith("PUB_KEY_ID_")
    assert under_key.resource == under_certificate.resource
    assert len(client.key_status().serials) == 2


async def test_an_expired_platform_certificate_file_is_not_trusted(
    certificate_client, key_dir, keys, make_cert, write_pem, clock
):
    """A file from five years ago does not hinder the start: the list is downloaded."""
    from datetime import timedelta

    old = make_cert(keys.platform, "Tenpay.com sign", 0x77 << 152, start=clock.now() - timedelta(days=900))

    client = certificate_client(platform_cert_path=write_pem(key_dir / "old.pem", old))

    assert not client.key_status().loaded


async def test_a_certificate_is_trusted_until_its_last_second(
    certificate_client, gateway, platform, keys, certificates, clock, paid, reply
):
    """Once it has expired the same callback is refused, also when no download succeeds any more."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(certificates(keys.platform_certificate), reply(status=502, signed=False))
    await client.refresh_keys()
    left = keys.platform_certificate.not_valid_after_utc - clock.now()

    clock.advance(left.total_seconds())
    await client.refresh_keys()
    last = await client.open_notification(*platform.callback(paid()), [])
    clock.advance(1)
    await client.refresh_keys()
    with pytest.raises(VerificationError) as caught:
        await client.open_notification(*platform.callback(paid()), [])

    assert last.resource["out_trade_no"] == NUMBER
    assert caught.value.step == "serial"
    assert not client.key_status().loaded


async def test_without_any_key_every_answer_is_unclear(certificate_client, gateway, platform, reply):
    """Nothing trusted, nothing concluded; the first call tries one download."""
    client = certificate_client()
    platform.use_certificate()
    gateway.script(reply(status=204), reply(status=503, signed=False))

    heard = await client.close(NUMBER)

    assert (Unclear, "key_refresh") == (type(heard), heard.reason)
    assert len(gateway.requests) == 2
