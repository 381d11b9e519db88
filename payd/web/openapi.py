"""OpenAPI 3.1, made from the route table, the models and the problem catalogue: it cannot say what they do not.

`openapi_document` is plain data; `docs_page` writes it as one HTML page without scripts or outside assets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from payd import __version__, limits
from payd.web import schemas
from payd.web.docs_page import docs_page
from payd.web.problems import CATALOGUE, CONTENT_TYPE, Problem, problem_type
from payd.web.routes import PUBLIC, Answer, Route

REF: Final = "#/components/schemas/{model}"
DESCRIPTION: Final = """\
A merchant's own payment daemon for WeChat Pay API v3. Money is an integer number of fen (1/100 yuan), times are
RFC 3339 in UTC, JSON is UTF-8. Unknown members are refused, members without a value are null. Refusals are
application/problem+json; their code never changes, title and detail follow Accept-Language (en, zh)."""

TAGS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("payments", "Take money", ("create_payment", "query_order", "close_order", "list_orders", "list_order_events")),
    ("refunds", "Give money back", ("refund_payment", "query_refund", "list_refunds")),
    ("operation", "Watch and mend", (
        "reconcile_summary", "list_discrepancies", "resolve_discrepancy", "list_notifications", "list_deliveries",
        "resend_delivery")),
    ("wechat", "Called by WeChat Pay", ("wechat_notify",)),
    ("service", "About the daemon", (
        "auth_metrics", "auth_metrics_text", "metrics", "healthz", "readyz", "openapi", "docs")),
)  # fmt: skip

PATH_PARAMETERS: Final[Mapping[str, str]] = {
    "out_trade_no": "the order's number",
    "id": "the id as the list shows it",
}
_NUMBER: Final = "$response.body#/out_trade_no"
#: What can be done next: operation -> (name, next operation, its parameters, its body).
LINKS: Final[Mapping[str, tuple[tuple[str, str, dict[str, str], dict[str, Any] | None], ...]]] = {
    "create_payment": (
        ("Query", "query_order", {"query.out_trade_no": _NUMBER}, None),
        ("History", "list_order_events", {"path.out_trade_no": _NUMBER}, None),
        ("Close", "close_order", {}, {"out_trade_no": _NUMBER}),
        ("Refund", "refund_payment", {}, {"out_trade_no": _NUMBER, "amount": {"refund": 1}}),
    ),
    "refund_payment": (
        ("Query", "query_refund", {"query.out_refund_no": "$response.body#/out_refund_no"}, None),
        ("Order", "query_order", {"query.out_trade_no": _NUMBER}, None),
    ),
    "list_orders": (("Query", "query_order", {"query.out_trade_no": "$response.body#/orders/0/out_trade_no"}, None),),
    "list_discrepancies": (
        ("Resolve", "resolve_discrepancy", {"path.id": "$response.body#/discrepancies/0/id"}, None),
    ),
    "list_deliveries": (("Resend", "resend_delivery", {"path.id": "$response.body#/deliveries/0/id"}, None),),
}
HEADERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "X-Request-Id": ("the caller's, if it is well-formed, else a new one", {"type": "string"}),
    "Retry-After": ("seconds to wait", {"type": "integer", "minimum": 1}),
    "Idempotency-Replayed": ("true: this is the first answer of this key again", {"const": "true"}),
    "WWW-Authenticate": ("how to authenticate", {"type": "string"}),
}


def openapi_document(routes: Iterable[Route]) -> dict[str, Any]:
    """Write the whole document as plain JSON values."""
    listed = tuple(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "payd", "version": __version__, "summary": "WeChat Pay for one merchant",
                 "description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        "tags": [{"name": name, "description": text} for name, text, _ in TAGS],
        "paths": paths,
        "components": {
            "schemas": _schemas(listed),
            "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()},
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }  # fmt: skip


def _operation(route: Route) -> dict[str, Any]:
    scoped = isinstance(route.scope, str)
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [name for name, _, members in TAGS if route.operation_id in members],
        "parameters": _parameters(route),
        "responses": _responses(route),
        "security": [] if route.scope is PUBLIC else [{"ApiKey": []}, {"Bearer": []}],
    }
    if scoped:
        operation["x-payd-scope"] = route.scope
        operation["description"] = f"Needs a key with the scope {route.scope}."
    if route.body is not None:
        schema = {"$ref": REF.format(model=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if not operation["parameters"]:
        del operation["parameters"]
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "description": PATH_PARAMETERS[name],
         "schema": {"type": "string", "minLength": 1, "maxLength": limits.LOOKUP_BYTES_MAX}}
        for name in route.path_names
    ]  # fmt: skip
    if route.query is not None:
        written = route.query.model_json_schema(mode="validation")
        for name, schema in written["properties"].items():
            parameters.append(_query_parameter(name, schema, written))
    if route.idempotent:
        pattern = rf"^[ !#-~][ -~]{{0,{limits.IDEMPOTENCY_KEY_CHARS_MAX - 1}}}$"
        parameters.append({
            "name": "Idempotency-Key", "in": "header", "required": False,
            "description": "1-255 printable ASCII characters, bare or quoted; the same key never makes a second one",
            "schema": {"type": "string", "pattern": pattern, "examples": ["7f1c2a"]},
        })  # fmt: skip
    return parameters


def _query_parameter(name: str, schema: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Write one query parameter; absent is said by leaving it out, so a query knows no null."""
    inner = dict(schema)
    description = inner.pop("description", None)
    inner.pop("title", None)
    options = [option for option in inner.pop("anyOf", []) if option != {"type": "null"}]
    if options:
        inner = {**options[0], **{key: value for key, value in inner.items() if value is not None}}
    reference = inner.pop("$ref", None)
    if reference is not None:
        inner |= written["$defs"][reference.rsplit("/", 1)[1]]
        inner.pop("title", None)
        inner.pop("description", None)
    if inner.get("default", 0) is None:
        del inner["default"]
    parameter = {"name": name, "in": "query", "required": name in written.get("required", ()), "schema": inner}
    return parameter | ({"description": description} if description else {})


