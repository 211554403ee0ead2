"""A served teacher end to end, over a real server: log-probabilities, signals, a student."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from aiohttp import web

from mwalimu.config import Config, build_config
from mwalimu.data.examples import examples_of
from mwalimu.data.record import Message
from mwalimu.pipeline import Pipeline
from mwalimu.signals import Realised, SignalReader, TopK
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.scoring import Scored
from mwalimu.teachers.base import Request, Sampling
from tests.model_server import ModelServer
from tests.synthesis.capture.jobs import STUDENT, TEACHER, job, write_prompts

ROWS, TOP = 24, 8
END, KEY = "<|end|>", "secret-1"


class ScoringServer(ModelServer):
    """Reports log-probabilities, as OpenAI does, or with the end of the turn, as vLLM does."""

    def __init__(self, *, with_end: bool = False) -> None:
        super().__init__(Path(TEACHER), key=KEY)
        self.with_end = with_end
        self.spoilt: set[int] = set()

    async def chat(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        number, self.requests = self.requests, self.requests + 1
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        sampling = Sampling(0.0, 1.0, body["max_tokens"], body["seed"], body["top_logprobs"])
        async with self._one_at_a_time:
            (reply,) = await self.teacher.send([Request("teacher", messages, sampling)])
        answer = self.teacher.parse(reply.raw)
        content: list[dict[str, Any]] = [
            {
                "token": score.token,
                "logprob": score.logprob,
                "top_logprobs": [{"token": t, "logprob": v} for t, v in score.top],
            }
            for score in answer.logprobs or ()
        ]
        if self.with_end:
            content.append({"token": END, "logprob": -0.01, "top_logprobs": []})
        if number in self.spoilt:
            content[0]["token"] += "?"
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": answer.finish_reason,
            "logprobs": {"content": content},
        }
        usage = {"prompt_tokens": 1, "completion_tokens": answer.usage.completion_tokens}
        return web.json_response({"model": "teacher", "choices": [choice], "usage": usage})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", KEY)


@pytest.fixture
def server() -> Iterator[ScoringServer]:
    with ScoringServer() as found:
        yield found


def served_job(folder: Path, url: str, **finetune: Any) -> Config:
    write_prompts(folder, ROWS)
    raw = {
        "task": "generic",
        "data": {"train": "train.jsonl"},
        "teacher": {
            "model": "teacher",
            "base_url": url,
            "api_key_env": "SCORING_KEY",
            "top_logprobs": TOP,
            "tokenizer": TEACHER,
            "max_tokens": 64,
            "concurrency": 1,
        },
        "student": {"model": STUDENT, "method": "full", "max_length": 256},
        "finetune": {"epochs": 1} | finetune,
    }
    return build_config(raw, base=folder)


def test_its_log_probabilities_teach_a_student(tmp_path: Path, server: ScoringServer) -> None:
    server.spoilt = {3}
    pipeline = Pipeline(
        served_job(tmp_path, server.url), tmp_path / "run", store=tmp_path / "store"
    )
    pipeline.generate()
    pipeline.curate()
    asked = server.requests
    summary = pipeline.signals()
    assert server.requests == asked  # not one call more
    assert summary["topk_rows"] == ROWS - 1 and list(summary["left_out"].values()) == [1]
    (notes,) = pipeline.run.path("signals", "left_out").iterdir()
    assert "not those that the tokenizer makes" in json.loads(notes.read_bytes())[0][1]
    manifest = pipeline.run.path("signals", "topk", "train", "manifest.json")
    identity = json.loads(manifest.read_bytes())["identity"]
    assert identity["temperature"] == 1.0 and "temperature 1" in str(identity["source"])
    pipeline.finetune()
    lines = pipeline.run.path("finetune", "metrics.jsonl").read_bytes().splitlines()
    losses = [orjson.loads(line)["loss"] for line in lines if b'"loss"' in line]
    assert losses and np.isfinite(losses).all()


def test_they_are_what_the_scoring_pass_finds(tmp_path: Path, server: ScoringServer) -> None:
    """Of the tokens that the server names; the rest of the mass is in its tail."""
    objective = ["reverse_kl", "chunk_likelihood", "cross_entropy"]
    config = served_job(tmp_path, server.url, objective=objective)
    pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "store")
    pipeline.generate()
    pipeline.curate()
    summary = pipeline.signals()
    assert summary["topk_rows"] == summary["realised_rows"] == ROWS
    lines = pipeline.run.path("generate", "train.jsonl").read_bytes().splitlines()
    rows = [example for line in lines for example in examples_of(orjson.loads(line))]
    local = job(tmp_path, objective[:2], signals={"encoding": "topk", "k": 255, "top_p": 1.0})
    topk, realised = (
        SignalReader.open(pipeline.run.path("signals", name, "train"))
        for name in ("topk", "realised")
    )
    for example, expected in zip(rows, LocalScorer(local).score(rows), strict=True):
        assert isinstance(expected, Scored)
        check_topk(topk.row(example.key, expected.crc), expected.signals["topk"])
        found, true = realised.row(example.key), expected.signals["realised"]
        assert isinstance(found, Realised) and isinstance(true, Realised)
        assert found.logprobs == pytest.approx(true.logprobs[:-1], abs=1e-3)
        assert found.byte_lengths.tolist() == true.byte_lengths[:-1].tolist()


def check_topk(found: Any, true: Any) -> None:
    """Every entry is the teacher's; the end of the turn, which was not reported, is certain."""
    assert isinstance(found, TopK) and isinstance(true, TopK)
    places = np.repeat(np.arange(len(true.sizes)), true.sizes)
    known = dict(zip(zip(places, true.ids, strict=True), true.logprobs, strict=True))
    places = np.repeat(np.arange(len(found.sizes)), found.sizes)
    last = len(found.sizes) - 1
    for place, token, value in zip(places, found.ids, found.logprobs, strict=True):
        if place < last and value > -8:
            assert value == pytest.approx(known[place, token], abs=0.01)
    assert found.sizes[last] == 1 and found.logprobs[-1] == 0 and found.tail[last] == -np.inf
    mass = np.bincount(places, np.exp(found.logprobs)) + np.exp(found.tail)
    assert mass == pytest.approx(np.ones(last + 1), abs=1e-5)


def test_an_end_that_is_reported_is_used(tmp_path: Path) -> None:
    with ScoringServer(with_end=True) as server:
        config = served_job(tmp_path, server.url)
        pipeline = Pipeline(config, tmp_path / "run", store=tmp_path / "store")
        pipeline.generate()
        pipeline.curate()
        summary = pipeline.signals()
    assert summary["topk_rows"] == ROWS
    reader = SignalReader.open(pipeline.run.path("signals", "topk", "train"))
    line = pipeline.run.path("generate", "train.jsonl").read_bytes().splitlines()[0]
    (example,) = examples_of(orjson.loads(line))
    signal = reader.row(example.key)
    assert isinstance(signal, TopK) and signal.sizes[-1] == 1
    assert signal.logprobs[-1] == pytest.approx(-0.01, abs=0.003)
