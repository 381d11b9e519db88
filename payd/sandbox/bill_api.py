"""Applying for bills and downloading them (sections 9.1 and 9.2)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial

from payd.sandbox import bill_file
from payd.sandbox.clock import BEIJING, beijing
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.fields import Place
from payd.sandbox.refusals import refusal
from payd.sandbox.world import World

TOKEN_SECONDS = 300
GENERATED_AT_HOUR = 9  # Beijing time, next day
MONTHS_KEPT = 3


@dataclass(frozen=True, slots=True)
class _Download:
    """A file behind a token, as it goes over the wire."""

    content: bytes
    content_type: str
    expires_at: float


class BillApi:
    """Bills are made from the book when they are asked for, in a thread; tokens live in memory."""

    def __init__(self, world: World, *, base_url: str) -> None:
        self._world = world
        self._base_url = base_url
        self._downloads: dict[str, _Download] = {}

    async def trade_bill(self, call: Call) -> Answer:
        """GET /v3/bill/tradebill."""
        day = self._day(call)
        book = self._world.book
        payments = [book.orders[number] for number in book.paid_days.get(day.isoformat(), ())]
        refunds = [book.refunds[number] for number in book.refund_days.get(day.isoformat(), ())]
        make = partial(
            bill_file.trade_bill,
            call.query.get("bill_type", "ALL"),
            mchid=self._world.merchant.mchid,
            payments=payments,
            refunds=[(record, book.orders[record.out_trade_no]) for record in refunds],
            as_of=_generated_at(day),
        )
        return self._offer(call, await asyncio.get_running_loop().run_in_executor(None, make))

    async def fund_bill(self, call: Call) -> Answer:
        """GET /v3/bill/fundflowbill; only the basic account ever moves here."""
        day = self._day(call)
        if call.query.get("account_type", "BASIC") != "BASIC":
            raise refusal("no_statement")
        make = partial(
            bill_file.fund_bill,
            day.isoformat(),
            orders=list(self._world.book.orders.values()),
            refunds=list(self._world.book.refunds.values()),
        )
        return self._offer(call, await asyncio.get_running_loop().run_in_executor(None, make))

    def download(self, call: Call) -> Answer:
        """GET /v3/billdownload/file: the file itself, without signature headers (section 2.3)."""
        found = self._downloads.get(call.query["token"])
        if found is None or call.now >= found.expires_at:
            raise refusal("bill_token")
        return Answer(200, found.content, content_type=found.content_type, signed=False, with_request_id=False)

    def _day(self, call: Call) -> date:
        """The bill's day, after the date rules of section 9.1."""
        text = call.query["bill_date"]
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise Place("query", "/bill_date").wrong("值字段“账单日期”规则校验失败，日期不存在", text) from None
        today = beijing(call.now).date()
        if day >= today or day < _months_before(today, MONTHS_KEPT):
            raise refusal("bill_date_range")
        if call.now < _generated_at(day):
            raise refusal("statement_creating")
        return day

    def _offer(self, call: Call, plain: bytes | None) -> Answer:
        """Put a file behind a fresh token; the hash is that of the plain text, BOM included."""
        if plain is None:
            raise refusal("no_statement")
        zipped = call.query.get("tar_type") == "GZIP"
        self._downloads = {token: item for token, item in self._downloads.items() if item.expires_at > call.now}
        token = secrets.token_urlsafe(48)
        self._downloads[token] = _Download(
            gzip.compress(plain, mtime=0) if zipped else plain,
            "application/x-gzip" if zipped else "text/plain",
            call.now + TOKEN_SECONDS,
        )
        url = f"{self._base_url}/v3/billdownload/file?token={token}"
        return Answer.of(
            {
                "hash_type": "SHA1",
                "hash_value": hashlib.sha1(plain, usedforsecurity=False).hexdigest(),
                "download_url": f"{url}&tartype=gzip" if zipped else url,
            }
        )


def _generated_at(day: date) -> float:
    """When the bill of ``day`` is generated."""
    return datetime.combine(day + timedelta(days=1), time(GENERATED_AT_HOUR), BEIJING).timestamp()


def _months_before(day: date, months: int) -> date:
    """The same day of the month so many months earlier, or that month's last day."""
    month = day.year * 12 + day.month - 1 - months
    year, month = divmod(month, 12)
    for number in range(day.day, 0, -1):
        try:
            return date(year, month + 1, number)
        except ValueError:
            continue
    raise AssertionError("every month has a first day")
