"""Smaller students cut out of larger models: exact where nothing is lost, near where little is."""

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mwalimu.config import PruneConfig, StudentConfig
from mwalimu.data.collate import collate
from mwalimu.errors import StudentError
from mwalimu.finetune.rows import encode_splits
from mwalimu.finetune.student import load_student, pruned, pruning, started
from mwalimu.finetune.student.importance import measure
from mwalimu.finetune.student.keeping import choose_kept
from mwalimu.objectives.layers import decoder_layers
from mwalimu.quickstart.rows import generate_rows
from tests.finetune.jobs import sums
from tests.finetune.student.models import (
    FAMILIES,
    GROUPS,
    HEAD_DIM,
    HEADS,
    NEURONS,
    logits,
    make_family,
    student,
)
from tests.tiny import make_tiny_model

SILENT = (3, 40, 0, 12, 13, 47)
SILENT_GROUP, SILENT_NEURONS = 1, (0, 5, 63)
ALL_AT_ONCE = {"hidden": 42, "heads": 3, "intermediate": 61}


def prune(folder: Path, target: Path, rows: Any = None, **settings: Any) -> StudentConfig:
    config = student(folder, method="full", prune=settings, max_length=256)
    return pruned(config, sums(16) if rows is None else rows, target, lambda *_: None)


def opened(config: StudentConfig) -> Any:
    return AutoModelForCausalLM.from_pretrained(config.model)


def silence(model: Any) -> None:
    """Six channels, a group of heads and three neurons a layer that never say anything."""
    with torch.no_grad():
        model.get_input_embeddings().weight[:, SILENT] = 0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[list(SILENT)] = 0
            layer.mlp.down_proj.weight[list(SILENT)] = 0
            _silence_group(layer.self_attn)
            _silence_neurons(layer.mlp)


def _silence_group(attention: Any) -> None:
    start = SILENT_GROUP * HEAD_DIM
    if hasattr(attention, "qkv_proj"):
        start += (HEADS + GROUPS) * HEAD_DIM
        attention.qkv_proj.weight[start : start + HEAD_DIM] = 0
        return
    for parameter in attention.v_proj.parameters():
        parameter[start : start + HEAD_DIM] = 0


def _silence_neurons(mlp: Any) -> None:
    for neuron in SILENT_NEURONS:
        if hasattr(mlp, "gate_up_proj"):
            mlp.gate_up_proj.weight[NEURONS + neuron] = 0
        else:
            mlp.up_proj.weight[neuron] = 0


@pytest.mark.parametrize("family", FAMILIES)
def test_what_never_says_anything_goes_without_effect(tmp_path: Path, family: str) -> None:
    folder = make_family(tmp_path / "large", family)
    large = AutoModelForCausalLM.from_pretrained(folder)
    silence(large)
    large.save_pretrained(folder)
    expected = logits(large)
    small = opened(prune(folder, tmp_path / "small", **ALL_AT_ONCE))
    config = small.config
    sizes = (config.hidden_size, config.num_attention_heads, config.num_key_value_heads)
    assert (*sizes, config.intermediate_size) == (42, 3, 1, 61)
    torch.testing.assert_close(
        logits(small), expected, rtol=0, atol=1e-4 * float(expected.abs().max())
    )


@pytest.mark.parametrize("family", ["llama", "phi3", "gemma2", "qwen3"])
def test_pruning_nothing_changes_nothing(tmp_path: Path, family: str) -> None:
    folder = make_family(tmp_path / "large", family)
    expected = logits(AutoModelForCausalLM.from_pretrained(folder))
    everything = {"layers": 4, "hidden": 48, "heads": HEADS, "intermediate": NEURONS}
    small = opened(prune(folder, tmp_path / "small", **everything))
    assert torch.equal(logits(small), expected)


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen3", "smollm3"])
def test_layers_are_those_of_the_larger_model(tmp_path: Path, family: str) -> None:
    folder = make_family(tmp_path / "large", family)
    large = AutoModelForCausalLM.from_pretrained(folder)
    small = opened(prune(folder, tmp_path / "small", layers=[0, 1, 3]))
    kinds = getattr(large.config, "layer_types", None)
    if kinds:
        assert small.config.layer_types == [kinds[i] for i in (0, 1, 3)]
    if hasattr(large.config, "no_rope_layers"):
        assert small.config.no_rope_layers == [large.config.no_rope_layers[i] for i in (0, 1, 3)]
    # A layer that adds nothing is as good as none.
    with torch.no_grad():
        skipped = large.model.layers[2]
        skipped.self_attn.o_proj.weight.zero_()
        skipped.mlp.down_proj.weight.zero_()
    torch.testing.assert_close(logits(small), logits(large), rtol=0, atol=1e-5)


