"""The OpenAPI document: valid, and in agreement with routes, models, problems and what the controllers answer."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import jsonschema_rs
import pytest
import schemathesis

from payd.errors import RequestError
from payd.web.bodies import parse_body
from payd.web.docs_page import docs_page
from payd.web.openapi import openapi_document
from payd.web.problems import CATALOGUE, problem_document
from payd.web.routes import ANY_KEY, BY_OPERATION, PUBLIC, ROUTES

DOCUMENT = openapi_document(ROUTES)
OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
COMPONENTS = {"components": DOCUMENT["components"]}
JSON = "application/json"


def validator(schema):
    """Make a validator of a schema of the document, references resolved."""
    return jsonschema_rs.Draft202012Validator({**schema, **COMPONENTS}, validate_formats=True)


def test_the_document_is_valid_openapi():
    """It passes the schema of OpenAPI 3.1, and every reference leads somewhere."""
    schemathesis.openapi.from_dict(DOCUMENT).validate()

    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))
    for reference in references:
        place = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    assert DOCUMENT["openapi"] == "3.1.0"


def test_every_schema_is_a_schema():
    """Each component is a valid JSON Schema and is used."""
    text = json.dumps(DOCUMENT)

    for name in DOCUMENT["components"]["schemas"]:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", **COMPONENTS})
        assert f'"#/components/schemas/{name}"' in text


def test_routes_and_document_agree_both_ways():
    """Every route is described, nothing else is."""
    described = {(operation_id, method.upper(), path) for operation_id, (path, method, _) in OPERATIONS.items()}

    assert described == {(route.operation_id, route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_an_operation_says_what_its_route_does(route):
    """Statuses, parameters, body, key and scope are the route's."""
    _, _, operation = OPERATIONS[route.operation_id]

    statuses = {str(status) for status in route.success} | {str(CATALOGUE[code].status) for code in route.problems}
    names = set(route.path_names) | set(route.query.model_fields if route.query else ())
    names |= {"Idempotency-Key"} if route.idempotent else set()
    assert set(operation["responses"]) == statuses | {"500"}
    assert {parameter["name"] for parameter in operation.get("parameters", ())} == names
    assert ("requestBody" in operation) == (route.body is not None)
    assert (operation["security"] == []) == (route.scope is PUBLIC)
    assert operation.get("x-payd-scope") == (route.scope if route.scope not in (PUBLIC, ANY_KEY) else None)
    assert operation["tags"]
    for response in operation["responses"].values():
        assert response["description"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_every_problem_of_a_route_stands_at_its_status(route):
    """The codes of a status are enumerated, with an example each, and the real document fits the schema."""
    responses = OPERATIONS[route.operation_id][2]["responses"]

    for code in route.problems:
        answer = responses[str(CATALOGUE[code].status)]
        if "application/problem+json" not in answer.get("content", {}):
            continue
        content = answer["content"]["application/problem+json"]
        check = validator(content["schema"])
        for language in ("en", "zh"):
            check.validate(problem_document(RequestError(code), request_id="r", language=language)[2])
        check.validate(content["examples"][code]["value"])
        assert not check.is_valid(problem_document(RequestError("internal_error"), request_id="r", language="en")[2])


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=lambda route: route.operation_id)
def test_the_examples_are_accepted(route):
    """An example of the document fits its schema and is taken by the parser."""
    schema = DOCUMENT["components"]["schemas"][route.body.__name__]

    assert schema["examples"]
    for example in schema["examples"]:
        validator(schema).validate(example)
        assert parse_body(json.dumps(example).encode(), JSON, route.body)


@pytest.mark.parametrize(
    "operation_id, change, valid",
    [
        ("create_payment", {}, True),
        ("create_payment", {"trade_type": None, "payer": None, "metadata": None}, True),
        ("create_payment", {"extra": 1}, False),
        ("create_payment", {"description": None}, False),
        ("create_payment", {"description": "two\nlines"}, False),
        ("create_payment", {"description": "😀"}, False),
        ("create_payment", {"amount": {"total": 0}}, False),
        ("create_payment", {"trade_type": "JSAPI"}, False),
        ("create_payment", {"trade_type": "JSAPI", "payer": {"openid": "o"}}, True),
        ("create_payment", {"payer": {"openid": "o"}}, False),
        ("create_payment", {"trade_type": "H5"}, False),
        ("create_payment", {"trade_type": "H5", "scene_info": {"payer_client_ip": "::1"}}, False),
        ("create_payment",
         {"trade_type": "H5", "scene_info": {"payer_client_ip": "::1", "h5_info": {"type": "Wap"}}}, True),
        ("create_payment", {"scene_info": {"payer_client_ip": "::1", "h5_info": {"type": "Wap"}}}, False),
        ("create_payment", {"scene_info": {"payer_client_ip": "here"}}, False),
        ("create_payment", {"expire_seconds": 59}, False),
        ("refund_payment", {"out_trade_no": "x"}, True),
        ("refund_payment", {}, False),
        ("refund_payment", {"out_trade_no": "x", "transaction_id": "y"}, False),
        ("refund_payment", {"transaction_id": "y", "out_trade_no": None}, True),
        ("refund_payment", {"transaction_id": "y", "out_refund_no": "a b"}, False),
    ],
)  # fmt: skip
def test_schema_and_parser_agree(operation_id, change, valid):
    """What the document allows the parser takes, what it forbids the parser refuses, two-member rules included."""
    base = {"create_payment": {"description": "Tea", "amount": {"total": 1}},
            "refund_payment": {"amount": {"refund": 1}}}  # fmt: skip
    data, model = base[operation_id] | change, BY_OPERATION[operation_id].body

    try:
        parse_body(json.dumps(data).encode(), JSON, model)
        taken = True
    except RequestError:
        taken = False

    assert taken is valid
    assert validator(DOCUMENT["components"]["schemas"][model.__name__]).is_valid(data) is valid


class Outside(HTMLParser):
    """Collects what a page would run or load, its ids and its inner links."""

    def __init__(self):
        super().__init__()
        self.loads, self.ids, self.links, self.tags = [], set(), set(), []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        if tag in ("script", "link", "img", "iframe", "object", "embed") or "src" in found:
            self.loads.append((tag, found))
        self.ids.add(found.get("id"))
        if (found.get("href") or "").startswith("#"):
            self.links.add(found["href"][1:])


def test_the_docs_page_needs_nothing_from_outside():
    """No script, no asset; every inner link has its target; every operation and every problem is on it."""
    page = Outside()
    page.feed(docs_page(DOCUMENT))

    assert page.loads == []
    assert page.links <= page.ids
    assert set(OPERATIONS) <= page.ids
    assert {f"problem-{code}" for code in CATALOGUE} <= page.ids


def test_the_docs_page_escapes_what_it_is_given():
    """Text of the document is text on the page."""
    hostile = json.loads(json.dumps(DOCUMENT).replace("Create an order", "<script>alert(1)</script>"))

    page = Outside()
    page.feed(docs_page(hostile))

    assert "script" not in page.tags
