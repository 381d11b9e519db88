"""One call to WeChat: sign, send, once more on the other host if need be, verify, conclude, report.

A second try happens only when the first host could not be reached or timed out, with the same bytes signed anew. What a
refusal means after such a try is decided here, because only here is it known. Bodies and keys are never logged.

Time: each try ends within ``timeout_ms``; a paced call may wait up to 2 s before it, and an answer under an unknown
certificate serial up to 2 s after it, at most once in half a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from payd.errors import VerificationError
from payd.logs import get_logger
from payd.models.wechat import Refused, Unclear
from payd.ports import Clock
from payd.wechat.answers import Absent, Verified, judge
from payd.wechat.certificates import CertificateRefresher
from payd.wechat.hosts import Hosts
from payd.wechat.http_answer import HttpAnswer, TransportFailure
from payd.wechat.keyring import TrustStore
from payd.wechat.members import Malformed
from payd.wechat.pacing import Pacer
from payd.wechat.requests import READ_ONLY, Operation, WireRequest
from payd.wechat.signing import RequestSigner
from payd.wechat.transport import Transport
from payd.wechat.verification import SERIAL_HEADER, check_signature, check_timestamp, read_signature_headers

#: ``on_call(operation, outcome, seconds)``; outcome is ``ok``, ``refused`` or ``unknown``.
OnCall = Callable[[str, str, float], None]

#: Which check an answer failed -> the one word of `Unclear.reason`.
DISTRUST: Final = {"headers": "unsigned", "timestamp": "signature", "serial": "key_refresh", "signature": "signature"}

_T = TypeVar("_T")


class Caller:
    """Makes calls. ``refresher`` is set right after construction: its download is itself a call."""

    refresher: CertificateRefresher

    def __init__(
        self,
        *,
        signer: RequestSigner,
        transport: Transport,
        hosts: Hosts,
        trust: TrustStore,
        clock: Clock,
        on_call: OnCall | None,
    ) -> None:
        self._signer = signer
        self._transport = transport
        self._hosts = hosts
        self._trust = trust
        self._clock = clock
        self._on_call = on_call
        self._pacer = Pacer(clock=clock)
        self._log = get_logger("payd.wechat")
        self.skew_seconds: float | None = None
        self._last_date = ""

    async def ask(
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
        self.report(request.operation, result, started, request_id=outcome.request_id)
        return result

    async def _conclude(self, request: WireRequest) -> Verified | Absent | Refused | Unclear:
        heard = await self.exchange(request)
        if isinstance(heard, Unclear):
            return heard
        answer, maybe_repeated = heard
        distrust = await self.distrust(answer, refresh=True)
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

    async def exchange(self, request: WireRequest) -> tuple[HttpAnswer, bool] | Unclear:
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
            return answer, maybe_seen
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

    async def distrust(self, answer: HttpAnswer, *, refresh: bool) -> str | None:
        """Verify an answer: None when its signature holds, else the word that says why not."""
        try:
            headers = read_signature_headers(answer.headers)
            check_timestamp(headers, now=self._clock.now().timestamp())
            key = self._trust.lookup(headers.serial)
            if key is None and refresh:
                await self.refresher.refresh_for_unknown(headers.serial)
                key = self._trust.lookup(headers.serial)
            if key is None:
                raise VerificationError("serial", "no trusted platform key has this serial")
            check_signature(headers, answer.body, key)
        except VerificationError as failure:
            return DISTRUST[failure.step]
        return None

    def _note_date(self, headers: Mapping[str, str]) -> None:
        """Compare clocks once for each second that WeChat names; nothing is concluded from it but a gauge."""
        date = headers.get("Date", "")
        if date == self._last_date:
            return
        self._last_date = date
        try:
            self.skew_seconds = (parsedate_to_datetime(date) - self._clock.now()).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return  # nothing to learn; the signed timestamp is what is checked

    def report(self, operation: Operation, result: object, started: float, *, request_id: str | None = None) -> None:
        """Log and count one call. ``started`` is the monotonic time at which it began."""
        seconds = self._clock.monotonic() - started
        if isinstance(result, Unclear | Refused):
            outcome = "refused" if isinstance(result, Refused) else "unknown"
            # Merchants with a public key have no certificates: to be told so is nothing to worry about.
            expected = operation is Operation.CERTIFICATES and result.status == 404
            tell = self._log.info if expected else self._log.warning
            tell(
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
