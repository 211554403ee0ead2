from fractions import Fraction

import pytest

from mwalimu.config import TASKS
from mwalimu.data import grading
from mwalimu.data.grading import GRADERS, grade, grader_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat!", "cat"),
        ("an apple a day", "apple day"),
        ("theatre and another", "theatre and another"),
        ("U.S.A.", "usa"),
        ("\nPort-Louis\t", "portlouis"),
        ("cafe\u0301", "caf\u00e9"),
        ("?!", "?!"),
        ("The", "the"),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert grading.normalise(text) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("The Nile.", "nile", 1),
        ("the nile river", "nile", 0),
        ("", "?!", 0),
        ("", "The", 0),
        ("?!", "?!", 1),
    ],
)
def test_exact_match(prediction: str, reference: str, expected: float) -> None:
    assert grading.exact_match(prediction, reference) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (" Entailment.", "entailment", 1),
        ("NOT  relevant!", "not relevant", 1),
        ("entailment because", "entailment", 0),
        ("C++", "C#", 0),
        ("", "?", 0),
        ("billing\n", "Billing", 1),
    ],
)
def test_label_match(prediction: str, reference: str, expected: float) -> None:
    assert grading.label_match(prediction, reference) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("red blue", "red green", 1 / 2),
        ("red red red", "red", 1 / 2),  # precision 1/3, recall 1
        ("red", "red red red", 1 / 2),
        ("the red car", "red", 2 / 3),  # precision 1/2, recall 1
        ("", "red", 0),
        ("blue", "red", 0),
        ("", "", 1),
        ("The red!", "red", 1),
    ],
)
def test_token_f1(prediction: str, reference: str, expected: float) -> None:
    assert grading.token_f1(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### 42", 42),
        ("3 + 4 = 7\n#### 7", 7),
        ("#### 42 apples for 3 people", 42),
        ("#### -1,234.50", Fraction("-1234.5")),
        ("Answer: 42", 42),
        ("**Answer:** $42.", 42),
        ("Final answer:\n 12 boxes", 12),
        ("The answer is 5. No: the answer is 6", 6),
        ("Answer: 5 x 8 = 40", 40),
        ("Answer: see above, 9 of 10\n", 9),
        ("I have 3 answers; the answer is none", 3),
        ("so 10 - 5 leaves 5.", 5),
        ("10-5", 5),
        ("x = -5", -5),
        ("x = \u22125", -5),
        ("-$5.50", Fraction("-5.5")),
        ("$-5", -5),
        ("$1,234,567.89 in all", Fraction("1234567.89")),
        ("KSh 1,200", 1200),
        ("it costs \u20ac 3", 3),
        ("1, 2, 3", 3),
        ("1,2345", 2345),
        ("50%", 50),
        ("about .75", Fraction(3, 4)),
        ("3/4 cup", Fraction(3, 4)),
        ("7/0", 7),
        ("version 1.2.3", 3),
        ("(5)-3", 3),
        ("42.0", 42),
        ("\\boxed{42}", 42),
        ("no number", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_final_number(text: str, expected: Fraction | int | None) -> None:
    assert grading.final_number(text) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("It is 42.00 dollars", "6 * 7 = 42\n#### 42", 1),
        ("1200", "#### 1,200", 1),
        ("0.5", "1/2", 1),
        ("12345678901", "12345678902", 0),
        ("no idea", "#### 3", 0),
        ("No solution.", "no solution", 1),
        ("3", "no solution", 0),
    ],
)
def test_numeric_match(prediction: str, reference: str, expected: float) -> None:
    assert grading.numeric_match(prediction, reference) == expected


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
