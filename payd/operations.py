"""What a person may ask of the books from the command line, as plain functions over the daemon's parts.

One function serves both ways a command can run: inside the daemon, which owns the database (`operator_socket`), and in
the command's own process when no daemon runs. Arguments and results are plain JSON values.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from payd import limits
from payd.errors import Complaint, RequestError
from payd.plugin.discrepancies import resolve_discrepancy
from payd.web import views

if TYPE_CHECKING:
    from payd.daemon import Parts

Result = dict[str, Any]

#: Whose word a resolved discrepancy is, when it was resolved here and not through an API key.
BY: Final = "operator (command line)"


async def reconcile(parts: Parts) -> Result:
    """Do one run of the reconciler, now; ``due_now`` is what is still due after it."""
    report = await parts.reconciler.run_once()
    left = await parts.storage.open_work(parts.clock.now())
    return {
        "asked": report.asked,
        "settled": report.settled,
        "failed": report.failed,
        "due_now": left.due_now,
        "open_payments": left.open_payments,
        "open_refunds": left.open_refunds,
        "open_discrepancies": left.open_discrepancies,
        "pending_deliveries": left.pending_deliveries,
    }


async def discrepancy_resolve(parts: Parts, *, id: str, note: str) -> Result:
    """Close a discrepancy with a note. One that is resolved already keeps its first note."""
    note = note.strip()
    if not 0 < len(note) <= limits.NOTE_CHARS_MAX or not _is_text(note):
        raise _wrong("note", f"must have 1 to {limits.NOTE_CHARS_MAX} characters of Unicode text")
    found = await resolve_discrepancy(parts.storage, parts.clock, id, note=note, by=BY, request_id=None)
    if found is None:
        raise _wrong("id", f"there is no discrepancy {id}; payd discrepancy list shows them")
    return views.discrepancy_view(found)


async def webhook_resend(parts: Parts, *, id: str) -> Result:
    """Make a delivery due now. The daemon sends it at once; without one everything due is sent before this returns."""
    if await parts.storage.load_delivery(id) is None:
        raise _wrong("id", f"there is no delivery {id}; payd webhook list shows them")
    delivery = await parts.dispatcher.resend(id)
    if not parts.dispatch_soon:
        await parts.dispatcher.run_until_idle()
        delivery = await parts.storage.load_delivery(id) or delivery
    for soon in parts.dispatch_soon:
        soon()
    return views.delivery_view(delivery, ())


async def webhook_enable(parts: Parts, *, url: str) -> Result:
    """Forget that an endpoint said 410."""
    if url not in {endpoint.url for endpoint in parts.config.webhooks}:
        raise _wrong("url", f"{url} is not in the configuration")
    await parts.dispatcher.enable(url)
    return {"url": url, "enabled": True}


async def bill_fetch(parts: Parts, *, date: str) -> Result:
    """Fetch a Beijing day's bills and compare them; ``exit_code`` is what the command ends with."""
    report = await parts.bills.fetch(bill_date(date))
    return {**report.view(), "exit_code": report.exit_code}


def bill_date(text: str) -> datetime.date:
    """Read a day, ``2026-11-22``. Raises RequestError."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise _wrong("date", f"{text!r} is no day; write it as 2026-11-22") from None


def _is_text(value: str) -> bool:
    """Tell whether a text can be stored: bytes of the command line that are no UTF-8 arrive as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


def _wrong(field: str, issue: str) -> RequestError:
    return RequestError("invalid_request", complaints=[Complaint(field, issue)])


Operation = Callable[..., Awaitable[Result]]

#: Every operation, and the names of its arguments (all texts).
OPERATIONS: Final[Mapping[str, tuple[Operation, tuple[str, ...]]]] = {
    "reconcile": (reconcile, ()),
    "bill_fetch": (bill_fetch, ("date",)),
    "discrepancy_resolve": (discrepancy_resolve, ("id", "note")),
    "webhook_resend": (webhook_resend, ("id",)),
    "webhook_enable": (webhook_enable, ("url",)),
}


async def perform(parts: Parts, name: str, arguments: Mapping[str, object]) -> Result:
    """Carry out an operation by its name. Raises RequestError for a name or arguments there are not."""
    if name not in OPERATIONS:
        raise _wrong("operation", f"this payd knows no {name}")
    work, wanted = OPERATIONS[name]
    if set(arguments) != set(wanted) or not all(isinstance(value, str) for value in arguments.values()):
        raise _wrong("operation", f"{name} takes {', '.join(wanted) or 'nothing'}")
    return await work(parts, **arguments)
