"""A teacher on a server beside the student: its numbers are the local one's, and so is training."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mwalimu.choosing import check_scores, choose
from mwalimu.config import TeacherConfig, build_config, needed_signals
from mwalimu.data.collate import collate
from mwalimu.data.tokenize import Encoded
from mwalimu.errors import ConfigError, TeacherError, TeacherRefusesKey, TeacherUnreachable
from mwalimu.finetune.teacher.live import LiveTeacher
from mwalimu.finetune.teacher.rows import JobRows
from mwalimu.finetune.teacher.served import ServedTeacherScores
from mwalimu.finetune.teacher.view import Mixed, Needs
from mwalimu.finetune.teacher.white_box import WhiteBox
from mwalimu.finetune.teaching import Teaching, accumulate
from mwalimu.objectives.targets import SparseTarget
from mwalimu.teachers import prompt_scores
from tests.finetune import exact
from tests.finetune.jobs import metrics, settings, student, sums, weights
from tests.finetune.models import make_model
from tests.finetune.taught import CPU, ROWS, Pair, captured, config_of, make_pair
from tests.finetune.teacher.test_live import OWN_TEMPLATE, encode, prepared
from tests.score_server import ScoreServer
from tests.tiny import make_tokenizer

K = 6


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The teacher has a template of its own."""
    return make_pair(tmp_path_factory.mktemp("pair"), tokenizer=make_tokenizer(OWN_TEMPLATE))


@pytest.fixture(scope="module")
def shared(pair: Pair) -> Iterator[ScoreServer]:
    with ScoreServer(pair.teacher) as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_scores, "BACKOFF_S", 0.02)


def settings_of(pair: Pair, url: str, **more: Any) -> dict[str, Any]:
    known = {"model": "teacher", "base_url": url, "tokenizer": str(pair.teacher)}
    return known | {"scoring": "vllm", "kind": "openai_compatible"} | more


def served(pair: Pair, url: str, k: int = K, **more: Any) -> ServedTeacherScores:
    config = TeacherConfig.model_validate(settings_of(pair, url, **more))
    return ServedTeacherScores(config, k, CPU, JobRows.of(prepared(), ROWS))


