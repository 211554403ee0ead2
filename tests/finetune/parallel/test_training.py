"""Two and four processes train what one trains: the same losses, norms, and weights.

They agree to the rounding of float32: sums over rows are taken in another order. Adam divides by
the size of gradients, so that where one is next to nothing its rounding is an update.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from mwalimu.finetune.teacher.white_box import WhiteBox
from tests.finetune.jobs import metrics, sums, train
from tests.finetune.parallel.ranks import on_ranks
from tests.finetune.parallel.work import Job, read_rows, spoil, teach_live, train_each, watch_work
from tests.finetune.taught import Pair, captured, config_of, make_pair

LOSSES, WEIGHTS = 1e-5, 1e-4
"""Relative; weights to the largest of their tensor."""

COMPARED = {"loss", "validation_loss", "parts", "grad_norm", "learning_rate", "tokens", "best"}
ROWS, VALIDATION = sums(37), sums(9, seed=1)
BASE = {"rows": ROWS, "validation": VALIDATION, "batch_size": 4, "accumulation": 2, "epochs": 1}
TAUGHT = [{"kind": "forward_kl"}, {"kind": "hidden", "weight": 0.5, "layers": [[1, 2]]}]
LIVE = {"objective": [{"kind": "reverse_kl"}, {"kind": "cross_entropy"}], "teacher": "live"}
SCENARIOS: dict[str, Job] = {
    "the last step of an epoch has one row": {**BASE, "accumulation": 1},
    "accumulated, two epochs": {**BASE, "epochs": 2},
    "tied": BASE,
    "adapter": {**BASE, "method": "lora"},
    "passes by tokens": {**BASE, "tokens_per_pass": 100},
    "padded, activations made twice": {
        **BASE,
        "packing": "off",
        "activation_checkpointing": "on",
    },
    "taught by a cache": {**BASE, "objective": TAUGHT},
    "taught live": {**BASE, **LIVE},
}
WAYS = ("ddp", "fsdp")
FOUR = (
    "the last step of an epoch has one row",  # three processes have nothing to do in it
    "accumulated, two epochs",
    "taught by a cache",
)
CASES = [(name, way) for name in SCENARIOS for way in WAYS]
CASES += [(name, f"{way} of four") for name in FOUR for way in WAYS]


def tied(pair: Pair, folder: Path) -> Path:
    """Another student, with one matrix for embeddings and head."""
    config = AutoConfig.from_pretrained(pair.student)
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(pair.student).save_pretrained(folder)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


def with_cache(folder: Path, pair: Pair, job: Job) -> Job:
    """The objective written out, and what the teacher said of the rows."""
    config = config_of(pair, job["objective"])
    run = captured(folder, config, ROWS, VALIDATION)
    return {**job, "white_box": WhiteBox.of(config, run)}


@pytest.fixture(scope="module")
def trained(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """name/one and name/way of every case; the processes of a size in one start."""
    folder = tmp_path_factory.mktemp("trained")
    jobs: dict[int, dict[str, tuple[Path, Path, Job]]] = {2: {}, 4: {}}
    torch.set_num_threads(1)
    for name, job in SCENARIOS.items():
        model = tied(pair, folder / "tied-model") if name == "tied" else pair.student
        if "cache" in name:
            job = with_cache(folder / "run", pair, job)
        if "live" in name:
            job = {**job, "white_box": WhiteBox(live=str(pair.teacher))}
        train(model, folder / name / "one", **job)
        for case in (way for of, way in CASES if of == name):
            way, _, of_four = case.partition(" ")
            place = folder / name / case
            jobs[4 if of_four else 2][f"{name}/{case}"] = (model, place, {**job, "parallel": way})
    for size, of_size in jobs.items():
        for summaries in on_ranks(size, train_each, of_size):
            for name, summary in summaries.items():
                listed = json.loads((folder / name / "trained.json").read_bytes())
                assert summary == listed["summary"]  # all processes know it
    return folder


@pytest.mark.parametrize(("name", "way"), CASES)
def test_several_processes_give_what_one_gives(trained: Path, name: str, way: str) -> None:
    expected, found = metrics(trained / name / "one"), metrics(trained / name / way)
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for one, two in zip(expected, found, strict=True):
        assert two.keys() == one.keys()
        for key in COMPARED & one.keys():
            assert two[key] == pytest.approx(one[key], rel=LOSSES), key
    one = load_file(trained / name / "one" / "student" / "model.safetensors")
    two = load_file(trained / name / way / "student" / "model.safetensors")
    assert two.keys() == one.keys()
    for key, tensor in one.items():
        assert float((two[key] - tensor).abs().max()) <= WEIGHTS * float(tensor.abs().max()), key
    assert not (trained / name / way / "checkpoints").exists()


def test_the_work_of_a_step_is_that_of_all_processes_and_each_draws_for_itself(
    pair: Pair, tmp_path: Path
) -> None:
    ((alone, seed),) = on_ranks(1, watch_work, pair.student, tmp_path / "one", BASE)
    (main, first), (other, second) = on_ranks(2, watch_work, pair.student, tmp_path / "two", BASE)
    assert main == alone and len(main) == 5 and other == []
    assert first == seed and second not in (seed, first)  # what is dropped


@pytest.mark.parametrize("way", WAYS)
def test_each_row_of_a_cache_is_read_by_one_process_once_an_epoch(
    pair: Pair, tmp_path: Path, way: str
) -> None:
    rows = sums(64)
    config = config_of(pair, "forward_kl")
    run = captured(tmp_path / "run", config, rows)
    parts = [part.model_dump() for part in config.finetune.objective]
    job = {"rows": rows, "objective": parts, "white_box": WhiteBox.of(config, run), "epochs": 3}
    seen = on_ranks(2, read_rows, pair.student, tmp_path / "job", {**job, "parallel": way})
    keys = [[key for batch in own for key in batch] for own in seen]
    assert [len(own) for own in keys] == [96, 96]
    for epoch in range(3):
        both = [key for own in keys for key in own[32 * epoch : 32 * (epoch + 1)]]
        assert len(set(both)) == len(both) == 64


def test_a_live_teacher_is_shared_out_where_the_student_is(pair: Pair, tmp_path: Path) -> None:
    """Also beside rows that the student answers itself, of which one process may have more."""
    job = {**BASE, **LIVE, "white_box": WhiteBox(live=str(pair.teacher))}
    job["on_policy"] = {"share": 0.5, "max_tokens": 4}
    jobs = {way: (pair.student, tmp_path / way, {**job, "parallel": way}) for way in WAYS}
    for held in on_ranks(2, teach_live, jobs):
        assert held["ddp"] == 1.0 and 0.5 < held["fsdp"] < 0.7  # embeddings and head are whole
    ddp, fsdp = ([line for line in metrics(tmp_path / way) if "loss" in line] for way in WAYS)
    for one, two in zip(ddp, fsdp, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=LOSSES)
        assert one["tokens"] > 0 and math.isfinite(one["loss"])


def test_all_processes_stop_before_a_step_that_one_has_spoilt(pair: Pair, tmp_path: Path) -> None:
    jobs = {way: {**BASE, "parallel": way} for way in WAYS}
    for raised in on_ranks(2, spoil, pair.student, tmp_path, jobs):
        for way in WAYS:
            kind, text = raised[way]
            assert kind == "NonFiniteLoss" and "gradient is not finite at step 1" in text, way
    assert all(metrics(tmp_path / way) == [] for way in WAYS)
