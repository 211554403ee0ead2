"""`mwalimu init`: a starter job that runs as it is, to be edited into one's own."""

from __future__ import annotations

import json
from pathlib import Path

from mwalimu.errors import ConfigError

_CONFIG = """\
# A mwalimu job. 'mwalimu run distill.yaml' goes the whole way; it resumes where it stopped.
task: generic   # nli, conversation, qa, math, summarization, classification, translation, generic
data:
  train: prompts.jsonl      # prompts without answers: the teacher answers them; with too few of
                            # them the teacher can write more, see docs/prompts.md
  # validation: validation.jsonl
  # test: test.jsonl        # held-out rows with gold answers, for the evaluation
  # labelled: labelled.jsonl  # the few gold rows you have: the baseline to beat
  # privacy: mask             # personal data and keys never leave for a served teacher
teacher:
  model: fake               # a name of 'mwalimu models' (gpt-4.1, ...), a folder, a hub id, or
  # base_url: http://localhost:8000/v1    # the name of a model at any OpenAI-compatible server
  temperature: 0.0
  max_tokens: 512
student:
  model: microsoft/Phi-4-mini-instruct
  method: lora              # lora | qlora | dora | rslora | full
finetune:
  learning_rate: 2.0e-5
  batch_size: 2
  epochs: 3
# prepare: {near_duplicates: 0.8}            # docs/preparation.md
# curate: {language: {expected: [en]}}       # docs/curation.md
# evaluate: {require: {retention: 0.95}}     # a gate, docs/evaluation.md
"""

_README = """\
# A distillation job

- `distill.yaml`: the job; every setting can be overridden with `--set key=value`.
- `prompts.jsonl`: replace the examples by prompts of your own, one JSON object a line.

    mwalimu generate distill.yaml   # stage 1: the teacher answers
    mwalimu run distill.yaml        # all stages
"""

_PROMPTS = (
    "Where is my order 4417? It was due on Monday.",
    "I was charged twice for the same lamp. What now?",
    "Can I return shoes that I wore once?",
    "How do I change the address of an order that is already packed?",
    "The voucher SPRING does not work on the page. Why?",
)


def write_starter(folder: Path) -> Path:
    """Raises ConfigError when the folder holds a job already."""
    config = folder / "distill.yaml"
    if config.exists():
        raise ConfigError("a job is here already", where=str(config), fix="name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"id": f"example-{i}", "prompt": p}) for i, p in enumerate(_PROMPTS, 1)]
    (folder / "prompts.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_README, encoding="utf-8")
    config.write_text(_CONFIG, encoding="utf-8")
    return config
