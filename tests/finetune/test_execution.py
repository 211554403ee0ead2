"""However a model is run, packed, recomputed or compiled, it learns the same; a step reads once."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.testing import CompileCounter
from torch.utils._python_dispatch import TorchDispatchMode

from mwalimu.config import PartConfig
from mwalimu.errors import ConfigError
from mwalimu.finetune.execution import checkpoint_activations, compile_layers, tell_if_padded
from mwalimu.finetune.loader import Loader
from mwalimu.finetune.teacher.view import TeacherView
from mwalimu.finetune.teaching import Teaching, accumulate
from mwalimu.objectives import fused
from mwalimu.objectives.layers import decoder_layers
from mwalimu.objectives.packing import BLOCKS
from tests.finetune.jobs import metrics, settings, sums, train, weights
from tests.finetune.models import make_model, make_rows
from tests.finetune.test_trainer import make_trainer
from tests.objectives.small import assert_same_gradients, gradients, with_lora

CPU = torch.device("cpu")


class OwnStates:
    """Teaches the states of a layer to be ones."""

    hidden_size = 16
    waits = False

    def look(self, batch: Any) -> TeacherView:
        return TeacherView(hidden={0: torch.ones(len(batch.labels_N), 16)})

    def ahead(self, batch: Any) -> None: ...

    def close(self) -> None: ...


PARTS = [PartConfig(kind="cross_entropy"), PartConfig(kind="hidden", layers=[[0, 0]])]


def learned(teaching: Teaching) -> dict[str, torch.Tensor]:
    model, rows = teaching.forward.model, make_rows(9)
    model.zero_grad()
    step = Loader(teaching, 0, CPU).step([(rows[:5], False), (rows[5:], False)])
    accumulate(teaching, step.batches, 0.0, step.views)
    return gradients(model)


@pytest.mark.parametrize("arch", ["llama", "gemma2"])
@pytest.mark.parametrize("lora", [False, True])
def test_recomputed_activations_give_the_same_gradients_to_the_bit(arch: str, lora: bool) -> None:
    """With packed rows and a tap on a layer."""
    model = make_model(arch)
    model = with_lora(model) if lora else model
    model.train()
    teaching = Teaching(model, PARTS, OwnStates(), packings=[BLOCKS])
    assert teaching.forward.why_padded == ""
    expected = learned(teaching)
    checkpoint_activations(model)
    runs: Counter[int] = Counter()
    for index, layer in enumerate(decoder_layers(model)):
        layer.mlp.register_forward_pre_hook(lambda *_, index=index: runs.update([index]))
    found = learned(teaching)
    assert runs == {0: 2 * 2, 1: 2}  # two passes, each made twice but for the last layer
    for name, grad in expected.items():
        assert torch.equal(found[name], grad), name


def test_a_model_that_cannot_recompute_says_so() -> None:
    model = make_model()
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"does not support.*set it to off"):
        checkpoint_activations(model)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo asks for it
def test_layers_are_compiled_once_for_all_shapes_and_give_the_same() -> None:
    model, rows = make_model().train(), make_rows(30)
    teaching = Teaching(model)
    steps = [[(rows[:4], False)], [(rows[4:9], False)], [(rows[9:21], False), (rows[21:], False)]]

    def run() -> list[dict[str, torch.Tensor]]:
        found = []
        for groups in steps:
            model.zero_grad()
            accumulate(teaching, Loader(teaching, 0, CPU).step(groups).batches)
            found.append(gradients(model))
        return found

    expected = run()
    torch._dynamo.reset()
    counter = CompileCounter()
    compile_layers(model, settings(), backend=counter)
    for found, wanted in zip(run(), expected, strict=True):
        assert_same_gradients(found, wanted)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"objective": [{"kind": "hidden", "layers": [[0, 0]]}]}, "hidden"),
        ({"objective": [{"kind": "attention", "layers": [[0, 0]]}]}, "attention"),
        ({"objective": "jsd", "on_policy": {"share": 0.5}}, "on_policy"),
    ],
)
def test_compiled_layers_are_refused_where_they_would_be_compiled_at_every_step(
    changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError, match=f"compiled layers do not go with {what}"):
        compile_layers(make_model(), settings(**changes))


class Reads(TorchDispatchMode):
    """Counts what makes a host wait for a device: its numbers are asked for."""

    ASK = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        by_mask = name.startswith("index") and any(
            isinstance(i, torch.Tensor) and i.dtype == torch.bool
            for i in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if name.startswith(self.ASK) or by_mask:
            self.asked[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What does not pass through a kernel on a CPU is counted where Python calls it."""
    mode = Reads()

    def counted(name: str) -> Any:
        real = getattr(torch.Tensor, name)

        def call(*arguments: Any, **options: Any) -> Any:
            mode.asked[name] += 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch, mode:
        for name in ("tolist", "numpy", "cpu"):
            patch.setattr(torch.Tensor, name, counted(name))
        # A CPU reads a factor that a GPU multiplies by.
        patch.setattr(fused, "_times", lambda g, factor: g if g is None else g.mul_(factor))
        yield mode.asked


