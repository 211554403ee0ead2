"""The most accurate that fits, in one line; and the gate that names what is missed."""

from typing import Any

import pytest

from mwalimu.config import ExportConfig, ExportRequireConfig
from mwalimu.errors import GateFailed
from mwalimu.shipping.choice import pick
from mwalimu.shipping.gate import gate, require_passed


def entry(name: str, accuracy: float, mib: float, p95: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "accuracy": {"mean": accuracy},
        "size_mib": mib,
        "loaded_mib": 100.0,
        "performance": {"latency_p95_s": p95, "peak_memory_mib": None},
        "gate": {"passed": None, "checks": []},
    } | more


ENTRIES = [
    entry("fp32", 0.95, 4000, 0.9),
    entry("fp16", 0.95, 2000, 0.8),
    entry("int8", 0.94, 1000, 0.4),
    entry("int4", 0.90, 600, 0.3),
]


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({}, "fp16"),  # as accurate as fp32, and smaller
        ({"max_size_mib": 1999.0}, "int8"),
        ({"max_size_mib": 1000.0}, "int8"),
        ({"max_latency_s": 0.39}, "int4"),
        ({"max_latency_s": 0.2}, None),
        ({"max_size_mib": 3000.0, "max_latency_s": 0.5}, "int8"),
    ],
)
def test_the_most_accurate_that_fits(limits: dict[str, float], chosen: str | None) -> None:
    assert pick(ENTRIES, ExportConfig(**limits))["name"] == chosen


def test_one_line_says_why() -> None:
    why = pick(ENTRIES, ExportConfig(max_size_mib=1024))["why"]
    expected = "int8 (94.0 %, 1,000 MiB, 400 ms (p95)): "
    assert why == expected + "the most accurate of 2 exports that fit 1,024 MiB, of 4"
    nothing = pick(ENTRIES, ExportConfig(max_latency_s=0.1))["why"]
    assert nothing.startswith("no export fits 100 ms (p95); the smallest is int4 (90.0 %")


def test_what_misses_the_gate_is_not_picked() -> None:
    missed = {"passed": False, "checks": []}
    entries = [entry("fp16", 0.95, 2000, 0.8, gate=missed), *ENTRIES[2:]]
    assert pick(entries, ExportConfig())["name"] == "int8"


def test_every_requirement_is_checked_and_what_is_unknown_is_missed() -> None:
    found = entry("int4", 0.90, 600, 0.3, difference={"mean": -0.02}, agreement={"answers": 0.8})
    require = ExportRequireConfig(
        accuracy_drop=0.01, agreement=0.9, size_mib=700, memory_mib=99, latency_p95_s=0.3
    )
    verdict = gate(found, require)
    passed = {check["name"]: check["passed"] for check in verdict["checks"]}
    assert passed == {
        "accuracy_drop": False,
        "agreement": False,
        "size_mib": True,
        "memory_mib": False,
        "latency_p95_s": True,
    }
    with pytest.raises(GateFailed, match=r"int4 \(accuracy_drop 0.02 \(at most 0.01 required\), "):
        require_passed({"exports": [found | {"gate": verdict}]})
    unmeasured = gate(ENTRIES[0], ExportRequireConfig(agreement=0.1))
    assert unmeasured["passed"] is False and unmeasured["checks"][0]["measured"] is None
    assert gate(ENTRIES[0], ExportRequireConfig())["passed"] is None


def test_an_export_that_gains_has_no_drop() -> None:
    found = entry("int8", 0.9, 1, 1, difference={"mean": 0.03}, agreement={"answers": 1.0})
    assert gate(found, ExportRequireConfig(accuracy_drop=0.0))["passed"]
