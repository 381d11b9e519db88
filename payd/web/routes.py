"""The route table: every door of the program, as data (contract, section 1).

A route states the scope a key needs, or that any key will do, or that it is public: nothing is open by omission, and a
misspelt scope fails at import. Handlers are not named here; ``application.py`` maps ``operation_id`` to a method.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pydantic import BaseModel

from payd.config import SCOPES
from payd.web.body_models import CloseBody, CreateBody, RefundBody, ResolveBody
from payd.web.queries import (
    DeliveryListQuery,
    DiscrepancyListQuery,
    NotificationListQuery,
    OrderListQuery,
    OrderQuery,
    RefundListQuery,
    RefundQuery,
)


class Access(Enum):
    """The two doors that need no scope. Every other route names one of ``config.SCOPES``."""

    PUBLIC = "public"
    ANY_KEY = "any_key"


PUBLIC: Final = Access.PUBLIC
ANY_KEY: Final = Access.ANY_KEY


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a problem document. ``schema`` names a model of ``schemas.py``; None: no body, or text."""

    description: str
    schema: str | None = None
    media: str | None = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation. ``success`` holds every answer with a body of its own, by status; ``problems`` the rest, by code.

    ``query`` None: any query parameter is refused. ``idempotent``: takes an Idempotency-Key. ``checked``: whether an
    unknown query parameter is refused at all (probes and scrapers may append what they like).
    """

    method: str
    path: str
    scope: str | Access
    operation_id: str
    summary: str
    success: Mapping[int, Answer]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[str, ...] = ()
    idempotent: bool = False
    checked: bool = True
    path_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.scope, Access) and self.scope not in SCOPES:
            raise ValueError(f"{self.operation_id}: unknown scope {self.scope!r}")
        object.__setattr__(self, "path_names", tuple(re.findall(r"\{(\w+)\}", self.path)))


_READ: Final = ("invalid_request", "storage_unavailable", "draining")
_KEY: Final = ("missing_api_key", "invalid_api_key", "rate_limited", "api_key_not_configured")
_SCOPED: Final = (*_KEY, "scope_denied")
_BODY: Final = ("invalid_json", "body_too_large", "unsupported_media_type")
_COMMAND: Final = (*_READ, *_SCOPED, *_BODY)
_ASKED: Final = (*_READ, *_SCOPED)
_IDEMPOTENT: Final = ("idempotency_key_in_use", "idempotency_key_reused", "wechat_refused")
_TEXT: Final = "text/plain"

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path="/pay/create", scope="order_create", operation_id="create_payment",
        summary="Create an order and its payment at WeChat",
        body=CreateBody, idempotent=True, problems=(*_COMMAND, *_IDEMPOTENT, "out_trade_no_used"),
        success={
            201: Answer("Created: the order and what the payer's client needs", "CreateAnswer"),
            200: Answer("A repeat with the same content: the order, with fresh parameters while it can be paid",
                        "CreateAnswer"),
            202: Answer("WeChat did not answer clearly: PAYING, the reconciler settles it", "CreateAnswer"),
        },
    ),
    Route(
        method="GET", path="/pay/query", scope="order_query", operation_id="query_order",
        summary="Show an order, its payments and refunds", query=OrderQuery, problems=(*_ASKED, "order_not_found"),
        success={200: Answer("The order", "QueryAnswer")},
    ),
    Route(
        method="POST", path="/pay/close", scope="order_close", operation_id="close_order",
        summary="Close an unpaid order at WeChat", body=CloseBody,
        problems=(*_COMMAND, "order_not_found", "order_paid"),
        success={
            200: Answer("Closed, or it had ended unpaid before", "CloseAnswer"),
            202: Answer("WeChat did not answer clearly: the reconciler settles it", "CloseAnswer"),
        },
    ),
    Route(
        method="POST", path="/pay/refund", scope="refund", operation_id="refund_payment",
        summary="Refund all or part of a paid order", body=RefundBody, idempotent=True,
        problems=(
            *_COMMAND, *_IDEMPOTENT, "order_not_found", "out_refund_no_used", "order_not_paid",
            "refund_window_closed", "refund_exceeds_paid", "refund_limit_reached", "refund_too_soon",
        ),
        success={
            201: Answer("WeChat accepted the refund", "RefundAnswer"),
            200: Answer("A repeat: the refund as it stands", "RefundAnswer"),
            202: Answer("WeChat did not answer clearly, or the merchant's funds are short: the same number is tried on",
                        "RefundAnswer"),
        },
    ),
    Route(
        method="GET", path="/pay/refund/query", scope="refund_query", operation_id="query_refund",
        summary="Show one refund", query=RefundQuery, problems=(*_ASKED, "refund_not_found"),
        success={200: Answer("The refund", "RefundQueryAnswer")},
    ),
    Route(
        method="GET", path="/pay/orders", scope="order_query", operation_id="list_orders",
        summary="List orders, newest first", query=OrderListQuery, problems=_ASKED,
        success={200: Answer("A page of orders", "OrderList")},
    ),
    Route(
        method="GET", path="/pay/refunds", scope="refund_query", operation_id="list_refunds",
        summary="List refunds, newest first", query=RefundListQuery, problems=_ASKED,
        success={200: Answer("A page of refunds", "RefundList")},
    ),
    Route(
        method="GET", path="/pay/orders/{out_trade_no}/events", scope="order_query", operation_id="list_order_events",
        summary="Show an order's whole history, oldest first", problems=(*_ASKED, "order_not_found", "not_found"),
        success={200: Answer("The history", "EventList")},
    ),
    Route(
        method="GET", path="/pay/reconcile/summary", scope="order_query", operation_id="reconcile_summary",
        summary="Show open work: counts, oldest age, last run, open discrepancies", problems=_ASKED,
        success={200: Answer("What has not reached an end", "ReconcileSummary")},
    ),
    Route(
        method="GET", path="/pay/discrepancies", scope="order_query", operation_id="list_discrepancies",
        summary="List contradictions waiting for a person", query=DiscrepancyListQuery, problems=_ASKED,
        success={200: Answer("A page of discrepancies", "DiscrepancyList")},
    ),
    Route(
        method="POST", path="/pay/discrepancies/{id}/resolve", scope="discrepancy_resolve",
        operation_id="resolve_discrepancy", summary="Close a discrepancy with a note that goes into the journal",
        body=ResolveBody, problems=(*_COMMAND, "not_found"),
        success={200: Answer("The discrepancy, resolved", "DiscrepancyView")},
    ),
    Route(
        method="GET", path="/pay/notifications", scope="order_query", operation_id="list_notifications",
        summary="Inspect WeChat's callbacks, each with its verdict step by step", query=NotificationListQuery,
        problems=_ASKED, success={200: Answer("A page of callbacks", "NotificationList")},
    ),
    Route(
        method="GET", path="/pay/deliveries", scope="order_query", operation_id="list_deliveries",
        summary="List webhooks to the merchant and their attempts", query=DeliveryListQuery, problems=_ASKED,
        success={200: Answer("A page of deliveries", "DeliveryList")},
    ),
    Route(
        method="POST", path="/pay/deliveries/{id}/resend", scope="webhook_resend", operation_id="resend_delivery",
        summary="Send a webhook again under the same webhook-id", problems=(*_COMMAND, "not_found"),
        success={202: Answer("It is due, behind older ones about its order", "DeliveryView")},
    ),
    Route(
        method="POST", path="/pay/notify/wechat", scope=PUBLIC, operation_id="wechat_notify", checked=False,
        summary="WeChat's payment and refund notifications; open to the world, proven by their signature",
        success={
            204: Answer("Understood, and on disk", media=None),
            400: Answer("Not parsable or not decryptable", "NotifyFailure"),
            401: Answer("Not verified", "NotifyFailure"),
            413: Answer("Larger than any notification", "NotifyFailure"),
            500: Answer("payd's own fault: send it again", "NotifyFailure"),
            503: Answer("Storage trouble: send it again", "NotifyFailure"),
        },
    ),
    Route(
        method="GET", path="/pay/metrics/auth", scope=ANY_KEY, operation_id="auth_metrics",
        summary="Count refused calls", problems=("invalid_request", *_KEY),
        success={200: Answer("Four counters since the start", "AuthMetrics")},
    ),
    Route(
        method="GET", path="/pay/metrics/auth.prom", scope=ANY_KEY, operation_id="auth_metrics_text",
        summary="Count refused calls, for Prometheus", problems=_KEY,
        success={200: Answer("The same four counters", media=_TEXT)},
    ),
    Route(
        method="GET", path="/metrics", scope=PUBLIC, operation_id="metrics",
        summary="All metrics, for Prometheus", success={200: Answer("Prometheus or OpenMetrics text", media=_TEXT)},
    ),
    Route(
        method="GET", path="/healthz", scope=PUBLIC, operation_id="healthz",
        summary="Whether the loop turns", success={200: Answer("It does", "HealthAnswer")},
    ),
    Route(
        method="GET", path="/readyz", scope=PUBLIC, operation_id="readyz",
        summary="Whether payd can do work: database writable, keys loaded, not draining",
        success={200: Answer("It can", "ReadyAnswer"), 503: Answer("It cannot; says why", "ReadyAnswer")},
    ),
    Route(
        method="GET", path="/openapi.json", scope=PUBLIC, operation_id="openapi",
        summary="This document", success={200: Answer("OpenAPI 3.1", "OpenapiDocument")},
    ),
    Route(
        method="GET", path="/docs", scope=PUBLIC, operation_id="docs",
        summary="A readable page without outside assets", success={200: Answer("HTML", media="text/html")},
    ),
)  # fmt: skip

#: operation_id -> route
BY_OPERATION: Final[Mapping[str, Route]] = {route.operation_id: route for route in ROUTES}


def methods_of(path: str) -> tuple[str, ...]:
    """List the methods a path of the table knows, for the ``Allow`` header."""
    return tuple(route.method for route in ROUTES if route.path == path)
