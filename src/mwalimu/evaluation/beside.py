"""What is measured beside the answers, each where the config asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mwalimu.data.vocabulary import compare
from mwalimu.evaluation.asking import Arm, Asking
from mwalimu.evaluation.judge import Ask, judge
from mwalimu.evaluation.load_targets import local_ask, server_ask, under_load
from mwalimu.evaluation.memory import release_memory
from mwalimu.evaluation.metrics.similarity import Encoder, bert_score
from mwalimu.evaluation.reading import diverge
from mwalimu.evaluation.summary import TEACHER, Extras, Result


class Beside:
    """The last arm is the student; the teacher is the arm of that name."""

    def __init__(
        self, asking: Asking, arms: Sequence[Arm], results: Sequence[Result], ask: Ask | None
    ) -> None:
        self.asking = asking
        self.settings = asking.config.evaluate
        self.student, self.ours = arms[-1], results[-1]
        self.teacher = next((arm for arm in arms if arm.name == TEACHER), None)
        self.theirs = next((result for result in results if result.name == TEACHER), None)
        self.results = results
        self.ask = ask

    def measured(self) -> Extras:
        try:
            return Extras(self._divergence(), self._load(), self._judge(), self._similarity())
        finally:
            release_memory()

    def _divergence(self) -> dict[str, Any] | None:
        """Both read the teacher's answers: what it would write while the student drafts."""
        if not (self.settings.divergence and self.teacher and self.teacher.folder and self.theirs):
            return None
        teacher, student = self.asking.load(self.teacher), self.asking.load(self.student)
        texts = [row["prediction"] for row in self.theirs.rows]
        agree = compare(teacher.tokenizer, student.tokenizer, texts)
        if not agree.same:
            return {"tokens": 0, "reason": f"the tokenizers differ: {agree.reason}"}
        return diverge(teacher, student, self.asking.test, texts).to_json()

    def _load(self) -> list[dict[str, Any]] | None:
        settings = self.settings.load
        if settings is None:
            return None
        self.asking.on_progress("evaluate load", 0, 1, "")
        test = self.asking.test
        if settings.url:
            ask = server_ask(settings, test, max_tokens=self.settings.max_tokens)
        else:
            ask = local_ask(self.asking.load(self.student), test)
        return under_load(settings, ask, seed=self.asking.config.seed)

    def _judge(self) -> dict[str, Any] | None:
        if self.ask is None or self.theirs is None:
            return None
        config = self.asking.config
        return judge(
            self.ask,
            self.asking.test,
            [row["prediction"] for row in self.ours.rows],
            [row["prediction"] for row in self.theirs.rows],
            rubric=self.settings.rubric,
            draws=self.settings.bootstrap,
            seed=config.seed,
        )

    def _similarity(self) -> dict[str, float]:
        if not self.settings.encoder:
            return {}
        encoder = Encoder(Path(self.settings.encoder))
        return {result.name: _mean_similarity(encoder, result) for result in self.results}


def _mean_similarity(encoder: Encoder, result: Result) -> float:
    predictions = [row["prediction"] for row in result.rows]
    references = [row["reference"] for row in result.rows]
    return sum(bert_score(encoder, predictions, references)) / len(result.rows)
