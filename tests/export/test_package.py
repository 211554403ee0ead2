"""What goes along with an export: a card, the licences' duties, a program that works."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

from mwalimu.config import TargetConfig, build_config
from mwalimu.errors import RunError
from mwalimu.export.card import Origin, licence_notes
from mwalimu.export.make import make
from mwalimu.export.package import ADDED, seal, size_mib
from mwalimu.runtimes import Export, read_export
from tests.tiny import make_tiny_model


def origin(**sections: object) -> Origin:
    raw = {"task": "qa", "data": {"train": "t"}, "teacher": {"model": "fake"}}
    raw |= {"student": {"model": "tiny"}} | sections
    return Origin(build_config(raw, base=Path.cwd()), {"train": "ab12"}, 1234)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Export]:
    root = tmp_path_factory.mktemp("job")
    student = make_tiny_model(root / "student", spread=0.3)
    folder = root / "safetensors-fp32"
    return folder, make(student, folder, TargetConfig(to="safetensors"))


def test_the_manifest_of_a_sealed_export_covers_every_file(
    made: tuple[Path, Export], tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(made[0], folder)
    before = size_mib(folder, made[1])
    sealed = seal(folder, made[1], origin(), None)
    assert set(sealed.files) == set(made[1].files) | set(ADDED)
    assert size_mib(folder, sealed) == before  # a card is no weight
    assert seal(folder, sealed, origin(), None) == sealed
    (folder / "README.md").write_text("another")
    with pytest.raises(RunError, match=r"the first is README\.md"):
        read_export(folder, verify=True)


def test_duties_of_teachers_and_of_the_base_are_told() -> None:
    llama = {"model": "llama-3.1-405b", "base_url": "http://127.0.0.1:9/v1"}
    notes = licence_notes(origin(teacher=llama, student={"model": "gemma-2-2b"}).config)
    assert '"Built with Llama"' in notes and "Llama 3.1 Community License" in notes
    assert "Gemma Terms of Use" in notes and "use restrictions go along" in notes
    assert "not known by name" in licence_notes(origin().config)


def test_the_sample_answers(
    made: tuple[Path, Export], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sample.py", "one plus one"])
    runpy.run_path(str(made[0] / "sample.py"))
    assert len(capsys.readouterr().out) > 5