@pytest.mark.parametrize(
    "changes", [{}, {"accumulation": 3, "batch_size": 3}, {"optimiser": "adamw_8bit"}]
)
def test_a_step_reads_the_device_once(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    trainer = make_trainer(tiny, tmp_path, **changes)
    first, *others = (trainer.ready(batches) for batches in trainer.epoch_steps())
    trainer.update(first, 1e-3)
    trainer.model.train()
    for step in others:
        with reads(monkeypatch) as asked:
            trainer.update(step, 1e-3)
        assert asked == {"tolist": 1}


def test_the_counter_above_sees_each_way_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.tensor([1.0, 0.0])
    with reads(monkeypatch) as asked:
        if tensor[0] > 0:
            int(tensor[0])
        _ = float(tensor[1]), tensor[0].item(), tensor.nonzero(), tensor[tensor > 0]
        _ = tensor.tolist(), tensor.cpu()
    once = dict.fromkeys(("nonzero", "index", "tolist", "cpu"), 1)
    assert asked == {"_local_scalar_dense": 4} | once


def student_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def test_packing_and_passes_change_nothing_but_rounding(tmp_path: Path, tiny: Path) -> None:
    ways = {
        "packed": {},
        "padded": {"packing": "off"},
        "by tokens": {"tokens_per_pass": 60},
        "recomputed": {"activation_checkpointing": "on"},
    }
    for name, changes in ways.items():
        train(tiny, tmp_path / name, validation=sums(8, seed=1), **{"packing": "on"} | changes)
    expected = student_of(tmp_path / "padded")
    losses = {n: [x["loss"] for x in metrics(tmp_path / n) if "loss" in x] for n in ways}
    for name in ways:
        for key, tensor in student_of(tmp_path / name).items():
            torch.testing.assert_close(tensor, expected[key], rtol=1e-3, atol=1e-4)
        assert losses[name] == pytest.approx(losses["padded"], rel=1e-3)
    assert weights(tmp_path / "recomputed") == weights(tmp_path / "packed")


@pytest.mark.parametrize("changes", [{"tokens_per_pass": 50}, {"optimiser": "adamw_8bit"}])
def test_interrupted_it_goes_on_to_the_same_bytes(
    tmp_path: Path, tiny: Path, changes: dict[str, Any]
) -> None:
    train(tiny, tmp_path / "whole", **changes)

    def press(_label: str, done: int, _total: int, text: str) -> None:
        if done == 5 and "loss" in text:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "stopped", on_progress=press, **changes)
    train(tiny, tmp_path / "stopped", **changes)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_packing_that_cannot_be_is_told_or_refused() -> None:
    attention = [PartConfig(kind="attention", layers=[[0, 0]])]
    teaching = Teaching(make_model(), attention, packings=[BLOCKS])
    assert teaching.forward.why_padded == "attention transfer compares maps of whole rows"
    notes: list[str] = []
    model = make_model()
    model.config.sliding_window = 4
    why = Teaching(model, packings=[BLOCKS]).forward.why_padded
    tell_if_padded(why, settings(), notes.append)
    assert notes == [f"rows are padded, not packed: {why}"]
    with pytest.raises(ConfigError, match=r"rows cannot be packed: .*set it to auto"):
        tell_if_padded(why, settings(packing="on"), notes.append)
