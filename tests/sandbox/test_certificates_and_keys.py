"""GET /v3/certificates, key modes and rotation (section 3)."""

from __future__ import annotations

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding


async def _listed(merchant, **options):
    """serial -> certificate, decrypted by hand."""
    answer = await merchant.get("/v3/certificates", **options)
    assert answer.status == 200, answer.body
    found = {}
    for entry in answer.json["data"]:
        pem = merchant.unseal(entry["encrypt_certificate"])
        found[entry["serial_no"]] = x509.load_pem_x509_certificate(pem)
    return found, answer


async def test_pure_public_key_merchants_have_no_certificates(merchant):
    """404 RESOURCE_NOT_EXISTS, signed by the public key."""
    answer = await merchant.get("/v3/certificates")

    assert (answer.status, answer.json["code"]) == (404, "RESOURCE_NOT_EXISTS")
    assert answer.headers["Wechatpay-Serial"] == merchant.facts.public_key_id
    assert merchant.verifies(answer.headers, answer.body)


@pytest.mark.parametrize("mode", ["certificate", "both"])
async def test_certificates_are_encrypted_and_belong_to_the_signature(merchant, control, mode):
    """Serial, dates, associated data, subject and issuer are as documented."""
    await control("POST", "keys", {"mode": mode})

    found, answer = await _listed(merchant)

    ((serial, certificate),) = found.items()
    entry = answer.json["data"][0]
    assert serial == merchant.facts.platform_serial_no == f"{certificate.serial_number:X}"
    assert re.fullmatch(r"[0-9A-F]{40}", serial)
    assert merchant.verifies(answer.headers, answer.body, {serial: certificate.public_key()})
    assert (entry["encrypt_certificate"]["algorithm"], entry["encrypt_certificate"]["associated_data"]) == (
        "AEAD_AES_256_GCM", "certificate")  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", entry["effective_time"])
    assert "CN=Tenpay.com sign" in certificate.subject.rfc4514_string()
    assert "CN=Tenpay.com Root CA" in certificate.issuer.rfc4514_string()


async def test_certificates_chain_to_the_throwaway_root(merchant, control, prepared):
    """The root certificate in the directory has signed them."""
    await control("POST", "keys", {"mode": "certificate"})
    root = x509.load_pem_x509_certificate((prepared / "root_ca.pem").read_bytes())

    found, _ = await _listed(merchant)

    (certificate,) = found.values()
    root.public_key().verify(
        certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(),
        certificate.signature_hash_algorithm)  # fmt: skip


async def test_rotation_step_by_step(merchant, control):
    """Publish returns both, switch lets the new one sign, retire forgets the old one."""
    old = merchant.facts.platform_serial_no
    await control("POST", "keys", {"mode": "certificate"})

    await control("POST", "keys", {"rotate": "publish"})
    published, first = await _listed(merchant)
    await control("POST", "keys", {"rotate": "switch"})
    _, second = await _listed(merchant)
    by_old, third = await _listed(merchant, headers={"Wechatpay-Serial": old})
    await control("POST", "keys", {"rotate": "retire"})
    retired, _ = await _listed(merchant)

    (new,) = [serial for serial in published if serial != old]
    assert [answer.headers["Wechatpay-Serial"] for answer in (first, second, third)] == [old, new, old]
    assert merchant.verifies(second.headers, second.body, {new: published[new].public_key()})
    assert (set(by_old), set(retired)) == ({old, new}, {new})


async def test_rotation_at_once(merchant, control):
    """`rotate: true` publishes a successor that signs from then on."""
    told = await control("POST", "keys", {"mode": "certificate", "rotate": True})

    _, answer = await _listed(merchant)

    assert answer.headers["Wechatpay-Serial"] == told.json["signing_certificate"] != merchant.facts.platform_serial_no
    assert len(told.json["certificates"]) == 2


async def test_switching_without_a_successor_is_refused(merchant, control):
    """409, and neither mode nor signer has changed."""
    answer = await control("POST", "keys", {"mode": "certificate", "rotate": "switch"})

    assert (answer.status, answer.json["code"]) == (409, "NO_SUCCESSOR")
    assert (await merchant.query()).headers["Wechatpay-Serial"] == merchant.facts.public_key_id


@pytest.mark.parametrize("body", [{"mode": "none"}, {"rotate": "sometimes"}, {"rotate": 1}, {"unknown": 1}])
async def test_bad_key_calls_change_nothing(merchant, control, body):
    """400; mode and certificates stay."""
    before = (await control("GET", "keys")).json

    answer = await control("POST", "keys", body)

    assert answer.status == 400
    assert (await control("GET", "keys")).json == before


async def test_shown_keys_hold_no_private_key(control):
    """What the control API shows a merchant may know."""
    answer = await control("GET", "keys")

    assert b"PRIVATE" not in answer.body
    assert answer.json["mode"] == "public_key"


async def test_sm2_certificates_do_not_exist(merchant, control):
    """algorithm_type is understood; only RSA is simulated."""
    await control("POST", "keys", {"mode": "certificate"})

    rsa = await merchant.get("/v3/certificates?algorithm_type=RSA")
    sm2 = await merchant.get("/v3/certificates?algorithm_type=SM2")
    unknown = await merchant.get("/v3/certificates?algorithm_type=DSA")

    assert [rsa.status, sm2.status, unknown.status] == [200, 404, 400]
