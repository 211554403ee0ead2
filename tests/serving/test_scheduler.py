"""Who is read in when, as the decoder sees it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.runtimes import load_decoder
from mwalimu.serving.generation import Event, Finished, Job
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.opening import open_served
from mwalimu.serving.scheduler import Engine
from tests.serving.running import Slow, wait_until


class Watched(Slow):
    """Writes down what is called, a letter each: p(refill) and s(tep)."""

    calls = ""

    def prefill(self, slot: int, ids: Any) -> Any:
        self.calls += "p"
        return super().prefill(slot, ids)

    def step(self, tokens: Any) -> Any:
        self.calls += "s"
        return super().step(tokens)


def job(notify: Callable[[Event], None] = lambda event: None, **options: Any) -> Job:
    given: dict[str, Any] = {"temperature": 0, "max_tokens": 30, "deadline": time.monotonic() + 60}
    return Job(ids=[3, 4, 5], notify=notify, **given | options)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_stream_waits_for_one_prompt_at_a_time(folder: Path, streamed: bool) -> None:
    decoder = Watched(load_decoder(folder, slots=4), 0.02)
    served = open_served(folder, "tiny")
    engine = Engine(lambda: decoder, served.decoding, (), queue=8, metrics=Metrics())
    engine.start()
    wait_until(lambda: engine.state == "serving")
    engine.submit([job(streamed=streamed)])
    wait_until(lambda: "s" in decoder.calls)
    engine.submit([job() for _ in range(3)])
    engine.drain()
    assert engine.join(30)
    assert decoder.calls.count("p") == 4
    assert ("pp" in decoder.calls) != streamed, "unless somebody reads along, all at once"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_answer_does_not_depend_on_whether_it_is_scored(
    folder: Path, temperature: float
) -> None:
    decoder = load_decoder(folder, slots=2)
    served = open_served(folder, "tiny")
    engine = Engine(lambda: decoder, served.decoding, (), queue=8, metrics=Metrics())
    engine.start()
    wait_until(lambda: engine.state == "serving")
    found: dict[bool, list[Event]] = {True: [], False: []}
    for scored, events in found.items():
        for streamed in (True, False):
            engine.submit(
                [job(events.append, scored=scored, streamed=streamed, temperature=temperature)]
            )
    engine.drain()
    assert engine.join(30)
    ended = {
        scored: [one.completion for one in events if isinstance(one, Finished)]
        for scored, events in found.items()
    }
    assert len({(tuple(one.ids), one.text) for one in ended[True] + ended[False]}) == 1
    assert [len(one.token_log_probs) for one in ended[True]] == [30, 30]
    assert [len(one.token_log_probs) for one in ended[False]] == [0, 0]
