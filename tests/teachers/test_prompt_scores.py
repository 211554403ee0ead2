"""Scores of given tokens from real servers: what they mean, what is refused, and who waits."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mwalimu.config import TeacherConfig
from mwalimu.errors import (
    MwalimuError,
    TeacherError,
    TeacherRefusesKey,
    TeacherUnreachable,
    UnknownTeacherModel,
)
from mwalimu.teachers import prompt_scores
from mwalimu.teachers.prompt_scores import Question, Scores, ServedScores
from tests.score_server import ScoreServer
from tests.teachers.raw_server import RawServer, Seen, http
from tests.teachers.test_http import closed_port
from tests.tiny import make_tiny_model

KEY = "sk-canary-0123456789"
DIALECTS = ("vllm", "sglang")
K = 5
PROBE = list(range(7, 47))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "teacher", seed=2, spread=0.25)


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[ScoreServer]:
    with ScoreServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setattr(prompt_scores, "BACKOFF_S", 0.02)


def config(url: str, **more: Any) -> TeacherConfig:
    known = {"model": "teacher", "base_url": url, "scoring": "vllm", "timeout_s": 10}
    return TeacherConfig.model_validate(known | more)


def score(
    url: str, questions: list[Question], *, k: int = K, vocabulary: int = 107, **more: Any
) -> list[Scores | str]:
    scores = ServedScores(config(url, **more), k, vocabulary, PROBE)
    try:
        return scores.score(questions)
    finally:
        scores.close()


def scored(url: str, ids: list[int], targets: int, **more: Any) -> Scores:
    (found,) = score(url, [Question(ids, targets)], **more)
    assert isinstance(found, Scores)
    return found


def reference(server: ScoreServer, ids: list[int], targets: int) -> np.ndarray:
    """Log-probabilities [n, V] in float64, from the logits alone."""
    logp_TV = server.logprobs(ids).double().numpy()[-targets:]
    return logp_TV - np.log(np.exp(logp_TV).sum(1, keepdims=True))


def failure(url: str, **more: Any) -> MwalimuError:
    with pytest.raises(TeacherError) as error:
        score(url, [], **more)
    line = str(error.value)
    assert "\n" not in line and error.value.where and error.value.fix and KEY not in line
    return error.value


@pytest.mark.parametrize("dialect", DIALECTS)
def test_scores_are_the_models_own(shared: ScoreServer, dialect: str) -> None:
    ids = [4, 17, 23, 5, 30, 31, 32, 60, 2]
    found = scored(shared.url, ids, 4, scoring=dialect)
    logp_nV = reference(shared, ids, 4)
    for at, label in enumerate(ids[-4:]):
        wanted = dict(enumerate(logp_nV[at].tolist()))
        best = sorted(wanted, key=lambda token: -wanted[token])[:K]
        named = best if label in best else [*best, label]
        size = int(np.isfinite(found.logp_nK[at]).sum())
        assert found.ids_nK[at, :size].tolist() == named and size == len(named)
        expected = [wanted[token] for token in named]
        np.testing.assert_allclose(found.logp_nK[at, :size], expected, atol=1e-5)
        others = math.fsum(math.exp(v) for token, v in wanted.items() if token not in named)
        assert found.tail_n[at] == pytest.approx(math.log(others), abs=1e-5)
        assert found.labels_n[at] == pytest.approx(wanted[label], abs=1e-5)
    total_n = np.exp(found.logp_nK).sum(1) + np.exp(found.tail_n)
    np.testing.assert_allclose(total_n, 1, atol=1e-12)
    assert not found.ids_nK[~np.isfinite(found.logp_nK)].any()


def test_a_label_may_be_in_or_out_of_the_best(shared: ScoreServer) -> None:
    prompt = [4, 17, 23, 5]
    order = reference(shared, [*prompt, 0], 1)[0].argsort()[::-1].tolist()
    for rank, size in ((0, K), (K - 1, K), (K, K + 1), (100, K + 1)):
        found = scored(shared.url, [*prompt, order[rank]], 1)
        assert np.isfinite(found.logp_nK).sum() == size
        assert order[rank] in found.ids_nK[0, :size]
        assert found.logp_nK[0, min(rank, K)] == pytest.approx(found.labels_n[0], abs=1e-6)


def test_ids_that_only_the_teacher_has_are_in_the_tail(shared: ScoreServer) -> None:
    ids = [4, 17, 23, 5, 30]
    logp_V = reference(shared, ids, 1)[0]
    beyond = int(logp_V.argmax())
    found = scored(shared.url, ids, 1, vocabulary=beyond)
    assert (found.ids_nK < beyond).all()
    assert math.exp(found.tail_n[0]) > math.exp(logp_V[beyond])


def test_all_tokens_reported_leave_no_tail(shared: ScoreServer) -> None:
    shared.max_logprobs = 200
    try:
        found = scored(shared.url, [4, 17, 23], 1, k=107)
    finally:
        shared.max_logprobs = 20
    assert found.tail_n.tolist() == [-math.inf]


def test_what_is_asked_leaves_the_models_scores_alone(shared: ScoreServer) -> None:
    del shared.bodies[:]
    scored(shared.url, [4, 5, 6], 2, extra_body={"temperature": 0.2}, temperature=0.7)
    body = shared.bodies[-1]
    assert body["prompt"] == [4, 5, 6] and body["prompt_logprobs"] == K
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (1, 1, -1, 0)
    scored(shared.url, [4, 5, 6, 7], 2, scoring="sglang")
    assert shared.bodies[-1]["logprob_start_len"] == 1


def test_addresses() -> None:
    for base in ("http://h/v1", "http://h/v1/", "http://h/v1/chat/completions"):
        vllm, sglang = (
            prompt_scores.score_wire(config(base, scoring=dialect)) for dialect in DIALECTS
        )
        assert str(vllm.url(config(base))) == "http://h/v1/completions"
        assert str(sglang.url(config(base))) == "http://h/generate"
    other = config("http://h/gate?v=1", scoring="sglang")
    assert str(prompt_scores.score_wire(other).url(other)) == "http://h/gate/generate?v=1"


def test_many_are_under_way_at_once_and_come_back_in_order(folder: Path) -> None:
    with ScoreServer(folder) as server:
        scores = ServedScores(config(server.url, concurrency=6), K, 107, PROBE)
        try:
            server.troubles.extend([0.2, 0.1, 0.15, 0.05, 0.1, 0.2] * 4)
            questions = [Question([4, 5, 10 + i, 20 + i], 2) for i in range(24)]
            found = scores.score(questions)
        finally:
            scores.close()
        assert server.most_in_flight == 6
        for question, one in zip(questions, found, strict=True):
            logp_nV = reference(server, list(question.ids), 2)
            labels = logp_nV[[0, 1], question.ids[2:]]
            assert isinstance(one, Scores)
            np.testing.assert_allclose(one.labels_n, labels, atol=1e-5)


# Trouble.


def test_an_overload_and_a_short_outage_are_waited_out(folder: Path) -> None:
    with ScoreServer(folder) as server:
        server.troubles.extend([503, 429, 500, 502])
        found = score(server.url, [Question([4, 5, 6], 1)] * 3)
    assert all(isinstance(one, Scores) for one in found) and len(server.bodies) == 4 + 2 + 3


def test_an_outage_that_lasts_ends_in_one_line(folder: Path) -> None:
    with ScoreServer(folder) as server:
        scores = ServedScores(config(server.url, outage_s=0.3), K, 107, PROBE)
        server.troubles.extend([500] * 1000)
        began = time.monotonic()
        with pytest.raises(TeacherUnreachable, match=r"no answer for 0 s \(HTTP 500\)"):
            scores.score([Question([4, 5, 6], 1)] * 3)
        assert 0.3 <= time.monotonic() - began < 5
        scores.close()
        scores.close()


def test_nobody_there() -> None:
    error = failure(f"http://127.0.0.1:{closed_port()}/v1")
    assert isinstance(error, TeacherUnreachable)


def test_a_wish_beyond_the_outage_is_not_slept_through(folder: Path) -> None:
    busy = http(429, {"error": {"message": "later"}}, {"Retry-After": "900"})
    with RawServer(lambda seen: busy if seen.method == "POST" else http(404)) as server:
        error = failure(server.url + "/v1")
    assert "asks to be left alone for 900 s" in str(error)


def test_a_key_is_sent_and_its_refusal_is_told(folder: Path) -> None:
    with ScoreServer(folder, key=KEY) as server:
        assert scored(server.url, [4, 5], 1, api_key_env="SOME_KEY")
        assert isinstance(failure(server.url), TeacherRefusesKey)


def test_a_model_that_is_not_there(folder: Path) -> None:
    with ScoreServer(folder) as server:
        error = failure(server.url, model="teachr")
        assert isinstance(error, UnknownTeacherModel) and "did you mean 'teacher'" in str(error)
        server.models = ()  # a server that lists nothing
        assert isinstance(failure(server.url, model="teachr"), UnknownTeacherModel)


def test_more_than_the_server_reports(shared: ScoreServer) -> None:
    line = str(failure(shared.url, k=32))
    assert "cannot score given tokens" in line and "greater than max allowed: 20" in line
    assert "--max-logprobs 32, set signals.k lower" in line


def test_a_row_that_the_server_refuses_costs_no_other(shared: ScoreServer) -> None:
    good = Question([4, 5, 6], 1)
    first, refused, last = score(shared.url, [good, Question([4] * 512, 3), good])
    assert isinstance(first, Scores) and isinstance(last, Scores)
    assert isinstance(refused, str) and "maximum context length" in refused


def of_vllm(scored: Any) -> dict[str, Any]:
    return {"choices": [{"text": "", "prompt_logprobs": scored}]}


def entry(logprob: Any) -> dict[str, Any]:
    return {"logprob": logprob, "rank": 1}


def of_sglang(own: Any, best: Any) -> dict[str, Any]:
    return {"meta_info": {"input_token_logprobs": own, "input_top_logprobs": best}}


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("vllm", {"choices": [{"text": "a"}]}, "reports no prompt_logprobs"),
    ("vllm", of_vllm(None), "reports no prompt_logprobs"),
    ("vllm", of_vllm([None]), "scored 1 tokens of 3"),
    ("vllm", of_vllm([None, None, None]), "cannot be read"),
    ("vllm", of_vllm([None, [], []]), "cannot be read"),
    ("vllm", of_vllm([None, {}, {}]), "says nothing of the token itself"),
    ("vllm", of_vllm([None, {"8": entry(0)}, {"8": entry(0)}]), "nothing of the token itself"),
    ("vllm", of_vllm([None, {"8": entry("0")}, {"9": entry(0)}]), "cannot be read"),
    ("vllm", of_vllm([None, {"8": entry(True)}, {"9": entry(0)}]), "cannot be read"),
    ("vllm", of_vllm([None, {"8": 0.0}, {"9": 0.0}]), "cannot be read"),
    ("vllm", of_vllm([None, {"eight": entry(0)}, {"9": entry(0)}]), "cannot be read"),
    ("vllm", of_vllm([None, {"8": entry(0), "-1": entry(-9)}, {"9": entry(0)}]), "no token id"),
    ("vllm", of_vllm([None, {"8": entry(3.5)}, {"9": entry(2)}]), "report logits"),
    ("vllm", of_vllm([None, {"8": entry(0)}, {"9": entry(0), "7": entry(-1)}]), "more than 1"),
    ("vllm", {"choices": []}, "cannot be read"),
    ("vllm", {"choices": [None]}, "cannot be read"),
    ("sglang", {"meta_info": {}}, "reports no input_top_logprobs"),
    ("sglang", of_sglang([], []), "scored 0 tokens of 2"),
    ("sglang", of_sglang([[-1, 7, None]] * 2, [None] * 2), "scored other tokens"),
    ("sglang", of_sglang([[-1, 8], [-1, 9]], [None, None]), "cannot be read"),
    ("sglang", of_sglang([[-1, 8], [-1, 9]], [[[-2, 1.5]], []]), "no token id"),
    ("sglang", of_sglang([[-1, "8"], [-1, 9]], [[], []]), "scored other tokens"),
    ("sglang", of_sglang(5, 5), "cannot be read"),
]


@pytest.mark.parametrize(("dialect", "answer", "reason"), HOSTILE)
def test_what_is_no_score_is_not_believed(
    dialect: str, answer: dict[str, Any], reason: str
) -> None:
    def script(seen: Seen) -> bytes:
        return http(body=answer) if seen.method == "POST" else http(404)

    with RawServer(script) as server, pytest.raises(TeacherError) as error:
        ServedScores(config(server.url + "/v1", scoring=dialect), K, 107, [7, 8, 9])
    assert f"cannot score given tokens: {error.value.what.partition(': ')[2]}" in str(error.value)
    assert reason in error.value.what and "\n" not in str(error.value)


def test_scores_that_change_are_another_requests(folder: Path) -> None:
    """As out of a prefix cache that kept no scores, or at the temperature of somebody's request."""

    class Stale(ScoreServer):
        def logprobs(self, ids: list[int]) -> Any:
            logp_TV = super().logprobs(ids)
            return logp_TV if len(self.bodies) < 2 else (4 * logp_TV).log_softmax(1)

    with Stale(folder) as server:
        assert "got other scores" in str(failure(server.url))


# The thread.


def test_ctrl_c_leaves_nothing_behind(folder: Path) -> None:
    with ScoreServer(folder) as server:
        threads = set(threading.enumerate())
        scores = ServedScores(config(server.url), K, 107, PROBE)
        server.troubles.append(30.0)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            scores.score([Question([4, 5, 6], 1)])
        scores.close()
        assert time.monotonic() - began < 5
        assert set(threading.enumerate()) <= threads  # one of a former test may have ended
