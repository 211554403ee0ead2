from pathlib import Path

import pytest

from mwalimu.config import TASKS
from mwalimu.errors import ConfigError
from mwalimu.evaluation.tasks import Tasks, builtin_tasks, grade
from mwalimu.evaluation.tasks.own import load_tasks

YAML = """
intent:
  metric: label match
  labels: [billing, delivery-late]
  normalise: [casefold, strip_accents, {replace: "_", with: "-"}]
price: {metric: numeric match}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_every_task_of_the_config_is_built_in() -> None:
    assert set(builtin_tasks()) == set(TASKS)


@pytest.mark.parametrize(
    ("task", "prediction", "reference", "score"),
    [
        ("nli", "Neutral.", "neutral", 1),
        ("classification", "C++", "c#", 0),
        ("qa", "The Nile", "nile", 1),
        ("math", "so 3 * 4 = 12", "12", 1),
        ("summarization", "red cat", "red dog", 0.5),
        ("conversation", "hi", "ho", 0),
        ("translation", "der Hund", "der Hund", 1),
        ("translation", "xyz", "der Hund", 0),
        ("generic", "Long.\nAnswer: yes", "yes", 1),
        ("never heard of", "yes", "Yes!", 1),
    ],
)
def test_a_row_is_graded_by_its_task(
    task: str, prediction: str, reference: str, score: float
) -> None:
    found = Tasks()[task]
    assert found.name == task
    assert found.score(prediction, reference) == score == grade(task, prediction, reference)


def test_corpus_metrics_belong_to_tasks() -> None:
    tasks = builtin_tasks()
    assert tasks["nli"].corpus["macro_f1"](["a", "b"], ["a", "b"]) == 1
    assert tasks["qa"].corpus["token_f1"](["red cat"], ["red dog"]) == 0.5
    assert tasks["summarization"].corpus["rouge2"](["a b c"], ["a b d"]) == 0.5
    assert tasks["translation"].corpus["chrf"](["abc"], ["abc"]) == pytest.approx(100)
    assert tasks["math"].corpus["exact_match"](["12", "x 12"], ["12", "12"]) == 0.5


def test_tasks_of_ones_own_in_yaml(tmp_path: Path) -> None:
    tasks = load_tasks(write(tmp_path / "tasks.yaml", YAML))
    intent = tasks["intent"]
    assert intent.score("Délivery_late", "delivery-late") == 1
    assert intent.score("refund", "refund") == 0  # no label of the file
    assert intent.score("billing", "delivery-late") == 0
    assert intent.corpus["macro_f1"](["BILLING", "x"], ["billing", "delivery_late"]) == 0.5
    assert tasks["price"].score("it is 3.50", "$3.5") == 1 and not tasks["price"].corpus
    assert tasks["qa"].grader is builtin_tasks()["qa"].grader


def test_tasks_of_ones_own_in_python(tmp_path: Path) -> None:
    code = "def near(prediction, reference):\n    return len(prediction) == len(reference)\n"
    tasks = load_tasks(write(tmp_path / "t.py", f"{code}TASKS = {{'size': near}}\n"))
    assert tasks["size"].score("abc", "xyz") == 1.0 and tasks["size"].score("ab", "xyz") == 0.0
    bad = load_tasks(write(tmp_path / "b.py", "TASKS = {'big': lambda p, r: 7}"))
    with pytest.raises(ConfigError, match=r"b.py: big scores 7, no number in 0..1"):
        bad["big"].score("a", "b")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.yaml", "a: [", "cannot be read"),
        ("t.yaml", "- a", "no mapping of task names"),
        ("t.yaml", "a: {metric: magic}", "a.metric"),
        ("t.yaml", "a: {metric: token F1, colour: red}", "a.colour"),
        ("t.yaml", "a: {metric: token F1, normalise: [shout]}", "a.normalise"),
        ("t.py", "1 / 0", "ZeroDivisionError"),
        ("t.py", "x = 1", "defines no TASKS"),
        ("t.py", "TASKS = {'a': 1}", "defines no TASKS"),
        ("t.txt", "", "neither YAML nor Python"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_tasks(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_tasks(tmp_path / "t.yaml")
    assert load_tasks(None) == Tasks()