@pytest.mark.parametrize("arch", ["gpt2", "gpt_neox"])
def test_layers_go_in_families_of_other_names(tmp_path: Path, arch: str) -> None:
    folder = make_tiny_model(tmp_path / "large", arch=arch, layers=3)
    small = opened(prune(folder, tmp_path / "small", layers=2, layers_by="influence"))
    assert small.config.num_hidden_layers == len(decoder_layers(small)) == 2
    assert logits(small).isfinite().all()


@pytest.mark.parametrize(
    ("wanted", "depth", "kept"),
    [
        (4, 4, (0, 1, 2, 3)),
        (1, 4, (0,)),
        (2, 9, (0, 8)),
        (3, 9, (0, 4, 8)),
        (5, 8, (0, 2, 4, 5, 7)),
        (12, 32, (0, 3, 6, 8, 11, 14, 17, 20, 23, 25, 28, 31)),
    ],
)
def test_layers_are_spread_from_the_first_to_the_last(
    tmp_path: Path, wanted: int, depth: int, kept: tuple[int, ...]
) -> None:
    config = AutoConfig.for_model("llama", num_hidden_layers=depth)
    chosen = choose_kept(
        PruneConfig(layers=wanted), config, pruning.Importance.unknown(config)
    ).layers
    assert chosen == kept and len(set(chosen)) == wanted


def inputs_of(model: Any, endings: tuple[str, ...], ids: list[int]) -> dict[str, torch.Tensor]:
    """What modules read, by their name and the number of their layer; states by layer."""
    seen: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        return lambda _module, args: seen.__setitem__(name, args[0][0])

    hooks = [
        module.register_forward_pre_hook(watch(f"{name.split('.')[-1]} {name.split('.')[2]}"))
        for name, module in model.named_modules()
        if name.endswith(endings)
    ]
    # The last of output_hidden_states would be behind the final norm.
    norm, model.model.norm = model.model.norm, torch.nn.Identity()
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    model.model.norm = norm
    for hook in hooks:
        hook.remove()
    return seen | {f"state {i}": state[0] for i, state in enumerate(states)}


