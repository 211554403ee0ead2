"""A model that is asked: where it is, how it is sampled, what it costs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mwalimu.config.section import Section

Kind = Literal["local", "vllm", "openai_compatible", "anthropic", "azure", "fake"]


class TeacherConfig(Section):
    """`model` is a name of the registry, a folder, a hub id, a name at `base_url`, or `fake`."""

    model: str = Field(
        description="a name of the registry, a folder, a hub id, a name at base_url, or fake"
    )
    kind: Literal["auto", Kind] = Field(
        "auto", description="how it is asked; auto tells it by model and base_url"
    )
    route: str | None = Field(None, description="of the registry's model; its first if unset")
    base_url: str | None = Field(None, description="of a server, with its /v1")
    api_key_env: str | None = Field(
        None, pattern=r"^[A-Z_][A-Z0-9_]*$", description="the NAME of the variable with the key"
    )
    deployment: str | None = Field(None, description="Azure OpenAI: the deployment's name")
    api_version: str | None = Field(None, description="Azure: the API's version")
    auth: Literal["key", "entra"] = Field("key", description="Azure: a key or an Entra token")
    temperature: float = Field(
        0.0, ge=0, le=2, description="of its answers; 0 is the likeliest token each time"
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="of its answers: mass of the tokens that are drawn from"
    )
    max_tokens: int = Field(
        512, ge=1, description="of one answer; one that fills it counts as truncated"
    )
    stop: tuple[str, ...] = Field((), description="texts that end an answer")
    top_logprobs: int = Field(0, ge=0, le=20, description="alternatives a token to capture")
    extra_body: dict[str, Any] = Field({}, description="sent with every request, as it is")
    mode: Literal["online", "batch"] = Field("online", description="batch: half price, hours")
    concurrency: int = Field(
        16, ge=1, le=4096, description="requests in flight at once, of a served teacher"
    )
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
    max_retries: int = Field(6, ge=0, description="of one request, after what may pass")
    usd_per_million_input: float | None = Field(
        None, ge=0, description="price; the registry's if unset, unknown without one"
    )
    usd_per_million_output: float | None = Field(
        None, ge=0, description="price; the registry's if unset, unknown without one"
    )
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

    @property
    def remote(self) -> bool:
        """Whether questions leave this process. A server counts, wherever it is: what listens on
        this machine may pass them on.
        """
        return self.resolved_kind not in ("local", "vllm", "fake")