def _responses(route: Route) -> dict[str, Any]:
    responses = {str(status): _answer(route, status, answer) for status, answer in route.success.items()}
    by_status: dict[int, list[Problem]] = {}
    for code in (*route.problems, "internal_error"):
        by_status.setdefault(CATALOGUE[code].status, []).append(CATALOGUE[code])
    for status, problems in sorted(by_status.items()):
        if str(status) not in responses:
            responses[str(status)] = _problem_answer(status, problems)
    return responses


def _answer(route: Route, status: int, answer: Answer) -> dict[str, Any]:
    names = ["X-Request-Id"] + (["Idempotency-Replayed"] if route.idempotent and status in (200, 201) else [])
    response: dict[str, Any] = {"description": answer.description, "headers": _headers(names)}
    if answer.schema is not None:
        response["content"] = {answer.media or "": {"schema": {"$ref": REF.format(model=answer.schema)}}}
    elif answer.media is not None:
        response["content"] = {answer.media: {"schema": {"type": "string"}}}
    links = LINKS.get(route.operation_id, ())
    if links:
        response["links"] = {name: _link(following, names, body) for name, following, names, body in links}
    return response


def _link(operation_id: str, parameters: dict[str, str], body: dict[str, Any] | None) -> dict[str, Any]:
    link: dict[str, Any] = {"operationId": operation_id}
    if parameters:
        link["parameters"] = parameters
    if body is not None:
        link["requestBody"] = body
    return link


def _problem_answer(status: int, problems: list[Problem]) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if any(problem.retry_after is not None for problem in problems):
        names.append("Retry-After")
    if status == 401:
        names.append("WWW-Authenticate")
    schema = {"allOf": [
        {"$ref": REF.format(model="ProblemDocument")},
        {"properties": {"code": {"enum": [problem.code for problem in problems]}, "status": {"const": status}}},
    ]}  # fmt: skip
    return {
        "description": "; ".join(f"`{problem.code}`: {problem.en.title}" for problem in problems),
        "headers": _headers(names),
        "content": {CONTENT_TYPE: {"schema": schema, "examples": {p.code: {"value": _example(p)} for p in problems}}},
    }


def _example(problem: Problem) -> dict[str, Any]:
    detail = problem.en.title if problem.params else problem.en.detail
    return {
        "type": problem_type(problem.code), "title": problem.en.title, "status": problem.status, "detail": detail,
        "code": problem.code, "retryable": problem.retryable, "request_id": "4c1f0b7a9d3e5f6a7b8c9d0e", "errors": [],
    }  # fmt: skip


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    """Write every model that a route names, with those it is made of: bodies as read, answers as written."""
    bodies: dict[type[BaseModel], None] = {}
    answers: dict[type[BaseModel], None] = {schemas.ProblemDocument: None}
    for route in routes:
        if route.body is not None:
            bodies[route.body] = None
        for answer in route.success.values():
            if answer.schema is not None:
                answers[getattr(schemas, answer.schema)] = None
    written: dict[str, Any] = {}
    for models, mode in ((bodies, "validation"), (answers, "serialization")):
        pairs: Any = [(model, mode) for model in models]
        made = models_json_schema(pairs, ref_template=REF)[1].get("$defs", {})
        assert not made.keys() & written.keys(), "a body and an answer never share a name"
        written |= made
    return {name: _untitled(written[name]) for name in sorted(written)}


def _untitled(schema: Any) -> Any:
    """Drop the titles pydantic makes out of member names: they say nothing new."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key == "examples" else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


__all__ = ["docs_page", "openapi_document"]
