"""Who tells what the teacher thought of a job's answers, and which of them has to be asked again.

| teacher | signals | from |
|---|---|---|
| local | all | what it kept while it generated; a scoring pass for the rest and for hidden states |
| vllm | topk, realised | a scoring pass |
| served | topk, realised | the log-probabilities that came with the answers |
| served, with `scoring` | topk, realised | a scoring pass of the server, for those without any |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mwalimu.config import Config, capture_temperature, needed_signals, teacher_layers
from mwalimu.errors import ConfigError
from mwalimu.garbage import importing
from mwalimu.synthesis.capture.scoring import Scorer

REPORTED = ("topk", "realised")
"""What can be made of log-probabilities of the best tokens."""


Build = Callable[[Config], Scorer]
"""How a scorer that has a model on this machine is made: here, or on other machines."""


def build_scorer(config: Config, store: Path, build: Build | None = None) -> Scorer:
    """`store` is the folder of the raw answers; `build` stands in for `model_scorer`.

    Raises:
        ConfigError: this teacher cannot give what the objective needs.
        TeacherError: it, or its tokenizer, cannot be loaded.
    """
    kind = config.teacher.resolved_kind
    build = build or model_scorer
    if kind == "local":
        return _local(config, store, build)
    if kind in ("fake", "anthropic"):
        raise ConfigError(
            f"a teacher of kind {kind} tells nothing but its answers",
            where="teacher.kind",
            fix="use another teacher, or the objective cross_entropy",
        )
    _check_reported(config)
    return build(config) if kind == "vllm" else _served(config, store)


def model_scorer(config: Config) -> Scorer:
    """A scoring pass of the teacher's own model, kind local or vllm."""
    if config.teacher.resolved_kind == "vllm":
        from mwalimu.synthesis.capture.vllm import VllmScorer

        return VllmScorer(config)
    with importing():
        from mwalimu.synthesis.capture.local import LocalScorer

    return LocalScorer(config, teacher_layers(config.finetune.objective, "hidden"))


def _served(config: Config, store: Path) -> Scorer:
    from mwalimu.synthesis.capture.served import ServedScorer
    from mwalimu.synthesis.capture.stored import StoredScorer, StoredThenServed

    if config.teacher.scoring == "none":
        return StoredScorer(config, store)
    scorer = ServedScorer(config)
    if not config.teacher.top_logprobs:
        return scorer
    return StoredThenServed(StoredScorer(config, store), scorer)


def _local(config: Config, store: Path, build: Build) -> Scorer:
    from mwalimu.synthesis.capture.stored import KeptScorer

    scorer = build(config)
    return scorer if "hidden" in needed_signals(config) else KeptScorer(config, store, scorer)


def _check_reported(config: Config) -> None:
    unable = [name for name in needed_signals(config) if name not in REPORTED]
    if unable:
        raise ConfigError(
            f"a teacher of kind {config.teacher.resolved_kind} gives no {unable[0]} signals",
            where="signals.encoding",
            fix="use topk, or a local teacher",
        )
    if capture_temperature(config) != 1:
        raise ConfigError(
            "log-probabilities of the best tokens are at temperature 1 and take no other",
            where="finetune.objective",
            fix="use temperature 1, or a local teacher",
        )
