"""The route table: every door of the contract, each with its scope, none open by omission."""

from __future__ import annotations

import pytest

from payd.config import SCOPES
from payd.web import schemas
from payd.web.problems import CATALOGUE
from payd.web.routes import ANY_KEY, BY_OPERATION, PUBLIC, ROUTES, Answer, Route, methods_of

#: Contract, section 1: method, path, scope, statuses of success.
CONTRACT = [
    ("POST", "/pay/create", "order_create", {200, 201, 202}),
    ("GET", "/pay/query", "order_query", {200}),
    ("POST", "/pay/close", "order_close", {200, 202}),
    ("POST", "/pay/refund", "refund", {200, 201, 202}),
    ("GET", "/pay/refund/query", "refund_query", {200}),
    ("GET", "/pay/orders", "order_query", {200}),
    ("GET", "/pay/refunds", "refund_query", {200}),
    ("GET", "/pay/orders/{out_trade_no}/events", "order_query", {200}),
    ("GET", "/pay/reconcile/summary", "order_query", {200}),
    ("GET", "/pay/discrepancies", "order_query", {200}),
    ("POST", "/pay/discrepancies/{id}/resolve", "discrepancy_resolve", {200}),
    ("GET", "/pay/notifications", "order_query", {200}),
    ("GET", "/pay/deliveries", "order_query", {200}),
    ("POST", "/pay/deliveries/{id}/resend", "webhook_resend", {202}),
    ("POST", "/pay/notify/wechat", PUBLIC, {204}),
    ("GET", "/pay/metrics/auth", ANY_KEY, {200}),
    ("GET", "/pay/metrics/auth.prom", ANY_KEY, {200}),
    ("GET", "/metrics", PUBLIC, {200}),
    ("GET", "/healthz", PUBLIC, {200}),
    ("GET", "/readyz", PUBLIC, {200}),
    ("GET", "/openapi.json", PUBLIC, {200}),
    ("GET", "/docs", PUBLIC, {200}),
]


def test_the_table_is_the_contracts():
    """Every row of the contract, in its order, and no other door."""
    written = [(r.method, r.path, r.scope, {s for s in r.success if s < 300}) for r in ROUTES]

    assert written == CONTRACT


def test_operations_have_names_of_their_own():
    """An operation id names one route."""
    assert len(BY_OPERATION) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_every_scope_opens_something():
    """No scope of the configuration is without a door."""
    assert {route.scope for route in ROUTES if isinstance(route.scope, str)} == set(SCOPES)


def test_a_misspelt_scope_fails_at_import():
    """The table cannot even be built with it."""
    with pytest.raises(ValueError, match="order_qurey"):
        Route(method="GET", path="/x", scope="order_qurey", operation_id="x", summary="x", success={200: Answer("x")})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_a_route_names_only_what_exists(route):
    """Problems are in the catalogue, answers in the schemas, and a body means POST."""
    assert [code for code in route.problems if code not in CATALOGUE] == []
    assert [a.schema for a in route.success.values() if a.schema and not hasattr(schemas, a.schema)] == []
    assert len(set(route.problems)) == len(route.problems)
    assert route.body is None or route.method == "POST"
    if isinstance(route.scope, str):
        assert {"missing_api_key", "invalid_api_key", "scope_denied", "api_key_not_configured"} <= set(route.problems)


def test_the_methods_of_a_path_are_known():
    """For the Allow header of a 405."""
    assert methods_of("/pay/create") == ("POST",)
    assert methods_of("/nowhere") == ()
