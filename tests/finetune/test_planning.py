"""What a training does about memory before it begins."""

from pathlib import Path

import pytest

from mwalimu.finetune import planning
from tests.finetune.jobs import train, weights


def run(folder: Path, tiny: Path, free: int, patch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """What it tells, and how often memory was to be given back."""
    notes: list[str] = []
    given: list[int] = []
    patch.setattr(planning, "free_memory_of", lambda _: free)
    patch.setattr(planning, "give_memory_back", lambda: given.append(1))
    train(tiny, folder, epochs=1, on_progress=lambda *call: notes.append(call[-1]))
    return [note for note in notes if note.startswith("activations")], len(given)


def test_in_little_memory_activations_are_made_twice_to_the_same_weights(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "roomy", tiny, 2**40, monkeypatch) == ([], 0)
    notes, given = run(tmp_path / "tight", tiny, 2**20, monkeypatch)
    assert len(notes) == 1 and " MiB of memory, not 40" in notes[0] and given == 1
    assert weights(tmp_path / "tight") == weights(tmp_path / "roomy")


def test_memory_is_given_back_where_the_c_library_could_hold_too_much(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, tiny, 800 << 20, monkeypatch) == ([], 1)