@pytest.mark.parametrize("dialect", ["vllm", "sglang"])
def test_its_target_is_the_local_teachers(pair: Pair, shared: ScoreServer, dialect: str) -> None:
    """Behind its own prompt; the best tokens, the label, and the mass of all others."""
    rows = [encode(prepared(), row) for row in ROWS[:4]]
    own = [encode(prepared(OWN_TEMPLATE), row) for row in ROWS[:4]]
    source = served(pair, shared.url, scoring=dialect)
    target = source.look(collate(rows, pad_id=0, device=CPU)).target
    source.close()
    assert isinstance(target, SparseTarget) and target.logp_NK.dtype == torch.float32
    model = exact.load(pair.teacher)
    with torch.no_grad():
        logits_NV = torch.cat([exact.see(model, row).logits_nV for row in own]).double()
    logp_NV = logits_NV.log_softmax(1)
    labels_N = torch.cat([exact.labels_of(row) for row in rows])
    for at, label in enumerate(labels_N.tolist()):
        best = logp_NV[at].topk(K).indices.tolist()
        named = best if label in best else [*best, label]
        assert target.ids_NK[at, : len(named)].tolist() == named
        found = target.logp_NK[at, : len(named)].double()
        torch.testing.assert_close(found, logp_NV[at, named], rtol=0, atol=1e-5)
        assert torch.isneginf(target.logp_NK[at, len(named) :]).all()
        others = logp_NV[at].exp().sum() - logp_NV[at, named].exp().sum()
        torch.testing.assert_close(target.tail_N[at].double(), others.log(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd", "total_variation"])
def test_with_all_tokens_reported_the_loss_is_the_live_teachers(
    pair: Pair, shared: ScoreServer, kind: str
) -> None:
    shared.max_logprobs = 200
    rows = JobRows.of(prepared(), ROWS)
    parts = config_of(pair, kind).finetune.objective
    config = TeacherConfig.model_validate(settings_of(pair, shared.url))
    live = LiveTeacher(Needs.of(parts), str(pair.teacher), CPU, rows, autocast=False)
    gradients = []
    for source in (live, ServedTeacherScores(config, 107, CPU, rows)):
        model = make_model()
        model.resize_token_embeddings(len(rows.tokenizer))
        encoded = [encode(rows.tokenizer, row) for row in ROWS[:4]]
        batch = collate(encoded, pad_id=0, device=CPU)
        taken = accumulate(Teaching(model, parts, source), [batch])
        gradients.append([taken.loss, *(p.grad for p in model.parameters())])
        source.close()
    shared.max_logprobs = 20
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def train(
    folder: Path, pair: Pair, url: str, on_progress: Any = lambda *_: None, **more: Any
) -> None:
    from mwalimu.finetune.finetune import train_student

    objective = [{"kind": "reverse_kl"}, {"kind": "cross_entropy", "weight": 0.5}]
    on_policy = {"share": {"start": 0.2, "end": 1.0}, "max_tokens": 4}
    teacher = TeacherConfig.model_validate(settings_of(pair, url, **more))
    train_student(
        student(pair.student),
        settings(objective=objective, on_policy=on_policy, teacher="live", save_every=4),
        sums(32),
        sums(4, seed=1),
        folder,
        seed=3,
        stage_fingerprint="served",
        on_progress=on_progress,
        white_box=WhiteBox(served=teacher, k=K),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pair: Pair, shared: ScoreServer) -> Path:
    """An undisturbed training; it leaves no thread behind."""
    torch.set_num_threads(1)  # as in every test, before which this is made
    threads = set(threading.enumerate())
    folder = tmp_path_factory.mktemp("whole")
    train(folder, pair, shared.url)
    assert set(threading.enumerate()) <= threads
    return folder


def test_a_stopped_training_goes_on_to_the_same_bytes(
    tmp_path: Path, pair: Pair, shared: ScoreServer, whole: Path
) -> None:
    assert all("reverse_kl" in line["parts"] for line in metrics(whole) if "parts" in line)

    def stop(label: str, done: int, total: int, note: str) -> None:
        if done == 6 and "loss" in note:
            raise KeyboardInterrupt

    threads = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, pair, shared.url, on_progress=stop)
    assert set(threading.enumerate()) <= threads
    train(tmp_path, pair, shared.url)
    assert weights(tmp_path) == weights(whole)


def test_a_server_that_is_away_for_a_while_costs_time_alone(
    tmp_path: Path, pair: Pair, whole: Path
) -> None:
    first, second = ScoreServer(pair.teacher), ScoreServer(pair.teacher)
    first.__enter__()
    second.port = int(first.url.rpartition(":")[2].removesuffix("/v1"))
    back = threading.Timer(1.0, second.__enter__)
    gone = []

    def go_away(label: str, done: int, total: int, note: str) -> None:
        if done == 3 and "loss" in note and not gone:
            gone.append(time.monotonic())
            first.__exit__(None, None, None)
            back.start()

    train(tmp_path, pair, first.url, on_progress=go_away)
    second.__exit__(None, None, None)
    assert gone and second.bodies and weights(tmp_path) == weights(whole)


def test_one_that_stays_away_stops_the_training(tmp_path: Path, pair: Pair) -> None:
    with ScoreServer(pair.teacher) as server:

        def go_away(label: str, done: int, total: int, note: str) -> None:
            server.troubles.extend([500] * (10_000 if done == 3 else 0))

        with pytest.raises(TeacherUnreachable, match="run the same command again"):
            train(tmp_path, pair, server.url, on_progress=go_away, outage_s=0.2)


def test_an_answer_that_the_server_refuses_stops_it_too(pair: Pair, shared: ScoreServer) -> None:
    good = encode(prepared(), ROWS[0])
    long = Encoded.of([7] * 512, [False] * 500 + [True] * 12, row_id="17")
    source = served(pair, shared.url)
    with pytest.raises(TeacherError, match="row 17 of 512 tokens: HTTP 400: This model's maximum"):
        source.look(collate([good, long], pad_id=0, device=CPU))
    source.close()


# From the config.


def job(pair: Pair, url: str, objective: Any = "auto", **sections: Any) -> Any:
    teacher = settings_of(pair, url) | sections.pop("teacher", {})
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": teacher,
        "student": {"model": str(pair.student)},
        "finetune": {"objective": objective} | sections.pop("finetune", {}),
        **sections,
    }
    return build_config(raw, base=Path.cwd())


