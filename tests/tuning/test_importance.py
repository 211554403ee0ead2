"""What mattered, where it is known what does."""

from pathlib import Path

from mwalimu.config import Config
from mwalimu.tuning.importance import bars, importances
from mwalimu.tuning.search import Search
from tests.tuning.jobs import Nowhere, done, job, search


def tried(root: Path, trials: int, value: object = None) -> Search:
    """Only the learning rate counts."""

    def outcome(config: Config) -> list[object]:
        return [done(0.5 if value else min(0.99, 100 * config.finetune.learning_rate))]

    found = search(
        root,
        job(pruner="none", sampler="random"),
        Nowhere(outcome),  # type: ignore[arg-type]
        budget=f"{trials}trials",
    )
    found.run()
    return found


def test_the_parameter_that_decides_has_most_of_it(tmp_path: Path) -> None:
    shares = importances(tried(tmp_path, 40).study)
    assert next(iter(shares)) == "finetune.learning_rate"
    assert shares["finetune.learning_rate"] > 0.6 and abs(sum(shares.values()) - 1) < 1e-9
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    svg = bars(shares, "What mattered")
    assert svg == bars(shares, "What mattered") and "finetune.learning_rate" in svg


def test_few_trials_or_equal_ones_tell_nothing(tmp_path: Path) -> None:
    assert importances(tried(tmp_path / "few", 5).study) == {}
    assert importances(tried(tmp_path / "equal", 12, value=1).study) == {}
