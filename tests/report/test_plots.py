import re
import sys
from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from mwalimu.report import plots

pytest.importorskip("matplotlib")

TRAINING = [(step / 50, 2.0 / (1 + step / 20)) for step in range(1, 151)]
VALIDATION = [(1.0, 0.9), (2.0, 0.6), (3.0, 0.7)]
HOSTILE = '<script>alert("x")</script> $\\frac$ id="x" & 日本'


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.03, "high": min(1.0, mean + 0.03)}


def loss() -> str:
    return plots.loss_curves(TRAINING, VALIDATION, TRAINING[::10])


def accuracy() -> str:
    arms = {"teacher": [interval(0.9), interval(0.8)], HOSTILE: [interval(0.5), None]}
    return plots.accuracy_by_task(["qa", HOSTILE], arms)


def costs() -> str:
    panels = {
        "median latency, ms": {"teacher": None, HOSTILE: 12.0},
        "parameters": {"teacher": 1.2e7, HOSTILE: 1.2e6},
    }
    return plots.costs(panels)


DRAWINGS = pytest.mark.parametrize("draw", [loss, accuracy, costs])


@DRAWINGS
def test_a_plot_is_valid_xml_without_a_prolog_and_the_same_bytes_twice(
    draw: Callable[[], str],
) -> None:
    svg = draw()
    assert svg.startswith("<svg ") and "<!DOCTYPE" not in svg and "<script" not in svg
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert draw() == svg


def test_ids_clash_neither_within_a_plot_nor_between_plots() -> None:
    svgs = [loss(), accuracy(), costs()]
    tags = [tag for svg in svgs for tag in re.findall(r"<[^>]*>", svg)]
    ids = [found for tag in tags for found in re.findall(r' id="([^"]*)"', tag)]
    assert max(Counter(ids).values()) == 1
    targets = {t for tag in tags for t in re.findall(r'(?:url\(#|href="#)([^")]*)', tag)}
    assert targets and targets <= set(ids)


def test_a_name_is_shown_as_it_is_written() -> None:
    texts = [element.text for element in ElementTree.fromstring(accuracy()).iter()]
    assert HOSTILE in texts


def test_what_is_unknown_is_no_bar_of_zero() -> None:
    texts = {element.text for element in ElementTree.fromstring(costs()).iter()}
    assert {"unknown", "12", "12 M", "1.2 M"} <= texts


def test_the_best_validation_is_named_and_one_curve_is_enough() -> None:
    assert "best: 0.600" in loss()
    assert "validation" not in plots.loss_curves(TRAINING, [])
    assert "training, smoothed" not in plots.loss_curves([], VALIDATION)


def test_a_long_training_makes_no_heavy_page() -> None:
    curve = [(step / 1000, 1.0 + (step % 7) / 10) for step in range(20_000)]
    assert len(plots.loss_curves(curve, [])) < 120_000


def test_an_arm_keeps_its_colour_whatever_arms_stand_beside_it() -> None:
    assert (
        plots.colours(["other", "student-distilled"])["student-distilled"]
        == (plots.colours(["teacher", "student-distilled"])["student-distilled"])
    )
    assert len(set(plots.colours(["teacher", "a", "b"]).values())) == 3


def test_the_users_own_matplotlib_settings_are_left_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    loss()
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_a_plot_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError):
        loss()
