"""The files of the rounds, in `buying/` of a run folder.

    basis.json         what the choices depend on, beside the answers and the student
    chosen/N.json      the ids that round N buys, before any of them is asked
    measured/N.json    what the student made of them, and what they cost, after its training
    train.jsonl        the prompts of all rounds so far, in the order of the pool
    decisions.jsonl    after each round, whether to go on, and why

A file is whole or absent, and a later round changes nothing of an earlier one: a run that was
killed anywhere goes on with the same choices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mwalimu.buying.decision import Decision
from mwalimu.buying.forecast import Point
from mwalimu.buying.ledger import Paid
from mwalimu.data.record import Record
from mwalimu.errors import RunError
from mwalimu.files import atomic_writer, write_json
from mwalimu.pipeline.inputs import BOUGHT
from mwalimu.run import Run, fingerprint
from mwalimu.synthesis.rows import to_line


@dataclass(frozen=True, slots=True)
class Book:
    run: Run

    def require_same(self, facts: dict[str, Any]) -> None:
        """What was chosen stays chosen, also when the training changes: it is paid for.

        Raises:
            RunError: the rounds here depend on other facts.
        """
        wanted, path = fingerprint(facts), self.run.path("buying", "basis.json")
        if not path.is_file():
            write_json(path, {"fingerprint": wanted})
        elif json.loads(path.read_bytes())["fingerprint"] != wanted:
            raise RunError(
                "the rounds here were chosen from other prompts, or with other settings of active",
                where=str(path.parent),
                fix="use a new --run; answers that were bought stay in the store",
            )

    def is_chosen(self, number: int) -> bool:
        return self.run.path("buying", "chosen", f"{number}.json").is_file()

    def is_measured(self, number: int) -> bool:
        return self.run.path("buying", "measured", f"{number}.json").is_file()

    def choose(self, number: int, ids: Sequence[str], *, cut: bool = False) -> None:
        path = self.run.path("buying", "chosen", f"{number}.json")
        write_json(path, {"ids": list(ids), "cut": cut})

    def ids(self, number: int) -> list[str]:
        """Of what this round chose."""
        return list(self._read("chosen", number)["ids"])

    def was_cut(self, number: int) -> bool:
        """Whether the budget ended within this round."""
        return bool(self._read("chosen", number)["cut"])

    def bought(self, rounds: int) -> set[str]:
        """The ids of the first so many rounds."""
        return {name for number in range(rounds) for name in self.ids(number)}

    def measure(self, number: int, point: Point, paid: Paid) -> None:
        path = self.run.path("buying", "measured", f"{number}.json")
        write_json(path, {"point": point._asdict(), "paid": paid._asdict()})

    def points(self, rounds: int) -> tuple[Point, ...]:
        found = [self._read("measured", number)["point"] for number in range(rounds)]
        return tuple(Point(**one | {"scores": tuple(one["scores"])}) for one in found)

    def measured(self) -> tuple[Point, ...]:
        """Of all rounds that are measured; none where nothing was bought in rounds."""
        rounds = 0
        while self.is_measured(rounds):
            rounds += 1
        return self.points(rounds)

    def paid(self, number: int) -> Paid:
        return Paid(**self._read("measured", number)["paid"])

    def write_prompts(self, rows: Iterable[Record]) -> None:
        self._write(BOUGHT[-1], (row.to_json() for row in rows))

    def write_decisions(self, decisions: Sequence[Decision]) -> None:
        self._write("decisions.jsonl", (one.to_json() for one in decisions))

    def _write(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        with atomic_writer(self.run.path("buying", name)) as output:
            output.writelines(map(to_line, rows))

    def _read(self, kind: str, number: int) -> dict[str, Any]:
        return dict(json.loads(self.run.path("buying", kind, f"{number}.json").read_bytes()))
