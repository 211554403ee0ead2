"""Hostile model folders, loaded as a teacher is and as a student is: nothing of theirs runs."""

from __future__ import annotations

import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mwalimu.data import sandbox
from tests.command import processes
from tests.figures import record
from tests.hostile.models import HARMLESS, REFUSED
from tests.tiny import make_tiny_model

PATIENCE_S = 120
STEPS = sandbox.STEPS if os.environ.get("MWALIMU_LONG") else 50_000  # of a template without an end
MEMORY = 12 << 30  # bytes of address space; torch alone maps some


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("good") / "model")


def load(folder: str, told: Connection) -> None:
    """Both ways, in a process of its own; tells the errors, an empty text where there was none."""
    import resource

    from jinja2 import TemplateError

    from mwalimu.config import StudentConfig
    from mwalimu.data.loading import CannotLoad, load_causal_lm
    from mwalimu.data.tokenize import encode_example
    from mwalimu.errors import MwalimuError
    from mwalimu.finetune.student.loading import load_student

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sandbox.STEPS = STEPS
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

    def teacher() -> None:
        _, tokenizer = load_causal_lm(folder)
        encode_example(tokenizer, chat, max_length=64)

    def student() -> None:
        _, tokenizer = load_student(StudentConfig(model=folder), seed=0)
        encode_example(tokenizer, chat, max_length=64)

    for way in (teacher, student):
        try:
            way()
            told.send("")
        except (MwalimuError, CannotLoad, TemplateError) as error:  # rows tell the last
            told.send(str(error))
        except BaseException as error:
            told.send(f"FOREIGN {type(error).__name__}: {error}")


def tried(folder: Path) -> list[str]:
    mine, other = processes().Pipe(duplex=False)
    process = processes().Process(target=load, args=(str(folder), other))
    process.start()
    other.close()
    try:
        return [mine.recv() for _ in range(2) if mine.poll(PATIENCE_S)]
    except EOFError:
        return ["FOREIGN: the process died"]
    finally:
        process.kill()
        process.join()


def hostile(name: str, good: Path, tmp_path: Path) -> tuple[list[str], bool]:
    """What both ways said, and whether something of the folder's ran."""
    canary = tmp_path / "canary"
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    (REFUSED | HARMLESS)[name](folder, str(canary))
    return tried(folder), canary.exists()


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_runs_and_one_line_says_why(name: str, good: Path, tmp_path: Path) -> None:
    said, ran = hostile(name, good, tmp_path)
    assert not ran
    assert len(said) == 2
    for line in said:
        assert line and not line.startswith("FOREIGN") and "\n" not in line, said
        assert "Traceback" not in line and len(line) < 600
    record("R22", "refused", tried=1)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_lies_beside_a_good_model_is_left_alone(name: str, good: Path, tmp_path: Path) -> None:
    said, ran = hostile(name, good, tmp_path)
    assert not ran
    assert said == ["", ""]
    record("R22", "loaded, its code left alone", tried=1)


def test_there_are_enough_folders() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 30


def test_what_the_folders_hold_would_do_harm(good: Path, tmp_path: Path) -> None:
    """Opened as a pickle and rendered unguarded, it does: the canary can sing."""
    import pickle

    import jinja2

    folder, canary = Path(shutil.copytree(good, tmp_path / "model")), tmp_path / "canary"
    REFUSED["pickle under the name of safetensors"](folder, str(canary))
    pickle.loads((folder / "model.safetensors").read_bytes())  # noqa: S301
    assert canary.exists()
    canary.unlink()
    REFUSED["template that runs a command"](folder, str(canary))
    template = (folder / "chat_template.jinja").read_text()
    jinja2.Environment(autoescape=True).from_string(template).render()
    assert canary.exists()
