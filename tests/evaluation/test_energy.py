from pathlib import Path

import pytest

from mwalimu.evaluation import energy
from mwalimu.evaluation.energy import Joules


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text("1000000\n")
        (tmp_path / name / "max_energy_range_uj").write_text("9000000\n")
    return tmp_path


def test_packages_are_added_and_their_parts_are_not(zone: Path) -> None:
    with Joules("cpu") as spent:
        (zone / "intel-rapl:0" / "energy_uj").write_text("3500000")
        (zone / "intel-rapl:0:0" / "energy_uj").write_text("3000000")
        (zone / "intel-rapl:1" / "energy_uj").write_text("1250000")
    assert spent.joules == pytest.approx(2.5 + 0.25)


def test_a_counter_that_starts_again_is_no_gain(zone: Path) -> None:
    with Joules("cpu") as spent:
        (zone / "intel-rapl:0" / "energy_uj").write_text("500000")
    assert spent.joules == pytest.approx(9.0 - 1.0 + 0.5)


def test_without_counters_energy_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "absent")
    with Joules("cpu") as spent:
        pass
    assert spent.joules is None


def test_power_is_sampled_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    import torch

    monkeypatch.setattr(torch.cuda, "power_draw", lambda: 200_000)
    with Joules("cuda") as spent:
        time.sleep(0.02)
    assert spent.joules and 0.02 * 200 <= spent.joules < 200

    def refuse() -> int:
        raise ModuleNotFoundError

    monkeypatch.setattr(torch.cuda, "power_draw", refuse)
    with Joules("cuda") as spent:
        pass
    assert spent.joules is None
