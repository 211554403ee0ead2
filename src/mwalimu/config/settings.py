"""The sections of `distill.yaml`, typed, with their bounds. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from mwalimu.config.objective import SignalsConfig
from mwalimu.config.section import Section
from mwalimu.config.student import StudentConfig
from mwalimu.config.training import FinetuneConfig

Task = Literal["nli", "conversation", "qa", "math", "summarization", "classification", "generic"]
TASKS: tuple[str, ...] = get_args(Task)


class DataConfig(Section):
    """Files of rows; relative paths are taken from the folder of distill.yaml."""

    train: Path
    validation: Path | None = None
    test: Path | None = None
    labelled: Path | None = Field(
        None, description="the few gold rows you have; they train the baseline, never the student"
    )
    max_rows: int | None = Field(None, ge=1)


Kind = Literal["local", "vllm", "openai_compatible", "anthropic", "azure", "fake"]


class TeacherConfig(Section):
    """`model` is a name of the registry, a folder, a hub id, a name at `base_url`, or `fake`."""

    model: str
    kind: Literal["auto", Kind] = "auto"
    route: str | None = Field(None, description="of the registry's model; its first if unset")
    base_url: str | None = None
    api_key_env: str | None = Field(
        None, pattern=r"^[A-Z_][A-Z0-9_]*$", description="the NAME of the variable with the key"
    )
    deployment: str | None = Field(None, description="Azure OpenAI: the deployment's name")
    api_version: str | None = Field(None, description="Azure: the API's version")
    auth: Literal["key", "entra"] = Field("key", description="Azure: a key or an Entra token")
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    stop: tuple[str, ...] = ()
    top_logprobs: int = Field(0, ge=0, le=20, description="alternatives a token to capture")
    extra_body: dict[str, Any] = Field({}, description="sent with every request, as it is")
    mode: Literal["online", "batch"] = Field("online", description="batch: half price, hours")
    concurrency: int = Field(16, ge=1, le=4096)
    batch_size: int = Field(64, ge=1, description="rows at once, local teachers only")
    tokenizer: str | None = Field(
        None, description="folder or hub id of a served model's tokenizer, to use its log-probs"
    )
    scoring: Literal["none", "vllm", "sglang"] = Field(
        "none", description="how a server can be asked to score given tokens, where it can"
    )
    timeout_s: float = Field(600.0, gt=0, description="of a whole request")
    idle_s: float = Field(60.0, gt=0, description="between two pieces of an answer under way")
    outage_s: float = Field(300.0, gt=0, description="without any success before the run stops")
    max_retries: int = Field(6, ge=0)
    usd_per_million_input: float | None = Field(None, ge=0)
    usd_per_million_output: float | None = Field(None, ge=0)
    usd_per_million_cached: float | None = Field(None, ge=0, description="as input if unset")
    batch_factor: float | None = Field(
        None, gt=0, le=1, description="of these prices in a batch; the full price counts if unset"
    )
    identity: str | None = Field(
        None, description="the model's name in the answer store; from the registry if unset"
    )

    @model_validator(mode="after")
    def _url_fits_kind(self) -> TeacherConfig:
        if self.kind in ("openai_compatible", "azure") and not (self.base_url or self.route):
            raise ValueError(f"kind {self.kind} needs teacher.base_url")
        if self.kind in ("local", "vllm", "fake") and self.base_url:
            raise ValueError(f"teacher.base_url contradicts kind {self.kind}; drop one of them")
        return self

    def usd(
        self, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0
    ) -> float | None:
        """What these tokens cost at the configured prices; None where a price is unknown.

        `cached_tokens` are among `prompt_tokens`.
        """
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        cached = self.usd_per_million_cached
        cached = self.usd_per_million_input if cached is None else cached
        paid = (prompt_tokens - cached_tokens) * self.usd_per_million_input
        return (
            paid + cached_tokens * cached + completion_tokens * self.usd_per_million_output
        ) / 1e6

    @property
    def resolved_kind(self) -> Kind:
        if self.kind != "auto":
            return self.kind
        if self.base_url:
            return "openai_compatible"
        return "fake" if self.model == "fake" else "local"


class EnsembleConfig(Section):
    """Several teachers; `teacher` is the first of them, `others` follow in order."""

    strategy: Literal["vote", "judge", "best", "mix", "fallback", "route"]
    others: tuple[TeacherConfig, ...] = Field((), min_length=1)
    judge: TeacherConfig | None = None
    weights: tuple[float, ...] = Field((), description="of mix: shares, the first teacher first")
    draws: int = Field(2, ge=1, description="of route: answers of a cheap teacher to compare")
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="of route: mean token probability that needs no second opinion"
    )

    @model_validator(mode="after")
    def _complete(self) -> EnsembleConfig:
        if self.strategy == "judge" and self.judge is None:
            raise ValueError("strategy judge needs ensemble.judge")
        if self.weights and len(self.weights) != len(self.others) + 1:
            raise ValueError(f"weights has {len(self.weights)} shares for {len(self.others) + 1}")
        return self


class GenerateConfig(Section):
    min_ok: float = Field(1.0, ge=0, le=1, description="accepted share below this is a failure")
    deduplicate: bool = True
    samples: int = Field(1, ge=1, le=1000, description="answers a prompt")
    longer_once: float = Field(
        2.0, ge=1, description="a truncated answer is asked once more with so many times the tokens"
    )
    chain_of_thought: bool = False
    chain_of_density: bool = False
    max_summary_words: int = Field(80, ge=1, description="of a chain of density")
    rationale: Literal["keep", "drop", "mix"] = Field(
        "keep", description="reasoning: a field of its own, nowhere, or in the target"
    )
    json_schema: Path | None = Field(None, description="a file; every answer has to satisfy it")
    conversation: Literal["last", "relabel", "simulate"] = Field(
        "last", description="what the teacher writes: the last turn, every turn, a new conversation"
    )
    turns: int = Field(3, ge=1, description="of simulate: exchanges at most")
    user_model: TeacherConfig | None = Field(None, description="of simulate: who plays the user")


class BudgetConfig(Section):
    """Hard caps on the teacher's work for one run folder, over all its resumes."""

    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    requests: int | None = Field(None, ge=1)


class EvaluateConfig(Section):
    max_rows: int | None = Field(None, ge=1)
    max_tokens: int = Field(512, ge=1)
    batch_size: int = Field(64, ge=1)
    teacher: bool = Field(True, description="also ask the teacher the test rows")
    labelled_epochs: int | None = Field(
        None, ge=1, description="of the baseline on the gold rows; finetune.epochs if unset"
    )
    bootstrap: int = Field(2000, ge=100)


class Config(Section):
    task: Task
    seed: int = Field(0, ge=0)
    data: DataConfig
    teacher: TeacherConfig
    student: StudentConfig
    ensemble: EnsembleConfig | None = None
    generate: GenerateConfig = GenerateConfig()
    budget: BudgetConfig = BudgetConfig()
    signals: SignalsConfig = SignalsConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def teachers(self) -> list[TeacherConfig]:
        """All models that are asked in stage 1, the judge and the player of users among them."""
        ensemble = self.ensemble
        several = [*ensemble.others, ensemble.judge] if ensemble else []
        return [one for one in (self.teacher, *several, self.generate.user_model) if one]
