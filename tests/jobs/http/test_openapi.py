"""Every operation of the document, with good and bad values, answers as the document says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from mwalimu.jobs.http.access import ROLES
from mwalimu.jobs.records import Role
from tests.figures import record
from tests.jobs.service import Running, running

LONG = bool(os.environ.get("MWALIMU_LONG"))
EXAMPLES = 100 if LONG else 6
OPERATIONS = sorted(ROLES, key=lambda one: (one[1], one[0]))
# Whether a token is asked for is tried elsewhere, without a token in every call.
LEFT_OUT = [positive_data_acceptance, ignored_auth, unsupported_method]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("documented")) as found:
        yield found


@pytest.fixture(scope="module")
def document(place: Running) -> Any:
    with place.client(Role.ADMIN) as admin:
        found = admin.get("/v1/openapi.json").json()
    return schemathesis.openapi.from_dict(found)


def test_the_document_names_every_operation(document: Any, place: Running) -> None:
    with place.client(Role.ADMIN) as admin:
        paths = admin.get("/v1/openapi.json").json()["paths"]
    named = {(method.upper(), path) for path, found in paths.items() for method in found}
    of_table = {(method, path.replace(":path", "")) for method, path in ROLES}
    assert named == of_table | {("GET", "/health")}
    assert not any("422" in one["responses"] for path in paths.values() for one in path.values())


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_answer_is_one_of_those_that_the_document_names(
    place: Running, document: Any, operation: tuple[str, str], mode: GenerationMode
) -> None:
    method, path = operation
    headers = {"Authorization": f"Bearer {place.tokens[Role.ADMIN]}"}
    strategy = document[path.replace(":path", "")][method].as_strategy(generation_mode=mode)

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: schemathesis.Case) -> None:
        mended = False
        if path == "/v1/events" and case.query and "follow" in case.query:
            case.query.pop("follow")  # it would not end; and it may be all that is bad
            mended = True
        answer = case.call(base_url=place.url, headers=headers, timeout=20)
        # That a body is too large is a refusal like any other; and what is bad may be a parameter
        # without a value, of which nothing is sent.
        sent = parse_qs(urlsplit(answer.request.url).query, keep_blank_values=True)
        mended = mended or bool(set(case.query or {}) - set(sent))
        either_way = mended or answer.status_code == 413
        excluded = [negative_data_rejection] if either_way else []
        case.validate_response(answer, excluded_checks=LEFT_OUT + excluded)

    with suppress(Unsatisfiable):  # nothing about it can be wrong
        holds()
    record("R18", "operations x good and bad requests", tried=1, note=f"{EXAMPLES} examples each")
