from pathlib import Path
from typing import Any

import pytest

from mwalimu.azure.cloud.offered import STUDENTS, TASKS, offers, student_of, teaches
from mwalimu.azure.cloud.request import Endpoint
from mwalimu.azure.cloud.support import refusals, require_accepted
from mwalimu.errors import ConfigError
from tests.azure.cloud.cases import ENDPOINT, LLAMA, PHI, request, write_rows


def test_nothing_is_said_of_what_azure_takes(tmp_path: Path) -> None:
    assert refusals(request(tmp_path), region="eastus2") == []


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"task_type": "CLASSIFICATION"}, "data_generation_task_type", "CLASSIFICATION"),
        ({"data_generation_type": "data_generation"}, "data_generation_type", "only labels"),
        ({"teacher": Endpoint("t-1", ENDPOINT, "gpt-4o")}, "teacher_model", "gpt-4o"),
        (
            {"teacher": Endpoint("teacher", "http://plain.example")},
            "teacher_model_endpoint_connection.endpoint",
            "https",
        ),
        (
            {"teacher": Endpoint("../other", ENDPOINT)},
            "teacher_model_endpoint_connection.name",
            "no endpoint's name",
        ),
        ({"student": "Phi-4-mini-instruct"}, "student_model", "no student there"),
        ({"student": "phi-3.5-mini"}, "student_model", "which version"),
        ({"student": PHI.replace("azureml/", "elsewhere/")}, "student_model", "which registry"),
        ({"validation_data": None}, "validation_data", "missing"),
        ({"training_data": "https://a.example/rows.csv?sig=1"}, "training_data", ".jsonl"),
        ({"inference": {"temperature": 1.5}}, "inference_parameters.temperature", "1.5"),
        ({"inference": {"top_p": -0.1}}, "inference_parameters.top_p", "-0.1"),
        ({"inference": {"temperature": "hot"}}, "inference_parameters.temperature", "no number"),
        ({"registers": "a.b"}, "outputs.registered_model.name", "a.b"),
        ({"inference": {"top_k": 3}}, "inference_parameters.top_k", "not known"),
        ({"request_batch_size": 101}, "endpoint_request_settings.request_batch_size", "101"),
        (
            {"min_endpoint_success_ratio": 1.1},
            "endpoint_request_settings.min_endpoint_success_ratio",
            "1.1",
        ),
    ],
)
def test_each_refusal_names_the_field(
    tmp_path: Path, changes: dict[str, Any], where: str, what: str
) -> None:
    (found,) = refusals(request(tmp_path, **changes), region="eastus2")
    assert found.where == where
    assert what in found.what
    assert found.fix


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("temperature", 0, 1),
        ("top_p", 0, 1),
        ("frequency_penalty", 0, 2),
        ("presence_penalty", 0, 2),
        ("request_batch_size", 1, 100),
        ("min_endpoint_success_ratio", 0, 1),
    ],
)
def test_both_ends_of_a_range_are_taken_and_nothing_beyond(
    tmp_path: Path, name: str, low: float, high: float
) -> None:
    """The numbers of validation.py in Azure's components, written out here once more."""

    def problems(value: float) -> int:
        of_the_endpoint = name in ("request_batch_size", "min_endpoint_success_ratio")
        changed = {name: value} if of_the_endpoint else {"inference": {name: value}}
        return len(refusals(request(tmp_path, **changed)))

    assert [problems(v) for v in (low, high, low - 0.01, high + 0.01)] == [0, 0, 1, 1]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("setting", ["chain_of_thought", "chain_of_density", "max_len_summary"])
