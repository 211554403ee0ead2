"""What the document allows, and much that it does not, gets an answer that the document names."""

import copy
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mwalimu.runtimes import load_decoder
from mwalimu.serving.app import create_app
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.opening import open_served
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.settings import Settings
from tests.serving.running import wait_until

EXAMPLES = 2000 if os.environ.get("MWALIMU_LONG") else 50
OPERATIONS = [
    ("/v1/chat/completions", "POST"),
    ("/v1/models", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
]
LEFT_OUT = {"tools", "response_format", "max_tokens", "max_completion_tokens"}
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
load_all_checks()


@pytest.fixture
def document(folder: Path) -> Iterator[Any]:
    """Of an application of its own: schemathesis ends it with the test."""
    served = open_served(folder, "tiny")
    engine = Engine(
        lambda: load_decoder(folder, slots=2),
        served.decoding,
        served.ends,
        queue=32,
        metrics=Metrics(),
    )
    engine.start()
    wait_until(lambda: engine.state == "serving")
    # The client of these tests calls itself `testserver`.
    given = Settings("tiny", max_tokens=8, loopback_only=False)
    app = create_app(engine, copy.deepcopy(served.encoding), given)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    engine.drain()
    assert engine.join(20) and not engine._running


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_one_of_those_that_the_document_names(
    document: Any, operation: tuple[str, str], mode: GenerationMode
) -> None:
    path, method = operation

    @given(case=document[path][method].as_strategy(generation_mode=mode))
    @BOUNDED
    def holds(case: schemathesis.Case) -> None:
        # A valid body may still be refused: the last turn is the assistant's, the schema is none.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    with suppress(Unsatisfiable):  # nothing about it can be wrong
        holds()


def test_an_answer_is_as_described(document: Any) -> None:
    """Random chats are seldom good ones; here the chat is, and the options are random."""
    statuses: Counter[int] = Counter()

    @given(case=document["/v1/chat/completions"]["POST"].as_strategy())
    @BOUNDED
    def holds(case: schemathesis.Case) -> None:
        kept = {key: value for key, value in case.body.items() if key not in LEFT_OUT}
        case.body = kept | {"messages": [{"role": "user", "content": "hello"}]}
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        statuses[response.status_code] += 1

    holds()
    assert statuses[200] > EXAMPLES / 4 and set(statuses) <= {200, 400}, statuses


def test_a_streamed_answer_is_as_described(document: Any) -> None:
    operation = document["/v1/chat/completions"]["POST"]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    response = operation.Case(body=body, media_type="application/json").call_and_validate()
    assert response.headers["content-type"][0].startswith("text/event-stream")


def test_no_operation_is_left_out(document: Any) -> None:
    found = {(one.ok().path, one.ok().method.upper()) for one in document.get_all_operations()}
    assert found == set(OPERATIONS)
