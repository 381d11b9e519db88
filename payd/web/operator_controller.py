"""OperatorController: what a person or the dashboard reads, and the two things they may do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from payd.errors import RequestError
from payd.ports import Position
from payd.web import queries, views
from payd.web.base_controller import BaseController
from payd.web.bodies import NoMembers, ResolveBody, parse_body


class OperatorController(BaseController):
    """Open work, contradictions, callbacks, deliveries."""

    async def reconcile_summary(self) -> None:
        """Show what has not reached an end yet, and how the last run went."""
        now = self.services.clock.now()
        work = await self.services.storage.open_work(now)
        oldest = [at for at in (work.oldest_payment_at, work.oldest_refund_at) if at is not None]
        self.answer_json(
            {
                "open_payments": work.open_payments,
                "open_refunds": work.open_refunds,
                "due_now": work.due_now,
                "oldest_open_at": views.timestamp(min(oldest)) if oldest else None,
                "open_discrepancies": work.open_discrepancies,
                **views.reconcile_view(self.services.reconcile_state()),
            }
        )

    async def list_discrepancies(self) -> None:
        """List contradictions, newest first."""
        status, page = queries.list_discrepancies(self.request.query)
        rows = await self.services.storage.list_discrepancies(status, limit=page.limit + 1, after=page.after)
        self._page("discrepancies", rows, page.limit, views.discrepancy_view, lambda row: (row.opened_at, row.id))

    async def resolve_discrepancy(self, id: str) -> None:
        """Close a contradiction with a note; the note goes into the journal of its order."""
        body = parse_body(self.request.body, self.request.headers.get("Content-Type"), ResolveBody)
        resolved = await self.services.resolve(id, body.note, f"key {self.key_id}", self.request_id)
        if resolved is None:
            raise RequestError("not_found", path=self.request.path)
        self.answer_json(views.discrepancy_view(resolved))

    async def list_notifications(self) -> None:
        """List inbound callbacks, newest first."""
        result, page = queries.list_notifications(self.request.query)
        word = result.value if result else None
        rows = await self.services.storage.list_notifications(word, limit=page.limit + 1, after=page.after)
        self._page("notifications", rows, page.limit, views.notification_view, lambda row: (row.received_at, row.id))

    async def list_deliveries(self) -> None:
        """List outbound webhooks with their attempts, newest first."""
        status, page = queries.list_deliveries(self.request.query)
        rows = await self.services.storage.list_deliveries(status, limit=page.limit + 1, after=page.after)
        self._page(
            "deliveries",
            rows,
            page.limit,
            lambda row: views.delivery_view(row[0], row[1]),
            lambda row: (row[0].created_at, row[0].id),
        )

    async def resend_delivery(self, id: str) -> None:
        """Send one webhook again, under the same webhook-id."""
        if self.request.body:  # none is needed; what is there must not say anything
            parse_body(self.request.body, self.request.headers.get("Content-Type"), NoMembers)
        attempts = await self.services.storage.load_attempts(id)  # before: once it is due, nothing may say 503
        delivery = await self.services.resend(id)
        self.answer_json(views.delivery_view(delivery, attempts), 202)

    def _page(
        self,
        name: str,
        rows: Sequence[Any],
        limit: int,
        view: Callable[[Any], Mapping[str, Any]],
        place: Callable[[Any], tuple[datetime, str]],
    ) -> None:
        """Answer one page; one row more than the page was asked for tells whether there is another."""
        cursor = queries.encode_cursor(Position(*place(rows[limit - 1]))) if len(rows) > limit else None
        self.answer_json({name: [view(row) for row in rows[:limit]], "next_cursor": cursor})
