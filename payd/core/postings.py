"""What each money event books. Positive is debit; the entries of a posting sum to zero."""

from __future__ import annotations

from datetime import date, datetime

from payd.models.ledger import Account, LedgerEntry, PostingKind
from payd.models.order import Order
from payd.models.refund import Refund


def _posting(
    kind: PostingKind,
    *,
    number: str,
    debit: Account,
    credit: Account,
    fen: int,
    out_trade_no: str,
    out_refund_no: str | None,
    at: datetime,
) -> tuple[LedgerEntry, ...]:
    def entry(account: Account, amount_fen: int) -> LedgerEntry:
        return LedgerEntry(
            posting_id=f"{kind}:{number}",
            kind=kind,
            account=account,
            amount_fen=amount_fen,
            out_trade_no=out_trade_no,
            out_refund_no=out_refund_no,
            at=at,
        )

    return entry(debit, fen), entry(credit, -fen)


def payment_received(order: Order, at: datetime) -> tuple[LedgerEntry, ...]:
    """Book a payment: WeChat owes the merchant the order's total; late money is not yet a sale."""
    late = order.late
    return _posting(
        PostingKind.LATE_PAYMENT_RECEIVED if late else PostingKind.PAYMENT_RECEIVED,
        number=order.out_trade_no,
        debit=Account.WECHAT_RECEIVABLE,
        credit=Account.LATE_PAYMENTS if late else Account.SALES,
        fen=order.total_fen,
        out_trade_no=order.out_trade_no,
        out_refund_no=None,
        at=at,
    )


def _earned(order: Order) -> Account:
    return Account.LATE_PAYMENTS if order.late else Account.SALES


def refund_reserved(order: Order, refund: Refund, at: datetime) -> tuple[LedgerEntry, ...]:
    """Book a promise to the payer."""
    return _refund(PostingKind.REFUND_RESERVED, refund, _earned(order), Account.REFUNDS_RESERVED, at)


def refund_settled(refund: Refund, at: datetime) -> tuple[LedgerEntry, ...]:
    """Book that the promise was kept: WeChat owes the merchant less."""
    return _refund(PostingKind.REFUND_SETTLED, refund, Account.REFUNDS_RESERVED, Account.WECHAT_RECEIVABLE, at)


def refund_released(order: Order, refund: Refund, at: datetime) -> tuple[LedgerEntry, ...]:
    """Book that the promise fell away: the refund was refused or closed."""
    return _refund(PostingKind.REFUND_RELEASED, refund, Account.REFUNDS_RESERVED, _earned(order), at)


def _refund(
    kind: PostingKind, refund: Refund, debit: Account, credit: Account, at: datetime
) -> tuple[LedgerEntry, ...]:
    return _posting(
        kind,
        number=refund.out_refund_no,
        debit=debit,
        credit=credit,
        fen=refund.refund_fen,
        out_trade_no=refund.out_trade_no,
        out_refund_no=refund.out_refund_no,
        at=at,
    )


def fee_charged(
    *, out_trade_no: str, out_refund_no: str | None, bill_date: date, fee_fen: int, at: datetime
) -> tuple[LedgerEntry, ...]:
    """Book WeChat's fee as a bill row states it; negative when a refund gives it back. Zero books nothing.

    A refund may carry its order's number: its posting is told apart by the word ``refund``.
    """
    if fee_fen == 0:
        return ()
    return _posting(
        PostingKind.FEE,
        number=f"{f'refund:{out_refund_no}' if out_refund_no else out_trade_no}:{bill_date.isoformat()}",
        debit=Account.WECHAT_FEES,
        credit=Account.WECHAT_RECEIVABLE,
        fen=fee_fen,
        out_trade_no=out_trade_no,
        out_refund_no=out_refund_no,
        at=at,
    )
