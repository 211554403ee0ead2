"""An export's manifest: whole, or refused in one line."""

from pathlib import Path

import pytest

from mwalimu.errors import RunError
from mwalimu.runtimes import Export, read_export
from mwalimu.runtimes.manifest import MANIFEST, hashed, write_export


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "sub" / "more.bin").write_bytes(b"more")
    write_export(
        tmp_path,
        Export(
            name="onnx-int4",
            format="onnx",
            precision="int4",
            weights="model.bin",
            context=64,
            ends=(2, 7),
            basis="b",
            made_with={"onnx": "1"},
            files=hashed(tmp_path),
        ),
    )
    return tmp_path


def test_it_comes_back_as_it_was_written(folder: Path) -> None:
    export = read_export(folder, verify=True)
    assert export.ends == (2, 7)
    assert set(export.files) == {"model.bin", "sub/more.bin"}


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_that_is_not_the_one_listed_is_named(folder: Path, damage: str) -> None:
    other = folder / "sub" / "more.bin"
    other.unlink()
    if damage == "changed":
        other.write_bytes(b"else")
    read_export(folder)  # a look at the manifest alone
    with pytest.raises(RunError, match=r"1 files are missing or changed, the first is sub/more"):
        read_export(folder, verify=True)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"ends": 3}', b'{"ends": [], "format": "odd", "x": 1}']
)
def test_a_damaged_manifest_is_one_line(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(RunError, match="is no whole export"):
        read_export(folder)
