"""What people read at the end."""

from pathlib import Path

import pytest

from mwalimu.config import Config, load_config
from mwalimu.errors import RunError
from mwalimu.progress import silent
from mwalimu.tuning.conclusion import conclude
from mwalimu.tuning.telling import PLOTS_NEED, write_outcome
from tests.tuning.jobs import Nowhere, done, job, quality, search


def told(root: Path, launch: Nowhere, trials: int = 12, **tune: object) -> str:
    """The report of a search without test rows."""
    config = job(pruner="none", **tune)
    found = search(root, config, launch, budget=f"{trials}trials")
    found.run()
    write_outcome(root / "tuning", config, conclude(found, [], silent, graded_by="gold"))
    return (root / "tuning" / "report.md").read_text()


def test_several_objectives_give_a_front_of_recipes(tmp_path: Path) -> None:
    def outcome(config: Config) -> list[object]:
        return [done(quality(config), size=float(config.finetune.batch_size))]

    report = told(tmp_path, Nowhere(outcome), objectives=["size", "quality"])  # type: ignore[arg-type]
    front = sorted((tmp_path / "tuning" / "front").glob("*.yaml"))
    assert len(front) >= 2 and "## Those that none beats" in report
    assert {load_config(path).finetune.batch_size for path in front} >= {4}
    best = load_config(tmp_path / "tuning" / "best.yaml")
    assert max(map(quality, map(load_config, front))) == quality(best)
    assert "part of what is best is luck" in report
    assert "name a file of held-out rows in `data.test`" in report


def test_one_objective_is_told_with_its_luck_and_what_mattered(tmp_path: Path) -> None:
    report = told(tmp_path, Nowhere())
    assert "bootstrap bias correction" in report and "graded by gold" in report
    assert "![What mattered](importance.svg)" in report
    assert (tmp_path / "tuning" / "importance.svg").read_text().startswith("<svg")


def test_without_matplotlib_it_says_what_plots_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> str:
        raise ImportError("matplotlib")

    monkeypatch.setattr("mwalimu.tuning.telling.bars", absent)
    assert PLOTS_NEED in told(tmp_path, Nowhere())
    assert not (tmp_path / "tuning" / "importance.svg").exists()


def test_nothing_that_ended_is_no_choice(tmp_path: Path) -> None:
    found = search(tmp_path, job(), Nowhere(held=[0]), budget="0.2s")
    found.run()
    with pytest.raises(RunError, match="no trial ended within the budget"):
        conclude(found, [], silent, graded_by="gold")
