"""What people and programs read, and the command that shows it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mwalimu import api
from mwalimu.cli import app
from mwalimu.config import load_config
from mwalimu.estimate.result import Cap, dollars
from mwalimu.estimate.spans import Span
from tests.estimate.jobs import PRICES, SERVED, of_job, prompts, word_server, write_job
from tests.tiny import make_tiny_model


@pytest.mark.parametrize(
    ("span", "shown"),
    [
        (Span(12.4, 9.8, 15.1), "$12.40 (9.80 to 15.10)"),
        (Span(0.0123, 0.0100, 0.0150), "$0.0123 (0.0100 to 0.0150)"),
        (Span(0, 0, 0), "$0"),
        (Span(1234.5, 1234.5, 1234.5), "$1,234.50"),
    ],
)
def test_dollars(span: Span, shown: str) -> None:
    assert dollars(span) == shown


@pytest.mark.parametrize(
    ("needed", "verdict"),
    [
        (Span(5, 4, 8), "the high end fits"),
        (Span(5, 4, 8.1), "may not be enough"),
        (Span(10, 9, 11), "not enough"),
        (None, "the price is unknown, so the run will refuse to begin"),
    ],
)
def test_what_a_cap_is_worth(needed: Span | None, verdict: str) -> None:
    assert Cap("usd", 10, 2, needed).verdict.startswith(verdict)


def test_every_number_says_what_it_rests_on(tmp_path: Path) -> None:
    known = {"model": "gpt-4o", "max_tokens": 100}
    config = write_job(tmp_path, known, prompts(10), budget={"usd": 5, "requests": 3})
    text = "\n".join(of_job(tmp_path, config).lines())
    for part in (
        "10 train",
        "gpt-4o (openai)",
        "10 (10 to 11); 0 to 10 % of the answers cut",
        "4 bytes a token (3 to 5)",
        "at most max_tokens 100",
        "$2.5 in and $10 out a million tokens, as listed on 20",
        "50 tokens/s, half to double; --probe measures it; 16 at once",
        "budget.usd:       $5.00: the high end fits",
        "budget.requests:  3: not enough",
        "gpt-4o is under OpenAI Services Agreement",
        "training memory:  unknown",
    ):
        assert part in text
    assert "probe:" not in text and "repeat" not in text and "all teachers" not in text


def test_a_model_that_the_registry_does_not_know_has_its_own_terms(tmp_path: Path) -> None:
    found = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(1)))
    assert found.terms == ("m is not in the registry: see what its licence allows",)


def test_json_holds_the_same_and_only_numbers(tmp_path: Path) -> None:
    found = of_job(tmp_path, write_job(tmp_path, SERVED | PRICES, prompts(10)))
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert found.cost.usd is not None
    assert told["total"]["usd"] == found.cost.usd.to_json()
    assert told["teachers"][0]["basis"]["answer"].startswith("at most max_tokens 10")
    assert told["teachers"][0]["requests"]["high"] == pytest.approx(11)
    assert told["training"]["parameters"] is None and told["probe"] is None


def test_parameters_are_those_of_the_weights_in_the_folder(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    save_file({"a": torch.zeros(64, 1024), "b": torch.zeros(512)}, folder / "model.safetensors")
    student = {"model": "student", "method": "lora"}
    found = of_job(tmp_path, write_job(tmp_path, SERVED, prompts(1), student=student))
    training = found.training
    assert training.parameters == 64 * 1024 + 512
    assert training.memory is None  # of no known architecture
    assert training.least == training.parameters * 2  # frozen, in half precision at least
    assert "training memory:  more than 0 MiB, for weights, grad" in "\n".join(found.lines())


def test_a_student_without_weights_counts_by_its_shape_and_its_tokenizer(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "student")
    config = write_job(tmp_path, SERVED, prompts(4), student={"model": "student"})
    with_weights = of_job(tmp_path, config).training
    (tmp_path / "student" / "model.safetensors").unlink()
    training = of_job(tmp_path, config).training
    assert training.parameters == with_weights.parameters
    assert training.basis == "the student's tokenizer and chat template"
    # Forty characters and three tokens of the template a row, answers of at most ten.
    assert training.tokens.mid == 4 * (43 + 10) * 3


def test_the_command_and_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with word_server() as server:
        config = {
            "task": "generic",
            "data": {"train": "p.jsonl"},
            "teacher": {"model": "tiny", "base_url": server.url} | PRICES,
            "student": {"model": "none"},
        }
        write_job(tmp_path, SERVED, prompts(20))
        (tmp_path / "distill.yaml").write_text(json.dumps(config), encoding="utf-8")

        def run(*options: str) -> str:
            result = CliRunner().invoke(app, ["estimate", "distill.yaml", *options])
            assert result.exit_code == 0, result.output
            return result.stdout

        assert "teacher:          tiny (openai_compatible)" in run()
        assert not Path("runs").exists() and not Path(".mwalimu").exists() and not server.asked
        told = run("--probe", "5", "--run", "r")
        assert "5 rows asked now (5 ok): 5 requests sent for $0.0001, 0 were" in told
        assert "15, as at least 5 of 20 are answered in the store" in told
        assert Path("r", "run.json").exists()
        found = json.loads(run("--json", "--run", "r", "--set", "budget.requests=9"))
        assert (found["teachers"][0]["stored"], found["budget"][0]["spent"]) == (5, 5)
        assert sum(server.asked.values()) == 5
        assert api.estimate(load_config(Path("distill.yaml"))).places[0].stored == 5
        assert CliRunner().invoke(app, ["estimate", "distill.yaml", "--probe", "-1"]).exit_code == 2
