"""How prompts are made where there are none, or too few: the section `prompts` of distill.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from mwalimu.config.section import Section

Method = Literal["self_instruct", "evolve", "personas", "documents", "conversations"]
METHODS: tuple[str, ...] = get_args(Method)
_NEEDS = {
    "self_instruct": ("seeds", "topics"),
    "evolve": ("seeds",),
    "personas": ("personas",),
    "documents": ("documents",),
    "conversations": ("seeds", "topics", "personas"),
}
PROMPT_FILES = ("seeds", "documents", "personas", "template")


class PromptsConfig(Section):
    """The teacher writes prompts before it answers them, under the same budget and store."""

    method: Method = Field(description="how prompts are made: docs/prompts.md")
    rows: int = Field(ge=1, description="prompts to be made, at most")
    seeds: Path | None = Field(None, description="a file of prompts, as data.train would be")
    topics: tuple[str, ...] = Field((), description="what they are about")
    documents: Path | None = Field(None, description="a folder of .txt and .md files")
    personas: Path | None = Field(None, description='one a line, or {"persona": ...} a line')
    rounds: int = Field(40, ge=1, description="at most; of evolve: how often a prompt is rewritten")
    max_similarity: float = Field(
        0.7, ge=0, le=1, description="Jaccard similarity of words with an accepted prompt"
    )
    per_request: int = Field(5, ge=1, le=50, description="prompts that one request asks for")
    examples: int = Field(
        4, ge=1, le=50, description="prompts shown in a request, of self_instruct"
    )
    chunk_words: int = Field(200, ge=20, description="of a document shown at once")
    max_words: int = Field(300, ge=1, description="of a prompt; a longer one is a reject")
    system: str | None = Field(None, description="the system turn of prompts without a seed's")
    template: Path | None = Field(None, description="a YAML file with texts in place of ours")

    @model_validator(mode="after")
    def _has_a_source(self) -> PromptsConfig:
        wanted = _NEEDS[self.method]
        if not any(getattr(self, name) for name in wanted):
            raise ValueError(f"method {self.method} needs {' or '.join(wanted)}")
        return self
