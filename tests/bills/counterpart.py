"""WeChat's side of a bill run: files on disk, answers that a test plants, and queries answered from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from payd.models.bill import BillKind
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.states import PaymentEvent, RefundEvent
from payd.models.wechat import BillOffer, Refused, Unclear

from . import books, writer


@dataclass
class HandClock:
    """Time that moves only when a test says so. Begins at 10:31 Beijing time, the morning after the day."""

    at: datetime = datetime(2026, 11, 23, 2, 31, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def no_statement() -> Refused:
    """WeChat's word that nothing happened that day."""
    return Refused(status=400, code="NO_STATEMENT_EXIST", message="请求的账单文件不存在", request_id="r1")


def creating() -> Refused:
    """WeChat's word that the bill is being made."""
    return Refused(status=400, code="STATEMENT_CREATING", message="账单生成中", request_id="r1")


@dataclass
class Counterpart:
    """Stands for `ports.WechatPay` in bill runs. ``planted`` answers are used up one by one, before the files."""

    folder: Path
    planted: dict[BillKind, list[Refused | Unclear | str]] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)  # out_trade_no -> fen, as a query tells it
    refunded: dict[str, tuple[str, int]] = field(default_factory=dict)  # out_refund_no -> (order, fen)
    silent: bool = False  # queries get no clear answer
    applied: list[tuple[date, BillKind]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def serve(self, kind: BillKind, lines: Iterable[bytes], *, day: date = books.DAY) -> None:
        """Put a day's bill on disk."""
        (self.folder / f"{kind.value}-{day}").write_bytes(b"".join(lines))

    def serve_trade(self, rows: Iterable[Mapping[str, str]], *, day: date = books.DAY) -> None:
        """Put a day's trade bill on disk."""
        self.serve(BillKind.TRADE, writer.trade_lines(rows), day=day)

    async def apply_bill(self, bill_date: date, kind: BillKind) -> BillOffer | Refused | Unclear:
        self.applied.append((bill_date, kind))
        planted = self.planted.get(kind)
        if planted and not isinstance(planted[0], str):
            return planted.pop(0)  # type: ignore[return-value]
        path = self.folder / f"{kind.value}-{bill_date}"
        if not path.exists():
            return no_statement()
        digest = hashlib.sha1(path.read_bytes()).hexdigest()
        return BillOffer(download_url=str(path), hash_type="SHA1", hash_value=digest)

    async def download_bill(self, offer: BillOffer, target: Path) -> Unclear | None:
        for planted in self.planted.values():
            if planted and isinstance(planted[0], str):
                return Unclear(reason=planted.pop(0))  # type: ignore[arg-type]
        target.write_bytes(Path(offer.download_url).read_bytes())
        return None

    async def query_payment(self, out_trade_no: str) -> PaymentEvidence | Unclear:
        self.asked.append(out_trade_no)
        if self.silent:
            return Unclear(reason="timeout")
        fen = self.paid.get(out_trade_no)
        return PaymentEvidence(
            source=Source.QUERY, out_trade_no=out_trade_no, mchid=books.MCHID, appid=books.APPID,
            event=PaymentEvent.STILL_OPEN if fen is None else PaymentEvent.PAID,
            trade_state="NOTPAY" if fen is None else "SUCCESS",
            transaction_id=None if fen is None else books.transaction_of(out_trade_no), total_fen=fen,
            payer_total_fen=fen, currency="CNY", success_at=books.NOON,
        )  # fmt: skip

    async def query_refund(self, out_refund_no: str) -> RefundEvidence | Unclear:
        self.asked.append(out_refund_no)
        if self.silent:
            return Unclear(reason="timeout")
        number, fen = self.refunded[out_refund_no]
        return RefundEvidence(
            source=Source.QUERY, out_refund_no=out_refund_no, event=RefundEvent.SUCCEEDED, status_word="SUCCESS",
            mchid=books.MCHID, out_trade_no=number, transaction_id=books.transaction_of(number),
            refund_id=books.refund_id_of(out_refund_no), refund_fen=fen, currency="CNY", success_at=books.NOON,
        )  # fmt: skip
