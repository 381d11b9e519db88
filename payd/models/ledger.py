"""The ledger: double entry, in fen. The entries of one posting sum to zero."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Account(StrEnum):
    """The accounts. Positive is debit."""

    WECHAT_RECEIVABLE = "wechat_receivable"  #: what WeChat owes the merchant
    SALES = "sales"  #: what orders earned
    LATE_PAYMENTS = "late_payments"  #: money that came on FAILED or CLOSED orders, the merchant's duty to look at
    REFUNDS_RESERVED = "refunds_reserved"  #: promised to payers, not yet paid back
    WECHAT_FEES = "wechat_fees"  #: what WeChat keeps, known from the trade bill


class PostingKind(StrEnum):
    """Why money was booked."""

    PAYMENT_RECEIVED = "payment_received"
    LATE_PAYMENT_RECEIVED = "late_payment_received"
    REFUND_RESERVED = "refund_reserved"
    REFUND_SETTLED = "refund_settled"
    REFUND_RELEASED = "refund_released"
    FEE = "fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One side of a posting (table ``ledger_entries``, key ``(out_trade_no, posting_id, account)``).

    ``posting_id`` is made of the kind and the business number, so one thing can be booked only once.
    """

    posting_id: str
    kind: PostingKind
    account: Account
    amount_fen: int
    out_trade_no: str
    out_refund_no: str | None
    at: datetime
