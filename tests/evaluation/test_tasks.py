import pytest

from mwalimu.config import TASKS
from mwalimu.evaluation.tasks import GRADERS, grade, grader_of


def test_every_task_of_the_config_has_a_grader() -> None:
    assert set(GRADERS) == set(TASKS)


@pytest.mark.parametrize(
    ("task", "metric", "prediction", "reference", "score"),
    [
        ("nli", "label match", "Neutral.", "neutral", 1),
        ("classification", "label match", "the spam", "spam", 0),
        ("qa", "exact match", "The spam", "spam", 1),
        ("math", "numeric match", "so it is 1,000", "#### 1000", 1),
        ("conversation", "exact match", "hello there", "hello", 0),
        ("generic", "exact match", "Hello!", "hello", 1),
        ("summarization", "token F1", "cats sleep", "cats eat", 0.5),
        ("my own task", "exact match", "Hello!", "hello", 1),
    ],
)
def test_a_rows_task_decides(
    task: str, metric: str, prediction: str, reference: str, score: float
) -> None:
    assert grader_of(task).metric == metric
    assert grade(task, prediction, reference) == score