@torch.no_grad()
def test_importances_are_those_of_the_papers(tmp_path: Path) -> None:
    """Against plain loops in float64 over what the modules read."""
    folder = make_family(tmp_path, "qwen2")
    model = AutoModelForCausalLM.from_pretrained(folder).double()
    rows = [list(range(8, 20)), list(range(30, 37))]
    found = measure(model, rows, lambda _done: None)
    seen = [inputs_of(model, ("down_proj", "o_proj"), ids) for ids in rows]
    for i in range(4):
        moved, neurons, groups = [], torch.zeros(NEURONS), torch.zeros(GROUPS)
        for row in seen:
            for before, after in zip(row[f"state {i}"], row[f"state {i + 1}"], strict=True):
                moved.append(1 - before @ after / (before.norm() * after.norm()))
            neurons = neurons + row[f"down_proj {i}"].abs().mean(0) ** 2
            own = torch.zeros(GROUPS).double()
            for head in range(HEADS):
                said = row[f"o_proj {i}"][:, head * HEAD_DIM : (head + 1) * HEAD_DIM]
                own[head // (HEADS // GROUPS)] += said.norm(dim=1).mean()
            groups = groups + own**2
        assert found.layers[i] == pytest.approx(float(torch.stack(moved).mean()))
        torch.testing.assert_close(found.neurons_I[i], neurons.sqrt())
        torch.testing.assert_close(found.groups_G[i], groups.sqrt())


@torch.no_grad()
def test_a_channel_counts_by_what_the_norms_give_out(tmp_path: Path) -> None:
    folder = make_family(tmp_path, "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = list(range(8, 20))
    found = measure(model, [ids], lambda _done: None)
    seen = inputs_of(model, ("layernorm",), ids)
    expected = torch.zeros(48)
    for i in range(4):
        for name in ("input_layernorm", "post_attention_layernorm"):
            norm = model.model.layers[i].get_submodule(name)
            read = seen[f"{name} {i}"]
            expected += norm(read).abs().mean(0)
            energy = read.square().mean(0).double()
            found_H = found.energy_H[f"model.layers.{i}.{name}"]
            torch.testing.assert_close(found_H, energy, rtol=1e-5, atol=0)
    expected += model.model.norm(seen["state 4"]).abs().mean(0)
    torch.testing.assert_close(found.channels_H.float(), expected, rtol=1e-5, atol=0)


def test_the_layer_that_does_least_goes_first(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "large", "llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name, parameter in model.model.layers[2].named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.mul_(0.01)
    model.save_pretrained(folder)
    small = prune(folder, tmp_path / "small", layers=3, layers_by="influence")
    facts = json.loads((Path(small.model) / "pruned.json").read_text())
    assert facts["layers"] == [0, 1, 3] and facts["from"] == str(folder)
    assert min(facts["influence"]) == facts["influence"][2]


def test_a_pruned_folder_is_made_once_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_family(tmp_path / "large", "gemma2")
    first = prune(folder, tmp_path / "one", **ALL_AT_ONCE)
    prune(folder, tmp_path / "two", **ALL_AT_ONCE)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert "pruned.json" in names and "chat_template.jinja" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert first.prune is None and first.model == str(tmp_path / "one")
    config = student(folder, method="full", prune=ALL_AT_ONCE, max_length=256)
    assert started(config, tmp_path / "one") == first

    monkeypatch.setattr(pruning, "load_causal_lm", lambda *_: pytest.fail("made again"))
    assert prune(folder, tmp_path / "one", **ALL_AT_ONCE) == first


@pytest.mark.parametrize("change", ["other rows", "other sizes", "damage"])
def test_a_pruned_folder_of_something_else_is_made_anew(tmp_path: Path, change: str) -> None:
    folder = make_family(tmp_path / "large", "llama")
    prune(folder, tmp_path / "small", hidden=42)
    before = (tmp_path / "small" / "pruned.json").read_bytes()
    if change == "damage":
        (tmp_path / "small" / "model.safetensors").write_bytes(b"")
    rows = sums(16, seed=9) if change == "other rows" else None
    prune(folder, tmp_path / "small", rows, hidden=36 if change == "other sizes" else 42)
    after = (tmp_path / "small" / "pruned.json").read_bytes()
    assert (after == before) == (change == "damage")
    AutoModelForCausalLM.from_pretrained(tmp_path / "small")


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_family(tmp_path / "large", "llama")

    def no_facts(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "_facts", no_facts)
    with pytest.raises(KeyboardInterrupt):
        prune(folder, tmp_path / "small", layers=2)
    assert [p.name for p in tmp_path.iterdir()] == ["large"]


def test_a_model_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "large", "llama")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(StudentError, match="the model to be pruned cannot be loaded") as caught:
        prune(folder, tmp_path / "small", layers=2)
    assert "\n" not in str(caught.value)


def test_the_stored_precision_stays(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "large", "llama")
    AutoModelForCausalLM.from_pretrained(folder).bfloat16().save_pretrained(folder)
    small = opened(prune(folder, tmp_path / "small", hidden=42))
    assert small.dtype == torch.bfloat16


class Lessons:
    """The shop's rows for the shipped teacher, and plain training on them."""

    def __init__(self, tokenizer: Any) -> None:
        rows, held_out = generate_rows("train", 64, 0), generate_rows("validation", 24, 0)
        self.train, self.held_out = encode_splits(tokenizer, rows, held_out, 256)

    def loss(self, model: Any, rows: Any) -> torch.Tensor:
        batch = collate(rows, pad_id=0, device=torch.device("cpu"))
        logits_NV = model(input_ids=batch.ids_BT).logits.flatten(0, 1)[batch.positions_N]
        return torch.nn.functional.cross_entropy(logits_NV, batch.labels_N)

    def after(self, model: Any, steps: int) -> float:
        """Nats a token on the held-out rows."""
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        model.train()
        for step in range(steps):
            self.loss(model, self.train[8 * step : 8 * step + 8]).backward()
            optimiser.step()
            optimiser.zero_grad()
        with torch.no_grad():
            return float(self.loss(model.eval(), self.held_out))


@pytest.mark.parametrize(
    "settings",
    [{"layers": 2, "layers_by": "influence"}, {"hidden": 144, "intermediate": 384, "heads": 4}],
    ids=["depth", "width"],
)
def test_a_pruned_start_is_ahead_of_a_random_one(tmp_path: Path, settings: dict[str, Any]) -> None:
    teacher = Path(str(files("mwalimu.quickstart") / "teacher"))
    rows = generate_rows("train", 24, 1)
    small = prune(teacher, tmp_path / "small", rows, **settings)
    model, tokenizer = load_student(small, seed=0)
    lessons = Lessons(tokenizer)
    torch.manual_seed(0)
    chance = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(small.model))
    at_once = lessons.after(model, 0)
    assert at_once < math.log(839)  # what knowing nothing of 839 tokens is
    pruned_loss, random_loss = lessons.after(model, 6), lessons.after(chance, 6)
    assert pruned_loss < 0.3 * random_loss
    assert pruned_loss < 0.7 * at_once
