"""Tensors in parts: written by some processes, opened by another number of them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mwalimu.finetune.files import save_tensors
from mwalimu.finetune.parallel.pieces import Pieces, part_of, share_of
from mwalimu.finetune.parallel.world import ALONE, World
from tests.finetune.parallel.ranks import on_ranks
from tests.finetune.parallel.work import SHAPES, read_pieces, tensor_of, write_pieces

NAME = "model.safetensors"


def test_whole_tensors_are_written_once_and_by_turns() -> None:
    tensors = {f"t{i}": torch.zeros(size) for i, size in enumerate((90, 50, 40, 30, 20, 10))}
    shares = [share_of(tensors, World(rank, 3)) for rank in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(tensors)
    assert [sum(t.numel() for t in share.values()) for share in shares] == [90, 80, 70]
    assert share_of(tensors, ALONE).keys() == tensors.keys()
    assert part_of(NAME, ALONE) == NAME
    assert part_of(NAME, World(1, 8)) == "model-00002-of-00008.safetensors"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    names = on_ranks(3, write_pieces, folder)
    assert sum(name.startswith("whole") for own in names for name in own) == 5
    assert "one" in names[0] and "one" not in [*names[1], *names[2]]  # it has a single row
    return folder


def test_one_process_opens_what_three_wrote(written: Path) -> None:
    assert len(list(written.iterdir())) == 3
    with Pieces(written, NAME) as saved:
        assert saved.names() == {*SHAPES, "number", *(f"whole-{i}" for i in range(5))}
        for name in SHAPES:
            assert torch.equal(saved.read(name, torch.empty(SHAPES[name])), tensor_of(name))
        assert saved.read("whole-4", torch.empty(5)).tolist() == [4.0] * 5
        assert saved.read("number", torch.empty(())).item() == 3.0


def test_two_processes_open_what_three_wrote(written: Path) -> None:
    found = on_ranks(2, read_pieces, written)
    for name in SHAPES:
        rows = [row for own in found for row in own[name]]
        assert rows == tensor_of(name).tolist(), name
    assert [len(own["uneven"]) for own in found] == [4, 3] and found[1]["one"] == []


def test_two_processes_open_what_one_wrote(tmp_path: Path, written: Path) -> None:
    with Pieces(written, NAME) as saved:
        tensors = {name: saved.read(name, torch.empty(shape)) for name, shape in SHAPES.items()}
    save_tensors(tmp_path / NAME, tensors)
    assert load_file(tmp_path / NAME).keys() == SHAPES.keys()
    found = on_ranks(2, read_pieces, tmp_path)
    for name in SHAPES:
        assert [row for own in found for row in own[name]] == tensor_of(name).tolist(), name
