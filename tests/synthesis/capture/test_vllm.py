"""The scoring pass in vLLM against the local one, over a stand-in; the real vLLM was not run here.

The stand-in has vLLM's names and says of a prompt what vLLM's documentation does: nothing of the
first token, and of each other one its own entry and the best ones.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mwalimu.errors import MissingDependency, TeacherError
from mwalimu.signals import Realised, TopK
from mwalimu.synthesis.capture.local import LocalScorer
from mwalimu.synthesis.capture.scorers import build_scorer
from mwalimu.synthesis.capture.scoring import Scored
from mwalimu.synthesis.capture.vllm import VllmScorer
from tests.synthesis.capture.jobs import examples, job

PADDING = 3  # columns of the logits that no token has


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    prompt_logprobs: int | None = None


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


class LLM:
    made: ClassVar[dict[str, Any]] = {}
    mode: ClassVar[str] = ""  # in place of the one that was asked for
    worth: ClassVar[float] = 0.0  # of the padding's columns and of nothing else

    def __init__(self, model: str, **options: Any) -> None:
        from transformers import AutoModelForCausalLM

        LLM.made = options
        self.model = AutoModelForCausalLM.from_pretrained(model).eval()
        mode = LLM.mode or options["logprobs_mode"]
        config = SimpleNamespace(max_model_len=256, logprobs_mode=mode)
        self.llm_engine = SimpleNamespace(model_config=config)

    def generate(
        self, prompts: list[dict[str, Any]], params: list[SamplingParams], *, use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm and all(one.max_tokens == 1 for one in params)
        pairs = zip(prompts, params, strict=True)
        return [
            SimpleNamespace(prompt_logprobs=self._score(prompt["prompt_token_ids"], one))
            for prompt, one in pairs
        ]

    def _score(self, ids: list[int], params: SamplingParams) -> list[dict[int, Logprob] | None]:
        assert len(ids) < 256 and params.prompt_logprobs is not None
        with torch.no_grad():
            logits_TV = self.model(input_ids=torch.tensor([ids])).logits[0, :-1]
        padding_TV = torch.full((len(ids) - 1, PADDING), LLM.worth)
        logp_TV = torch.cat([logits_TV, padding_TV], 1).log_softmax(1)
        places: list[dict[int, Logprob] | None] = [None]
        for token, logp_V in zip(ids[1:], logp_TV, strict=True):
            best = logp_V.topk(params.prompt_logprobs).indices.tolist()
            places.append({i: Logprob(float(logp_V[i])) for i in [token, *best]})
        return places


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vllm")
    module.LLM = LLM  # type: ignore[attr-defined]
    module.SamplingParams = SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "worth", -60.0)


def scorers(folder: Path, k: int = 6) -> tuple[VllmScorer, LocalScorer]:
    objective = ["reverse_kl", "chunk_likelihood"]
    signals = {"encoding": "topk", "k": k, "top_p": 0.99}
    ours = build_scorer(job(folder, objective, teacher={"kind": "vllm"}, signals=signals), folder)
    assert isinstance(ours, VllmScorer)
    return ours, LocalScorer(job(folder, objective, signals=signals))


def test_it_says_what_the_local_pass_says(tmp_path: Path) -> None:
    ours, local = scorers(tmp_path)
    rows = examples(8)
    for one, other in zip(ours.score(rows), local.score(rows), strict=True):
        assert isinstance(one, Scored) and isinstance(other, Scored)
        assert (one.key, one.crc) == (other.key, other.crc)
        mine, theirs = one.signals["topk"], other.signals["topk"]
        assert isinstance(mine, TopK) and isinstance(theirs, TopK)
        assert mine.ids.tolist() == theirs.ids.tolist()
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        visible = theirs.tail > math.log(1e-4)  # what is below is lost in 1 less the sum
        assert mine.tail[visible] == pytest.approx(theirs.tail[visible], abs=0.05)
        assert (mine.tail[~visible] < math.log(2e-4)).all()
        mine, theirs = one.signals["realised"], other.signals["realised"]
        assert isinstance(mine, Realised) and isinstance(theirs, Realised)
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        assert mine.byte_lengths.tolist() == theirs.byte_lengths.tolist()
    for name in ("topk", "realised"):
        assert ours.encoding(name) == local.encoding(name)
    assert ours.identity.kind == "vllm" and ours.identity.temperature == 1
    assert ours.identity.tokenizer == local.identity.tokenizer


def test_it_asks_for_raw_log_probabilities_and_enough_of_them(tmp_path: Path) -> None:
    scorers(tmp_path, k=33)
    wanted = {"logprobs_mode": "raw_logprobs", "max_logprobs": 33, "enable_prefix_caching": False}
    assert wanted.items() <= LLM.made.items()


def test_columns_of_no_token_are_in_the_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLM, "worth", 60.0)
    ours, _ = scorers(tmp_path)
    (result,) = ours.score(examples(1))
    assert isinstance(result, Scored)
    signal = result.signals["topk"]
    assert isinstance(signal, TopK) and signal.ids.max() < ours.vocabulary
    assert np.exp(signal.tail) == pytest.approx(np.ones(len(signal.tail)), abs=1e-6)


@pytest.mark.parametrize("mode", ["processed_logprobs", "raw_logits"])
def test_another_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(LLM, "mode", mode)
    with pytest.raises(TeacherError, match=f"gives {mode}"):
        scorers(tmp_path)


def test_an_older_vllm_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(model: str, *, dtype: str, trust_remote_code: bool, seed: int) -> None:
        raise AssertionError

    monkeypatch.setattr(sys.modules["vllm"], "LLM", older)
    with pytest.raises(TeacherError, match="does not know an option") as caught:
        scorers(tmp_path)
    assert "\n" not in str(caught.value)


def test_logits_in_place_of_log_probabilities_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = scorers(tmp_path)
    monkeypatch.setattr(torch.Tensor, "log_softmax", lambda self, _dim: self)
    with pytest.raises(TeacherError, match="raw_logprobs cannot be"):
        ours.score(examples(1))


def test_a_row_over_the_context_is_left_out(tmp_path: Path) -> None:
    ours, _ = scorers(tmp_path)
    (good,) = examples(1)
    long = replace(good, chat=[{"role": "user", "content": "lamp " * 300}, good.chat[-1]])
    results = ours.score([long, good])
    assert results[0] == "it is longer than the teacher's context"
    assert isinstance(results[1], Scored)


def test_without_vllm_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependency, match="pip install vllm"):
        scorers(tmp_path)