def test_a_server_that_scores_makes_live_and_on_policy_possible(pair: Pair) -> None:
    url = "http://localhost:9/v1"
    cached = choose(job(pair, url)).config
    assert [part.kind for part in cached.finetune.objective] == ["forward_kl", "cross_entropy"]
    assert needed_signals(cached) == ("topk",) and cached.signals.k == 20
    own = choose(job(pair, url, "jsd", finetune={"on_policy": {}}, signals={"k": 40})).config
    assert own.finetune.teacher == "cached" and own.signals.k == 40
    live = choose(job(pair, url, "reverse_kl", finetune={"teacher": "live"})).config
    assert live.finetune.teacher == "live" and needed_signals(live) == ()
    for config in (cached, own, live):
        assert choose(config).config == config


LIVE = {"teacher": "live"}


@pytest.mark.parametrize(
    ("objective", "sections", "reason"),
    [
        ("attention", {}, "attention needs the teacher's weights"),
        ("hidden", {}, "hidden needs the teacher's weights"),
        ("optimal_transport", {}, "optimal_transport needs the teacher's weights"),
        ("chunk_likelihood", {"finetune": LIVE}, "a live chunk_likelihood needs"),
        ({"kind": "jsd", "temperature": 2}, {}, "at temperature 1, and jsd asks for another"),
        ("jsd", {"finetune": LIVE, "teacher": {"scoring": "none"}}, "jsd needs more than text"),
        ("jsd", {"teacher": {"tokenizer": None}}, "known only with teacher.tokenizer"),
        ("jsd", {"teacher": {"kind": "azure"}}, "kind azure is no server of this sort"),
    ],
)
def test_what_a_server_cannot_do_is_refused(
    pair: Pair, objective: Any, sections: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError) as error:
        choose(job(pair, "http://localhost:9/v1", objective, **sections))
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_it_is_asked_before_anything_is_paid_for(pair: Pair, shared: ScoreServer) -> None:
    asked = len(shared.bodies)
    check_scores(choose(job(pair, shared.url)).config)
    assert len(shared.bodies) == asked + 2
    with ScoreServer(pair.teacher, key="another-key-of-it") as locked:
        with pytest.raises(TeacherRefusesKey):
            check_scores(choose(job(pair, locked.url)).config)
        check_scores(choose(job(pair, locked.url, teacher={"scoring": "none"})).config)
    config = choose(job(pair, shared.url, signals={"k": 50})).config
    with pytest.raises(TeacherError, match="--max-logprobs 50"):
        check_scores(config)


def test_what_stage_1_wrote_comes_from_the_cache_and_new_answers_from_the_server(
    tmp_path: Path, pair: Pair, shared: ScoreServer
) -> None:
    config = config_of(
        pair,
        "reverse_kl",
        teacher=settings_of(pair, shared.url),
        finetune={"on_policy": {}},
    )
    run = captured(tmp_path, config, ROWS)
    white_box = WhiteBox.of(config, run)
    assert white_box is not None
    source = white_box.source(
        config.finetune.objective, JobRows.of(prepared(), ROWS), CPU, autocast=False
    )
    assert isinstance(source, Mixed)
    rows = [encode(prepared(), row) for row in ROWS[:3]]
    views, asked = [], len(shared.bodies)
    for own in (False, True):
        batch = collate(rows, pad_id=0, device=CPU, on_policy=own)
        views.append(source.look(batch).target)
        assert len(shared.bodies) == asked + (3 if own else 0)
    source.close()
    cached, live = views
    assert isinstance(cached, SparseTarget) and isinstance(live, SparseTarget)
    for at in range(len(live.tail_N)):  # the cache is cut at top_p and rounded
        kept = int(torch.isfinite(cached.logp_NK[at]).sum())
        assert cached.ids_NK[at, :kept].tolist() == live.ids_NK[at, :kept].tolist()
        np.testing.assert_allclose(cached.logp_NK[at, :kept], live.logp_NK[at, :kept], atol=1e-3)
