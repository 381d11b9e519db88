"""WechatPayClient: the port `payd.ports.WechatPay` over WeChat Pay API v3.

One call is at most two tries, the second on the other host and only when the first could not be reached. Handlers and
callers never retry here; repeating under the same number is the reconciler's work. Bodies and keys are never logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from cryptography import x509
from tornado.httputil import HTTPHeaders

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
from payd.wechat.pacing import Pacer
from payd.wechat.requests import READ_ONLY, Operation, WireRequest
from payd.wechat.resource_cipher import ResourceCipher, decrypt_field, encrypt_field
from payd.wechat.settings import ClientSettings
from payd.wechat.signing import RequestSigner
from payd.wechat.transport import HttpAnswer, Transport, TransportFailure
from payd.wechat.verification import SERIAL_HEADER, check_signature, check_timestamp, read_signature_headers

#: ``on_call(operation, outcome, seconds)``; outcome is ``ok``, ``refused`` or ``unknown``.
OnCall = Callable[[str, str, float], None]

#: Which check an answer failed -> the one word of `Unclear.reason`.
DISTRUST: Final = {"headers": "unsigned", "timestamp": "signature", "serial": "key_refresh", "signature": "signature"}

SIGNING_THREADS: Final = 2
#: trade_type -> the member of the prepay answer that the payer needs.
PREPAY_MEMBERS: Final = {"NATIVE": "code_url", "JSAPI": "prepay_id", "APP": "prepay_id", "H5": "h5_url"}

_T = TypeVar("_T")


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
        self._on_call = on_call
        self._log = structlog.get_logger("payd.wechat")
        self._executor = ThreadPoolExecutor(SIGNING_THREADS, thread_name_prefix="wechat-sign")
        self._signer = RequestSigner(keyring.merchant, clock=clock, entropy=entropy, executor=self._executor)
        self._cipher = ResourceCipher(settings.api_v3_key)
        self._transport = Transport(timeout_ms=settings.timeout_ms)
        self._hosts = Hosts(settings.api_base, settings.api_base_backup, clock=clock)
        self._pacer = Pacer(clock=clock)
        self._skew_seconds: float | None = None
        self._refresher = CertificateRefresher(
            keyring.trust,
            enabled=settings.certificate_mode,
            interval_seconds=settings.cert_refresh_interval_seconds,
            download=self._download_certificates,
            cache=cache,
            clock=clock,
        )
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

        return await self._ask(requests.prepay_request(trade_type, body), read)

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

        return await self._ask(requests.query_request(out_trade_no, self._settings.mchid), read, absent)

    async def close(self, out_trade_no: str) -> Closed | Refused | Unclear:
        """Close an unpaid order: only a verified 204 is `Closed`. Anything else: query before concluding."""

        def read(heard: Verified) -> Closed:
            if heard.status != 204:
                raise Malformed("a close is answered by 204")
            return Closed(request_id=heard.request_id)

        return await self._ask(requests.close_request(out_trade_no, self._settings.mchid), read)

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
        return await self._ask(requests.refund_request(body), self._refund_reader(out_refund_no, Source.API))

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
        return await self._ask(requests.refund_query_request(out_refund_no), reader, absent)

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
        return await self._ask(request, self._refund_reader(refund.out_refund_no, Source.API))

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
        return await self._ask(request, lambda heard: read_offer(_members(heard), heard.request_id))

    async def download_bill(self, offer: BillOffer, target: Path) -> Unclear | None:
        """Stream a bill to disk, uncompressed, and check its SHA-1; None when it is whole and right."""
        started = self._clock.monotonic()
        trouble = await self._bills.download(offer, target)
        self._report(Operation.DOWNLOAD, trouble, started)
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
        return self._skew_seconds

    async def echo(self) -> EchoReport:
        """Prove signing, verification and both directions of encryption with WeChat's self-test; moves no money."""
        key = self._trust.preferred(self._clock.now())
        if key is None:
            return EchoReport(ok=False, detail="no platform key is loaded", clock_skew_seconds=self._skew_seconds)
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

        heard = await self._ask(requests.echo_request(members, key_serial=key.serial), read)
        detail = heard if isinstance(heard, str) else _describe(heard)
        return EchoReport(ok=isinstance(heard, str), detail=detail, clock_skew_seconds=self._skew_seconds)

    async def close_client(self) -> None:
        """Close connections and threads."""
        await self._refresher.close()
        await self._transport.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def _download_certificates(self) -> Sequence[x509.Certificate]:
        started = self._clock.monotonic()
        heard = await self._exchange(requests.certificates_request())
        if isinstance(heard, Unclear):
            self._report(Operation.CERTIFICATES, heard, started)
            raise DownloadFailed(_describe(heard))
        answer, _ = heard
        if answer.status != 200:
            judged = judge(Operation.CERTIFICATES, answer, distrust=await self._distrust(answer, refresh=False))
            self._report(Operation.CERTIFICATES, judged, started)
            # Whoever wrote this 404: nothing is concluded from it but what to tell the operator.
            absent = answer.status == 404 and read_error(answer.body).code in ("RESOURCE_NOT_EXISTS", "NOT_FOUND")
            raise DownloadFailed(NO_CERTIFICATES_CURE if absent else _describe(judged), permanent=absent)
        try:
            certificates = open_certificates(
                answer, cipher=self._cipher, trust=self._trust, merchant=self._merchant, clock=self._clock
            )
        except DownloadFailed as exc:
            self._report(Operation.CERTIFICATES, Unclear(reason="signature", status=200, message=str(exc)), started)
            raise
        self._report(Operation.CERTIFICATES, None, started)
        return certificates

    # -- one call ---------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        request: WireRequest,
        read: Callable[[Verified], _T],
        absent: Callable[[Absent], _T] | None = None,
    ) -> _T | Refused | Unclear:
        """Make one call and read its answer; ``read`` raises Malformed for what the answer should not be."""
        started = self._clock.monotonic()
        wait = self._pacer.delay(request.operation)
        if wait is None:
            outcome: Verified | Absent | Refused | Unclear = Unclear(
                reason="rate_limited", message="not sent: WeChat's rate would be exceeded"
            )
        else:
            if wait > 0:
                await asyncio.sleep(wait)
            outcome = await self._conclude(request)
            self._pacer.heard(request.operation, failed=isinstance(outcome, Refused | Unclear))
        result = _read(outcome, read, absent)
        self._report(request.operation, result, started, request_id=outcome.request_id)
        return result

    async def _conclude(self, request: WireRequest) -> Verified | Absent | Refused | Unclear:
        heard = await self._exchange(request)
        if isinstance(heard, Unclear):
            return heard
        answer, maybe_repeated = heard
        distrust = await self._distrust(answer, refresh=True)
        outcome = judge(request.operation, answer, distrust=distrust)
        if isinstance(outcome, Refused) and maybe_repeated and request.operation not in READ_ONLY:
            # It may be the echo of our own first try, which may have been carried out.
            return Unclear(
                reason="code",
                status=outcome.status,
                code=outcome.code,
                message=outcome.message,
                request_id=outcome.request_id,
            )
        return outcome

    async def _exchange(self, request: WireRequest) -> tuple[HttpAnswer, bool] | Unclear:
        """Send on the first host, once more on the other when that one could not be reached or timed out.

        The flag says that WeChat may have seen the request before the try that was answered. Nothing is verified.
        """
        maybe_seen = False
        trouble = Unclear(reason="connection")
        for base in self._hosts.order(request.operation):
            headers = await self._headers(request)
            try:
                answer = await self._transport.exchange(
                    base, method=request.method, target=request.target, headers=headers, body=request.body
                )
            except TransportFailure as failure:
                trouble = Unclear(reason=failure.reason, message=str(failure))
                maybe_seen = maybe_seen or failure.sent
                if failure.reason == "malformed":
                    break
                self._hosts.heard(base, reached=False)
                self._log.warning(
                    "wechat_host_failed", host=base, operation=request.operation.value, reason=failure.reason,
                    detail=str(failure),
                )  # fmt: skip
                continue
            self._hosts.heard(base, reached=True)
            self._note_date(answer.headers)
            return answer, maybe_seen or answer.sends > 1
        return trouble

    async def _headers(self, request: WireRequest) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Authorization": await self._signer.authorize(
                method=request.method, target=request.target, body=request.body
            ),
        }
        if request.body:
            headers["Content-Type"] = "application/json"
        # On every request: in the switch from certificates to the public key it chooses the answer's key.
        serial = request.key_serial or self._trust.request_serial(self._clock.now())
        if serial is not None:
            headers[SERIAL_HEADER] = serial
        return headers

    async def _distrust(self, answer: HttpAnswer, *, refresh: bool) -> str | None:
        """Verify an answer: None when its signature holds, else the word that says why not."""
        try:
            headers = read_signature_headers(answer.headers)
            check_timestamp(headers, now=self._clock.now().timestamp())
            key = self._trust.lookup(headers.serial)
            if key is None and refresh:
                await self._refresher.refresh_for_unknown(headers.serial)
                key = self._trust.lookup(headers.serial)
            if key is None:
                raise VerificationError("serial", "no trusted platform key has this serial")
            check_signature(headers, answer.body, key)
        except VerificationError as failure:
            return DISTRUST[failure.step]
        return None

    def _note_date(self, headers: HTTPHeaders) -> None:
        try:
            self._skew_seconds = (parsedate_to_datetime(headers["Date"]) - self._clock.now()).total_seconds()
        except (KeyError, ValueError, TypeError, OverflowError):
            return  # nothing to learn; the signed timestamp is what is checked

    def _report(self, operation: Operation, result: object, started: float, *, request_id: str | None = None) -> None:
        seconds = self._clock.monotonic() - started
        if isinstance(result, Unclear | Refused):
            outcome = "refused" if isinstance(result, Refused) else "unknown"
            self._log.warning(
                "wechat_call", operation=operation.value, outcome=outcome, status=result.status, code=result.code,
                reason=result.reason if isinstance(result, Unclear) else None, detail=result.message,
                wechat_request_id=result.request_id, seconds=round(seconds, 4),
            )  # fmt: skip
        else:
            outcome = "ok"
            self._log.info(
                "wechat_call", operation=operation.value, outcome=outcome, wechat_request_id=request_id,
                seconds=round(seconds, 4),
            )  # fmt: skip
        if self._on_call is not None:
            self._on_call(operation.value, outcome, seconds)


def _read(
    outcome: Verified | Absent | Refused | Unclear,
    read: Callable[[Verified], _T],
    absent: Callable[[Absent], _T] | None,
) -> _T | Refused | Unclear:
    if isinstance(outcome, Refused | Unclear):
        return outcome
    if isinstance(outcome, Absent):
        assert absent is not None, "only queries have a code for absence"
        return absent(outcome)
    try:
        return read(outcome)
    except Malformed as exc:
        return Unclear(reason="malformed", status=outcome.status, message=str(exc), request_id=outcome.request_id)


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