def test_prompt_settings_by_task(tmp_path: Path, task: str, setting: str) -> None:
    """The table of Azure's own documentation, written out here once more."""
    taken = {
        ("NLI", "chain_of_thought"),
        ("NLU_QA", "chain_of_thought"),
        ("MATH", "chain_of_thought"),
        ("SUMMARIZATION", "chain_of_density"),
        ("SUMMARIZATION", "max_len_summary"),
    }
    turns = 2 if task == "CONVERSATION" else 1
    files = {
        field: str(write_rows(tmp_path / f"{field}.jsonl", turns=turns))
        for field in ("training_data", "validation_data")
    }
    value = 80 if setting == "max_len_summary" else True
    found = refusals(request(tmp_path, task_type=task, **files, **{setting: value}))
    assert [one.where for one in found] == (
        [] if (task, setting) in taken else [f"prompt_settings.{_field(setting)}"]
    )


def _field(setting: str) -> str:
    return setting if setting == "max_len_summary" else f"enable_{setting}"


@pytest.mark.parametrize(("task", "least"), [("NLI", 65), ("MATH", 40)])
def test_rows_of_a_file(tmp_path: Path, task: str, least: int) -> None:
    few = str(write_rows(tmp_path / "few.jsonl", least - 1))
    enough = str(write_rows(tmp_path / "enough.jsonl", least))
    (found,) = refusals(
        request(tmp_path, task_type=task, training_data=few, validation_data=enough)
    )
    assert found.where == few
    assert str(least) in found.what


def test_everything_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "bad.jsonl")
    lines = train.read_text().splitlines()
    lines[2] = '{"messages": [{"role": "user", "content": "no system"}]}'
    lines[7] = lines[7].replace('"role": "user"', '"role": "critic"')
    lines[9] = "{"
    train.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as raised:
        require_accepted(
            request(
                tmp_path,
                name="tickets-1",
                training_data=str(train),
                validation_data=None,
                student="gpt2",
                chain_of_density=True,
                inference={"temperature": 3},
            )
        )
    text = str(raised.value)
    for place in (
        f"{train}:3",
        f"{train}:8",
        f"{train}:10",
        "validation_data",
        "student_model",
        "prompt_settings.enable_chain_of_density",
        "inference_parameters.temperature",
    ):
        assert f"\n{place}" in text
    assert text.startswith("tickets-1: Azure would refuse this job for ")


@pytest.mark.parametrize(("student", "region"), [(PHI, "eastus2"), (LLAMA, "westus3")])
def test_a_student_is_tuned_in_its_region_only(tmp_path: Path, student: str, region: str) -> None:
    made = request(tmp_path, student=student)
    assert refusals(made, region=region) == []
    assert refusals(made, region=f"{region[:4].title()} {region[4:]}") == []
    (found,) = refusals(made, region="swedencentral")
    assert (found.where, region in found.what) == ("workspace", True)


def test_a_missing_file_is_a_refusal(tmp_path: Path) -> None:
    (found,) = refusals(request(tmp_path, training_data=str(tmp_path / "none.jsonl")))
    assert "no such file" in found.what


def test_what_azure_has_already_is_not_looked_into(tmp_path: Path) -> None:
    assert refusals(request(tmp_path, training_data="azureml:tickets:3")) == []


@pytest.mark.parametrize(
    "name",
    [
        "Phi-3.5-mini-instruct",
        "microsoft/Phi-3.5-mini-instruct",
        "phi-3.5-mini",
        "Phi 3.5 mini instruct",
        PHI,
    ],
)
def test_spellings_of_a_student(name: str) -> None:
    found = student_of(name)
    assert found is not None
    assert found.name == "Phi-3.5-mini-instruct"


def test_the_pairs() -> None:
    assert len(STUDENTS) == 7
    assert all(offers("meta-llama/Llama-3.1-405B-Instruct", one.name) for one in STUDENTS)
    assert offers("llama-3.1-405b", "meta-llama/Llama-3.1-8B-Instruct")
    assert not offers("llama-3.1-70b", "Phi-3.5-mini-instruct")
    assert not teaches("gpt-4o")
    assert student_of("phi-4-mini") is None
    assert student_of("Meta-Llama-3.1-405B-Instruct") is None
