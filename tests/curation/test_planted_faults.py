"""1,000 planted faults and 10,000 clean rows: what is found, what is missed, what is wronged."""

from collections import Counter
from pathlib import Path

import pytest

from mwalimu.config import CHECKS, Config, build_config
from mwalimu.curation.passes import survivors
from mwalimu.curation.plan import build_passes
from mwalimu.curation.row import Row
from mwalimu.curation.verdict import Verdict
from tests.curation.planted import FAULTS, LABELS, clean_cases, planted_cases
from tests.figures import record

INEXACT = {"cut text": 0.05, "another language": 0.95}
"""Kinds that no rule can decide, and the least share that has to be found."""

ALONE = [name for name in CHECKS if name not in ("length", "schema", "consistency", "judge")]


def config(tmp_path: Path, **sections: object) -> Config:
    raw = {
        "task": "generic",
        "data": {"train": "x"},
        "teacher": {"model": "fake"},
        "student": {"model": "x"},
        "curate": {"checks": ALONE, "label": {"known": LABELS}} | sections,
    }
    return build_config(raw, base=tmp_path)


def found(job: Config, rows: list[Row]) -> dict[str, tuple[str, Verdict]]:
    """The rejects by id, each with the check that named it."""
    rejects: dict[str, tuple[str, Verdict]] = {}

    def rejected(name: str, row: Row, verdict: Verdict) -> None:
        rejects[row.id] = (name, verdict)

    kept = {row.id for row in survivors(rows, build_passes(job, (), None), rejected)}
    assert len(kept) + len(rejects) == len(rows)
    return rejects


def test_every_exact_fault_is_found_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = list(planted_cases(1000, seed=3))
    rejects = found(config(tmp_path), [case.row(str(i)) for i, (_, case) in enumerate(cases)])
    planted = Counter(kind for kind, _ in cases)
    named = Counter(
        kind
        for i, (kind, _) in enumerate(cases)
        if str(i) in rejects and rejects[str(i)][0] == FAULTS[kind][2]
    )
    caught = Counter(kind for i, (kind, _) in enumerate(cases) if str(i) in rejects)
    with capsys.disabled():
        print()
        for kind, count in planted.items():
            print(f"  {kind}: {caught[kind]}/{count} found, {named[kind]} by {FAULTS[kind][2]}")
    assert set(planted) == set(FAULTS)
    for kind, count in planted.items():
        assert caught[kind] >= INEXACT.get(kind, 1.0) * count, kind
        if kind not in INEXACT:
            assert named[kind] == count, kind
        record("R11", kind, tried=count, failed=count - caught[kind], seed=3)


def test_clean_rows_are_spared(tmp_path: Path) -> None:
    rows = [case.row(str(i)) for i, case in enumerate(clean_cases(10_000, seed=5))]
    rejects = found(config(tmp_path), rows)
    assert len(rejects) <= 10, list(rejects.values())[:10]


def test_with_no_sentence_before_it_most_cut_texts_are_found(tmp_path: Path) -> None:
    """Where every answer is prose that ends with a stop; by default only what is sure is taken."""
    rows = [case.row(str(i)) for i, (kind, case) in enumerate(planted_cases(1200, seed=8))
            if kind == "cut text"]  # fmt: skip
    eager = config(tmp_path, truncation={"min_sentences": 0})
    assert len(found(eager, rows)) >= 0.8 * len(rows) > 2 * len(found(config(tmp_path), rows))
