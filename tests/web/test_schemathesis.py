"""The running API under schemathesis: whatever is sent, the answer is one the document promises.

A short run with a fixed seed; ``scripts/fuzz-api`` runs for as long as one likes.
"""

from __future__ import annotations

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

from payd.web.openapi import openapi_document
from payd.web.routes import ROUTES
from tests.journeys.house import KEY
from tests.web.furnished import EXCLUDED_CHECKS

SEED = 20261123
SCHEMA = schemathesis.openapi.from_dict(openapi_document(ROUTES))
OPERATIONS = {result.ok().definition.raw["operationId"]: result.ok() for result in SCHEMA.get_all_operations()}
#: Each operation with good input; with bad input those that have a part that can be bad.
CASES = [
    (name, mode.value)
    for name, operation in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
]
SETTINGS = settings(
    max_examples=6,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def session():
    """One connection pool for all calls."""
    with requests.Session() as pool:
        yield pool


def test_every_operation_is_fuzzed():
    """The operations schemathesis reads out of the document are the routes."""
    assert set(OPERATIONS) == {route.operation_id for route in ROUTES}


@pytest.mark.parametrize("operation_id, mode", CASES)
def test_every_answer_is_a_documented_one(operation_id, mode, furnished, session):
    """Status, media type, headers and body of each answer are the document's; none is a server error."""
    sent = fuzz(OPERATIONS[operation_id], GenerationMode(mode), furnished, session)

    assert sent


def test_an_answer_the_document_does_not_promise_is_seen(furnished, session):
    """The fuzz can fail: without its 404 in the document, the look-up of an unknown refund is a finding."""
    document = openapi_document(ROUTES)
    del document["paths"]["/pay/refund/query"]["get"]["responses"]["404"]
    operation = schemathesis.openapi.from_dict(document)["/pay/refund/query"]["GET"]

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        fuzz(operation, GenerationMode.POSITIVE, furnished, session)


def fuzz(operation, mode, house, session):
    """Send one operation's generated calls and hold each answer to the document; how many were sent."""
    excluded = CHECKS.get_by_names(list(EXCLUDED_CHECKS))
    sent = 0

    @seed(SEED)
    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        nonlocal sent
        sent += 1
        case.call_and_validate(
            base_url=f"http://127.0.0.1:{house.port}",
            session=session,
            headers={"X-Api-Key": KEY},
            excluded_checks=excluded,
        )

    send()
    return sent
