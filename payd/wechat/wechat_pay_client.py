"""WechatPayClient: the port `payd.ports.WechatPay` over WeChat Pay API v3.

Here is what payd asks of WeChat and how each answer is read; `calls` is how a call is made. Nothing retries under
another number; repeating under the same one is the reconciler's work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from payd.errors import VerificationError
from payd.models.bill import BillKind
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.notification import OpenedNotification, Step
from payd.models.order import CreateCommand, Order
from payd.models.refund import AbnormalRefundCommand, Refund
from payd.models.wechat import BillOffer, Closed, KeyStatus, PrepayParameters, Refused, Unclear
from payd.ports import Clock, EchoReport, Entropy
from payd.wechat import evidence, notifications, requests
from payd.wechat.answers import Absent, Verified, judge, read_error
from payd.wechat.bills import BillDownloader, read_offer
from payd.wechat.calls import Caller, OnCall
from payd.wechat.certificates import (
    NO_CERTIFICATES_CURE,
    CertificateCache,
    CertificateRefresher,
    DownloadFailed,
    open_certificates,
)
from payd.wechat.hosts import Hosts
from payd.wechat.keyring import Keyring
from payd.wechat.members import Malformed, text
from payd.wechat.requests import Operation
from payd.wechat.resource_cipher import ResourceCipher, decrypt_field, encrypt_field
from payd.wechat.settings import ClientSettings
from payd.wechat.signatures import Signatures
from payd.wechat.signing import RequestSigner
from payd.wechat.transport import Transport

SIGNING_THREADS: Final = 2
#: trade_type -> the member of the prepay answer that the payer needs.
PREPAY_MEMBERS: Final = {"NATIVE": "code_url", "JSAPI": "prepay_id", "APP": "prepay_id", "H5": "h5_url"}


class WechatPayClient:
    """WeChat Pay for one merchant. Construct through `payd.wechat.open_wechat_pay`; use on one event loop."""

    def __init__(
        self,
        settings: ClientSettings,
        keyring: Keyring,
        *,
        cache: CertificateCache | None,
        clock: Clock,
        entropy: Entropy,
        on_call: OnCall | None,
    ) -> None:
        self._settings = settings
        self._merchant = keyring.merchant
        self._trust = keyring.trust
        self._clock = clock
        self._entropy = entropy
        self._executor = ThreadPoolExecutor(SIGNING_THREADS, thread_name_prefix="wechat-sign")
        self._signatures = Signatures(keyring.merchant, clock=clock, executor=self._executor)
        self._signer = RequestSigner(keyring.merchant, clock=clock, entropy=entropy, signatures=self._signatures)
        self._cipher = ResourceCipher(settings.api_v3_key)
        self._transport = Transport(timeout_ms=settings.timeout_ms)
        self._caller = Caller(
            signer=self._signer,
            transport=self._transport,
            hosts=Hosts(settings.api_base, settings.api_base_backup, clock=clock),
            trust=keyring.trust,
            clock=clock,
            on_call=on_call,
        )
        self._refresher = CertificateRefresher(
            keyring.trust,
            enabled=settings.certificate_mode,
            interval_seconds=settings.cert_refresh_interval_seconds,
            download=self._download_certificates,
            cache=cache,
            clock=clock,
        )
        self._caller.refresher = self._refresher
        self._opener = notifications.NotificationOpener(
            trust=keyring.trust, refresher=self._refresher, cipher=self._cipher, clock=clock
        )
        bases = tuple(base for base in (settings.api_base, settings.api_base_backup) if base is not None)
        self._bills = BillDownloader(
            transport=self._transport, signer=self._signer, bases=bases, executor=self._executor
        )

    # -- payments ---------------------------------------------------------------------------------------------------

    def prepay_body(self, command: CreateCommand, *, out_trade_no: str, expires_at: datetime) -> bytes:
        """Write the exact prepay body for this order. Sent unchanged at every repeat."""
        return requests.encode(
            requests.prepay_members(
                command,
                appid=self._settings.appid,
                mchid=self._settings.mchid,
                out_trade_no=out_trade_no,
                expires_at=expires_at,
                notify_url=self._settings.notify_url,
            )
        )

    async def prepay(self, trade_type: str, body: bytes) -> PrepayParameters | Refused | Unclear:
        """Create or renew the payment at WeChat. ORDER_PAID is `Refused` with that code: query, then settle."""
        member = PREPAY_MEMBERS[trade_type]

        def read(heard: Verified) -> PrepayParameters:
            return PrepayParameters(**{member: text(_members(heard), member)}, request_id=heard.request_id)

        return await self._caller.ask(requests.prepay_request(trade_type, body), read)

    def client_parameters(self, trade_type: str, prepay_id: str) -> Mapping[str, str] | None:
        """Sign fresh parameters for ``wx.requestPayment`` (JSAPI) or the SDK (APP); None for NATIVE and H5."""
        if trade_type == "JSAPI":
            return self._signer.jsapi_parameters(self._settings.appid, prepay_id)
        if trade_type == "APP":
            return self._signer.app_parameters(self._settings.appid, prepay_id)
        return None

    async def query_payment(self, out_trade_no: str) -> PaymentEvidence | Refused | Unclear:
        """Ask for an order. A signed ORDER_NOT_EXIST is evidence with ``exists=False``."""

        def read(heard: Verified) -> PaymentEvidence:
            found = evidence.payment_evidence(_members(heard), source=Source.QUERY, request_id=heard.request_id)
            _expect("out_trade_no", out_trade_no, found.out_trade_no)
            _expect("mchid", self._settings.mchid, found.mchid)
            return found

        def absent(heard: Absent) -> PaymentEvidence:
            return PaymentEvidence(
                source=Source.QUERY,
                out_trade_no=out_trade_no,
                event=None,
                trade_state=heard.code,
                exists=False,
                mchid=self._settings.mchid,
                request_id=heard.request_id,
            )

        return await self._caller.ask(requests.query_request(out_trade_no, self._settings.mchid), read, absent)

    async def close(self, out_trade_no: str) -> Closed | Refused | Unclear:
        """Close an unpaid order: only a verified 204 is `Closed`. Anything else: query before concluding."""

        def read(heard: Verified) -> Closed:
            if heard.status != 204:
                raise Malformed("a close is answered by 204")
            return Closed(request_id=heard.request_id)

        return await self._caller.ask(requests.close_request(out_trade_no, self._settings.mchid), read)

    # -- refunds ----------------------------------------------------------------------------------------------------

    def refund_body(
        self,
        order: Order,
        *,
        out_refund_no: str,
        refund_fen: int,
        reason: str | None,
        content: Mapping[str, Any],
    ) -> bytes:
        """Write the exact refund body. ``content`` may hold ``funds_account`` and ``goods_detail``."""
        return requests.encode(
            requests.refund_members(
                order,
                out_refund_no=out_refund_no,
                refund_fen=refund_fen,
                reason=reason,
                content=content,
                notify_url=self._settings.notify_url,
            )
        )

    async def refund(self, body: bytes, *, out_refund_no: str) -> RefundEvidence | Refused | Unclear:
        """Ask for a refund, or repeat the same one. NOT_ENOUGH is `Refused` with that code: repeat the same number."""
        return await self._caller.ask(requests.refund_request(body), self._refund_reader(out_refund_no, Source.API))

    async def query_refund(self, out_refund_no: str) -> RefundEvidence | Refused | Unclear:
        """Ask for a refund. A signed RESOURCE_NOT_EXISTS is evidence with ``exists=False``."""

        def absent(heard: Absent) -> RefundEvidence:
            return RefundEvidence(
                source=Source.QUERY,
                out_refund_no=out_refund_no,
                event=None,
                status_word=heard.code,
                exists=False,
                request_id=heard.request_id,
            )

        reader = self._refund_reader(out_refund_no, Source.QUERY)
        return await self._caller.ask(requests.refund_query_request(out_refund_no), reader, absent)

    async def abnormal_refund(
        self, refund: Refund, command: AbnormalRefundCommand
    ) -> RefundEvidence | Refused | Unclear:
        """Name where an ABNORMAL refund shall go. Card number and name leave this machine encrypted only."""
        assert refund.refund_id is not None, "an abnormal refund has WeChat's number"
        key = self._trust.preferred(self._clock.now())
        if key is None:
            return Unclear(reason="key_refresh", message="no platform key to encrypt with")
        members: dict[str, Any] = {"out_refund_no": refund.out_refund_no, "type": command.account_type}
        if command.bank_type is not None:
            members["bank_type"] = command.bank_type
        for name, value in (("bank_account", command.bank_account), ("real_name", command.real_name)):
            if value is not None:
                members[name] = encrypt_field(key.public_key, value)
        request = requests.abnormal_refund_request(refund.refund_id, members, key_serial=key.serial)
        return await self._caller.ask(request, self._refund_reader(refund.out_refund_no, Source.API))

    def _refund_reader(self, out_refund_no: str, source: Source) -> Callable[[Verified], RefundEvidence]:
        def read(heard: Verified) -> RefundEvidence:
            found = evidence.refund_evidence(
                _members(heard), status_member="status", source=source, request_id=heard.request_id
            )
            _expect("out_refund_no", out_refund_no, found.out_refund_no)
            return found

        return read

    # -- bills ------------------------------------------------------------------------------------------------------

    async def apply_bill(self, bill_date: date, kind: BillKind) -> BillOffer | Refused | Unclear:
        """Ask where a bill is. `Refused` NO_STATEMENT_EXIST: nothing happened; STATEMENT_CREATING: later."""
        request = requests.bill_request(bill_date, kind)
        return await self._caller.ask(request, lambda heard: read_offer(_members(heard), heard.request_id))

    async def download_bill(self, offer: BillOffer, target: Path) -> Unclear | None:
        """Stream a bill to disk, uncompressed, and check its SHA-1; None when it is whole and right."""
        started = self._clock.monotonic()
        trouble = await self._bills.download(offer, target)
        self._caller.report(Operation.DOWNLOAD, trouble, started)
        return trouble

    # -- callbacks --------------------------------------------------------------------------------------------------

    async def open_notification(self, headers: Mapping[str, str], body: bytes, steps: list[Step]) -> OpenedNotification:
        """Run checks 1-6 on the raw bytes; appends each verdict to ``steps``. Raises VerificationError."""
        return await self._opener.open(headers, body, steps)

    def payment_evidence(self, opened: OpenedNotification) -> PaymentEvidence:
        """Read a decrypted ``transaction`` resource. Raises VerificationError when members are missing or ill-typed."""
        return notifications.read_payment(opened)

    def refund_evidence(self, opened: OpenedNotification) -> RefundEvidence:
        """Read a decrypted ``refund`` resource. Raises VerificationError when members are missing or ill-typed."""
        return notifications.read_refund(opened)

    # -- keys, clock, self-test -------------------------------------------------------------------------------------

    async def refresh_keys(self) -> None:
        """Download platform certificates when that mode is on and they are due; never raises for a failed download."""
        await self._refresher.refresh_if_due()

    def key_status(self) -> KeyStatus:
        """Say which platform keys are loaded and when the last certificate ends."""
        return self._trust.status()

    def clock_skew_seconds(self) -> float | None:
        """Tell WeChat's clock minus ours at the last answer, to the second, None before the first."""
        return self._caller.skew_seconds

    async def echo(self) -> EchoReport:
        """Prove signing, verification and both directions of encryption with WeChat's self-test; moves no money."""
        key = self._trust.preferred(self._clock.now())
        if key is None:
            return EchoReport(
                ok=False, detail="no platform key is loaded", clock_skew_seconds=self._caller.skew_seconds
            )
        message = self._entropy.token_hex(8)
        members = {"echo_message": message, "encrypted_echo_message": encrypt_field(key.public_key, message)}

        def read(heard: Verified) -> str:
            answered = _members(heard)
            _expect("echo_message", message, text(answered, "echo_message"))
            try:
                decrypted = decrypt_field(self._merchant.private_key, text(answered, "encrypted_echo_message"))
            except VerificationError as exc:
                raise Malformed("encrypted_echo_message does not open with the merchant's key") from exc
            _expect("encrypted_echo_message", message, decrypted)
            return "signing, verification and encryption round-trip"

        heard = await self._caller.ask(requests.echo_request(members, key_serial=key.serial), read)
        detail = heard if isinstance(heard, str) else _describe(heard)
        return EchoReport(ok=isinstance(heard, str), detail=detail, clock_skew_seconds=self._caller.skew_seconds)

    async def close_client(self) -> None:
        """Close connections and threads."""
        await self._refresher.close()
        await self._transport.close()
        self._signatures.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _download_certificates(self) -> Sequence[x509.Certificate]:
        started = self._clock.monotonic()
        heard = await self._caller.exchange(requests.certificates_request())
        if isinstance(heard, Unclear):
            self._caller.report(Operation.CERTIFICATES, heard, started)
            raise DownloadFailed(_describe(heard))
        answer, _ = heard
        if answer.status != 200:
            judged = judge(Operation.CERTIFICATES, answer, distrust=await self._caller.distrust(answer, refresh=False))
            self._caller.report(Operation.CERTIFICATES, judged, started)
            # Whoever wrote this 404: nothing is concluded from it but what to tell the operator.
            absent = answer.status == 404 and read_error(answer.body).code in ("RESOURCE_NOT_EXISTS", "NOT_FOUND")
            raise DownloadFailed(NO_CERTIFICATES_CURE if absent else _describe(judged), permanent=absent)
        try:
            certificates = open_certificates(
                answer, cipher=self._cipher, trust=self._trust, merchant=self._merchant, clock=self._clock
            )
        except DownloadFailed as exc:
            self._caller.report(
                Operation.CERTIFICATES, Unclear(reason="signature", status=200, message=str(exc)), started
            )
            raise
        self._caller.report(Operation.CERTIFICATES, None, started)
        return certificates


def _members(heard: Verified) -> Mapping[str, Any]:
    if heard.members is None:
        raise Malformed("the answer has no body")
    return heard.members


def _expect(name: str, asked: str, answered: str | None) -> None:
    if asked != answered:
        raise Malformed(f"the answer speaks of another {name}")


def _describe(heard: object) -> str:
    if isinstance(heard, Refused):
        return f"refused: {heard.status} {heard.code} {heard.message}"
    if isinstance(heard, Unclear):
        parts = (heard.reason, heard.status, heard.code, heard.message)
        return "no clear answer: " + " ".join(str(part) for part in parts if part is not None)
    return "an unexpected answer"
