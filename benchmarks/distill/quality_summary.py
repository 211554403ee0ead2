"""The runs' files as tables, results.json and plots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from quality_plots import by_bytes, by_prompts
from quality_statistics import Array, Interval, over_seeds, over_seeds_and_rows, p_value

from mwalimu.files import write_json

MAIN = ("gold", "text", "sampled-12", "topk-32", "dense")
PAIRS = (
    ("text", "gold"),
    ("dense", "text"),
    ("sampled-12", "text"),
    ("topk-32", "text"),
    ("sampled-12", "dense"),
    ("topk-32", "dense"),
)
Cells = Mapping[tuple[str, int], dict[int, dict[str, Any]]]
"""(arm, prompts) -> seed -> the run."""


def summarise(out: Path) -> str:
    """Writes results.json and the plots beside the runs; returns the tables as markdown."""
    runs = [json.loads(path.read_bytes()) for path in sorted(out.glob("runs/*.json"))]
    teacher = json.loads((out / "teacher.json").read_bytes())
    cells: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for run in runs:
        cells.setdefault((run["arm"], run["prompts"]), {})[run["seed"]] = run
    results = {
        "set": runs[0]["set"],
        "teacher": float(np.mean(teacher["scores"])),
        "arms": [_arm(key, of, teacher["texts"]) for key, of in sorted(cells.items(), key=_order)],
        "differences": [found for pair in _pairs(cells) for found in compare(cells, *pair)],
    }
    write_json(out / "results.json", results)
    _draw(out, cells, results)
    return "\n\n".join((_arms_table(results), _differences_table(results)))


def _pairs(cells: Cells) -> list[tuple[str, str]]:
    """The main ones, then every other arm against text alone."""
    others = {arm: None for (arm, _), _ in sorted(cells.items(), key=_order) if arm not in MAIN}
    return [*PAIRS, *((arm, "text") for arm in others)]


def _order(item: tuple[tuple[str, int], Any]) -> tuple[int, int, str, int]:
    (arm, prompts), _ = item
    kind, _, amount = arm.partition("-")
    place = MAIN.index(arm) if arm in MAIN else len(MAIN)
    return prompts, place, kind, int(amount) if amount.isdigit() else 0


def _arm(
    key: tuple[str, int], of: dict[int, dict[str, Any]], teacher_texts: list[str]
) -> dict[str, Any]:
    seeds = sorted(of)
    means_S = [float(np.mean(of[seed]["scores"])) for seed in seeds]
    same_S = [
        float(np.mean([a == b for a, b in zip(of[seed]["texts"], teacher_texts, strict=True)]))
        for seed in seeds
    ]
    first = of[seeds[0]]
    return {
        "arm": key[0],
        "prompts": key[1],
        "seeds": seeds,
        "scores": means_S,
        "score": over_seeds(means_S)._asdict(),
        "same_as_teacher": over_seeds(same_S)._asdict(),
        "bytes_per_token": first["bytes_per_token"],
        "steps": first["steps"],
    }


def compare(cells: Cells, arm: str, other: str) -> list[dict[str, Any]]:
    """`arm` less `other` on equal seeds and test rows: by number of prompts, and over all."""
    found = []
    pooled: dict[int, list[Array]] = {}
    counts = sorted(n for name, n in cells if name == arm and (other, n) in cells)
    for prompts in counts:
        mine, theirs = cells[arm, prompts], cells[other, prompts]
        seeds = sorted(mine.keys() & theirs.keys())
        if len(seeds) < 2:
            continue
        rows = [np.subtract(mine[seed]["scores"], theirs[seed]["scores"]) for seed in seeds]
        for seed, row in zip(seeds, rows, strict=True):
            pooled.setdefault(seed, []).append(row)
        found.append(_difference(arm, other, str(prompts), np.stack(rows)))
    whole = [np.mean(rows, axis=0) for rows in pooled.values() if len(rows) == len(found)]
    if len(found) > 1 and len(whole) > 1:
        found.append(_difference(arm, other, "all", np.stack(whole)))
    return found


def _difference(arm: str, other: str, prompts: str, differences_SN: Array) -> dict[str, Any]:
    means_S = differences_SN.mean(axis=1).tolist()
    return {
        "arm": arm,
        "other": other,
        "prompts": prompts,
        "seeds": len(means_S),
        "over_seeds": over_seeds(means_S)._asdict(),
        "over_seeds_and_rows": over_seeds_and_rows(differences_SN)._asdict(),
        "p": p_value(means_S),
    }


def _arms_table(results: dict[str, Any]) -> str:
    counts = sorted({arm["prompts"] for arm in results["arms"]})
    lines = [
        f"{results['set']}: the teacher scores {100 * results['teacher']:.1f}",
        "",
        "| arm | bytes a token | " + " | ".join(f"{n:,} prompts" for n in counts) + " |",
        "|---|--:|" + "--:|" * len(counts),
    ]
    by_arm = sorted(results["arms"], key=lambda arm: _order(((arm["arm"], 0), None)))
    for name, group in groupby(by_arm, key=lambda arm: arm["arm"]):
        cells = {arm["prompts"]: arm for arm in group}
        size = next(iter(cells.values()))["bytes_per_token"]
        texts = [_percent(cells[n]["score"]) if n in cells else "" for n in counts]
        lines.append(f"| {name} | {size or ''} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _differences_table(results: dict[str, Any]) -> str:
    lines = [
        "| difference, points | prompts | seeds | over seeds | p | over seeds and rows |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in results["differences"]:
        p = "" if one["p"] is None else f"{one['p']:.2g}"
        lines.append(
            f"| {one['arm']} - {one['other']} | {one['prompts']} | {one['seeds']} "
            f"| {_percent(one['over_seeds'], '+')} | {p} "
            f"| {_percent(one['over_seeds_and_rows'], '+')} |"
        )
    return "\n".join(lines)


def _percent(interval: dict[str, Any], sign: str = "") -> str:
    mean, low, high = Interval(**interval)
    text = f"{100 * mean:{sign}.1f}"
    if low is None or high is None:
        return text
    return f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def _draw(out: Path, cells: Cells, results: dict[str, Any]) -> None:
    name = results["set"]
    scores: dict[str, list[tuple[int, Interval]]] = {}
    for arm in results["arms"]:
        if arm["arm"] in MAIN:
            scores.setdefault(arm["arm"], []).append((arm["prompts"], Interval(**arm["score"])))
    signals = [arm for arm in MAIN if arm not in ("gold", "text")]
    gains = {arm: list(_gains(cells, arm).items()) for arm in signals}
    plot = by_prompts(name, results["teacher"], scores, gains)
    (out / f"quality-{name}-prompts.svg").write_text(plot, encoding="utf-8")
    others = [n for arm, n in cells if arm not in MAIN]
    if others:
        at = max(set(others), key=others.count)
        plot = by_bytes(name, at, dict(_by_size(cells, results, at)))
        (out / f"quality-{name}-bytes.svg").write_text(plot, encoding="utf-8")


def _gains(cells: Cells, arm: str) -> dict[int, Interval]:
    """Above text alone, by number of prompts."""
    found = [one for one in compare(cells, arm, "text") if one["prompts"] != "all"]
    return {int(one["prompts"]): Interval(**one["over_seeds"]) for one in found}


def _by_size(
    cells: Cells, results: dict[str, Any], prompts: int
) -> Iterator[tuple[str, tuple[float, Interval]]]:
    """Of the arms that differ in what is kept a token, and in nothing else."""
    for arm in results["arms"]:
        plain = arm["bytes_per_token"] and "@" not in arm["arm"] and "+" not in arm["arm"]
        gain = _gains(cells, arm["arm"]).get(prompts)
        if arm["prompts"] == prompts and plain and gain:
            yield arm["arm"], (arm["bytes_per_token"], gain)
