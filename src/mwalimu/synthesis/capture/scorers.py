"""Who scores the answers of a job: the local teacher reads them again."""

from __future__ import annotations

from pathlib import Path

from mwalimu.config import Config
from mwalimu.errors import ConfigError
from mwalimu.synthesis.capture.capture import Scorer


def build_scorer(config: Config, store: Path) -> Scorer:
    """Raises ConfigError for a teacher that cannot be asked what it thinks of a text."""
    if config.teacher.resolved_kind == "local":
        from mwalimu.synthesis.capture.local import LocalScorer

        return LocalScorer(config)
    raise ConfigError(
        f"a teacher of kind {config.teacher.resolved_kind} cannot score its answers",
        where="teacher.kind",
        fix="use a local teacher, or the objective cross_entropy",
    )
