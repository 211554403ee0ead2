"""The vLLM teacher against a stand-in; the real vLLM was not run here.

The stand-in has the classes that the teacher uses, with the signatures of vLLM's documentation
(`LLM`, `LLM.generate`, `SamplingParams`, `RequestOutput`, `CompletionOutput`, `Logprob`), over a
tiny model of transformers, one prompt at a time.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mwalimu.config import TeacherConfig
from mwalimu.data.record import Message
from mwalimu.errors import MissingDependency, UnknownTeacherModel
from mwalimu.teachers.base import Completion, Request, Sampling
from mwalimu.teachers.local import LocalTeacher
from mwalimu.teachers.vllm import VllmTeacher
from tests.tiny import make_tiny_model


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class LLM:
    """Ends are looked for as vLLM does: ids by themselves, stop strings in the text so far."""

    made: ClassVar[list[dict[str, Any]]] = []
    finish_reason: str | None = None  # in place of the true one

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int = 0,
        gpu_memory_utilization: float = 0.9,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.made.append({"trust_remote_code": trust_remote_code, "dtype": dtype})
        if not (Path(model) / "config.json").is_file():
            raise ValueError("no config.json\nin this folder")
        self.model = AutoModelForCausalLM.from_pretrained(model).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=512))
        self.params: list[SamplingParams] = []

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        lora_request: Any = None,
        priority: list[int] | None = None,
    ) -> list[Any]:
        assert not use_tqdm and sampling_params is not None
        self.params += sampling_params
        pairs = zip(prompts, sampling_params, strict=True)
        return [
            SimpleNamespace(outputs=[self._one(list(prompt["prompt_token_ids"]), params)])
            for prompt, params in pairs
        ]

    def _one(self, prompt: list[int], params: SamplingParams) -> CompletionOutput:
        ids: list[int] = []
        kept: list[dict[int, Logprob]] = []
        draws = torch.Generator().manual_seed(params.seed or 0)
        reason, stop_reason = "length", None
        for _ in range(params.max_tokens or 0):
            logits_V = self.next_logits(prompt + ids)
            ids.append(self._choose(logits_V, params, draws))
            kept.append(self._logprobs(logits_V, ids[-1], params.logprobs or 0))
            stop_reason = self._stop(ids, params)
            if stop_reason is not None or ids[-1] == self.tokenizer.eos_token_id:
                reason = "stop"
                break
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        logprobs = None if params.logprobs is None else kept
        reason = self.finish_reason or reason
        return CompletionOutput(0, text, ids, None, logprobs, reason, stop_reason)

    def next_logits(self, ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logits_V: torch.Tensor = self.model(input_ids=torch.tensor([ids])).logits[0, -1]
        return logits_V

    def _choose(self, logits_V: Any, params: SamplingParams, draws: torch.Generator) -> int:
        if params.temperature == 0:
            return int(logits_V.argmax())
        weights_V = (logits_V / params.temperature).softmax(-1)
        return int(torch.multinomial(weights_V, 1, generator=draws))

    def _logprobs(self, logits_V: Any, chosen: int, k: int) -> dict[int, Logprob]:
        values_V = logits_V.log_softmax(-1)
        ids = [chosen, *values_V.topk(k).indices.tolist()] if k else [chosen]
        return {i: Logprob(float(values_V[i]), None, None) for i in ids}

    def _stop(self, ids: list[int], params: SamplingParams) -> int | str | None:
        if ids[-1] in (params.stop_token_ids or []):
            return ids[-1]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return next((s for s in params.stop or [] if s in text), None)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vllm")
    module.LLM = LLM  # type: ignore[attr-defined]
    module.SamplingParams = SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", [])


def requests_of(sampling: Sampling, *, samples: int = 1) -> list[Request]:
    texts = ["hi", "a much longer question than the other one"]
    return [
        Request("teacher", (Message("user", text),), sampling, sample)
        for text in texts
        for sample in range(samples)
    ]


def ask(teacher: Any, requests: list[Request]) -> list[Completion]:
    async def go() -> list[Completion]:
        await teacher.check()
        return [teacher.parse(reply.raw) for reply in await teacher.send(requests)]

    return asyncio.run(go())


def both(folder: Path, sampling: Sampling) -> tuple[list[Completion], list[Completion]]:
    config = TeacherConfig(model=str(folder), kind="vllm")
    requests = requests_of(sampling)
    return ask(VllmTeacher(config), requests), ask(LocalTeacher(config), requests)


@pytest.mark.parametrize("tokens", [1, 12])
def test_greedy_answers_are_the_local_teachers(tmp_path: Path, tokens: int) -> None:
    ours, local = both(make_tiny_model(tmp_path), Sampling(max_tokens=tokens))
    assert ours == local and all(answer.text for answer in ours)
    assert LLM.made == [{"trust_remote_code": False, "dtype": "auto"}]


def test_log_probabilities_are_the_local_teachers(tmp_path: Path) -> None:
    ours, local = both(make_tiny_model(tmp_path), Sampling(max_tokens=9, top_logprobs=3))
    for one, other in zip(ours, local, strict=True):
        assert one.text == other.text
        assert one.logprobs is not None and other.logprobs is not None
        for a, b in zip(one.logprobs, other.logprobs, strict=True):
            assert a.token == b.token and a.logprob == pytest.approx(b.logprob, abs=2e-5)
            assert [text for text, _ in a.top] == [text for text, _ in b.top]
            assert [v for _, v in a.top] == pytest.approx([v for _, v in b.top], abs=2e-5)


def test_stop_strings_are_cut_as_by_the_local_teacher(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    free, _ = both(folder, Sampling(max_tokens=20))
    stop = (free[0].text[4:6], free[1].text[7:9])
    ours, local = both(folder, Sampling(max_tokens=20, stop=stop, top_logprobs=1))
    assert [(a.text, a.finish_reason, a.usage) for a in ours] == [
        (a.text, "stop", a.usage) for a in local
    ]
    lengths = [len(a.logprobs or ()) for a in ours]
    assert lengths == [len(a.logprobs or ()) for a in local]
    assert all(0 < n < a.usage.completion_tokens for n, a in zip(lengths, ours, strict=True))


def test_the_ending_token_is_counted_and_not_scored(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path)
    (free, _), _ = both(folder, Sampling(max_tokens=8, top_logprobs=1))
    assert free.logprobs is not None
    common = free.logprobs[4].token
    place = [score.token for score in free.logprobs].index(common)

    class Ending(LLM):
        """Ends where the free answer had some token."""

        def _choose(self, logits_V: Any, params: SamplingParams, draws: torch.Generator) -> int:
            token = super()._choose(logits_V, params, draws)
            wanted = self.tokenizer.convert_tokens_to_ids(common)
            return int(self.tokenizer.eos_token_id) if token == wanted else token

    sys.modules["vllm"].LLM = Ending  # type: ignore[attr-defined]
    (ended, _), _ = both(folder, Sampling(max_tokens=8, top_logprobs=1))
    assert ended.finish_reason == "stop" and ended.usage.completion_tokens == place + 1
    assert ended.logprobs == free.logprobs[:place]
    assert ended.text == free.text[: len(ended.text)]


def test_each_sample_has_its_own_seed(tmp_path: Path) -> None:
    teacher = VllmTeacher(TeacherConfig(model=str(make_tiny_model(tmp_path))))
    sampling = Sampling(temperature=1.0, top_p=0.9, max_tokens=10, seed=2**62)
    requests = requests_of(sampling, samples=3)
    answers = ask(teacher, requests)
    assert len({answer.text for answer in answers}) == 6
    params = teacher._llm.params
    assert len({p.seed for p in params}) == 6 and all(0 <= p.seed < 2**63 for p in params)
    assert all((p.temperature, p.top_p, p.logprobs, p.stop) == (1, 0.9, None, None) for p in params)
    assert ask(teacher, requests) == answers


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_another_finish_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(LLM, "finish_reason", reason)
    teacher = VllmTeacher(TeacherConfig(model=str(make_tiny_model(tmp_path))))
    for answer in ask(teacher, requests_of(Sampling(max_tokens=2))):
        assert answer.finish_reason == "error" and reason in answer.detail


def test_what_vllm_masked_is_no_alternative(tmp_path: Path) -> None:
    class Masking(LLM):
        def next_logits(self, ids: list[int]) -> torch.Tensor:
            logits_V = super().next_logits(ids)
            return torch.where(logits_V >= logits_V.topk(2).values[-1], logits_V, float("-inf"))

    sys.modules["vllm"].LLM = Masking  # type: ignore[attr-defined]
    teacher = VllmTeacher(TeacherConfig(model=str(make_tiny_model(tmp_path))))
    (answer, _) = ask(teacher, requests_of(Sampling(max_tokens=3, top_logprobs=5)))
    assert answer.logprobs is not None and all(len(s.top) == 2 for s in answer.logprobs)


def test_a_prompt_over_the_context_is_not_sent(tmp_path: Path) -> None:
    teacher = VllmTeacher(TeacherConfig(model=str(make_tiny_model(tmp_path))))
    long = Request("teacher", (Message("user", "x" * 600),), Sampling(max_tokens=2))
    bad, good = ask(teacher, [long, requests_of(long.sampling)[0]])
    assert bad.finish_reason == "error" and "leaves room for 510" in bad.detail
    assert good.finish_reason == "length"


def test_without_vllm_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependency, match="pip install vllm") as caught:
        ask(VllmTeacher(TeacherConfig(model=str(tmp_path))), [])
    assert "\n" not in str(caught.value)


def test_what_vllm_cannot_load_is_one_line(tmp_path: Path) -> None:
    (make_tiny_model(tmp_path) / "config.json").rename(tmp_path / "other.json")
    with pytest.raises(UnknownTeacherModel, match="cannot be loaded") as caught:
        ask(VllmTeacher(TeacherConfig(model=str(tmp_path))), [])
    assert "\n" not in str(caught.value)
