"""What runs in each of several processes. It joins the world once and stays in it, so that many
jobs cost one start."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from mwalimu import cli
from mwalimu.data.tokenize import prepare_tokenizer
from mwalimu.errors import DiskFull, MwalimuError, TooFewAnswers
from mwalimu.finetune import rows as sharing
from mwalimu.finetune.files import save_tensors
from mwalimu.finetune.loader import Loader
from mwalimu.finetune.parallel.pieces import Pieces, part_of, share_of
from mwalimu.finetune.parallel.replicas import Replicas
from mwalimu.finetune.parallel.shards import Shards
from mwalimu.finetune.parallel.world import World, joined
from mwalimu.finetune.snapshot import Snapshot
from mwalimu.finetune.teacher.live import LiveTeacher
from mwalimu.finetune.teaching import Teaching
from mwalimu.finetune.trainer import Trainer
from mwalimu.finetune.watching.watch import Watch
from mwalimu.objectives.layers import decoder_layers
from mwalimu.objectives.packing import BLOCKS
from mwalimu.signals import SignalReader
from tests.finetune.jobs import train
from tests.finetune.models import make_model, make_rows
from tests.tiny import make_tokenizer

Job = dict[str, Any]


def train_each(_rank: int, jobs: dict[str, tuple[Path, Path, Job]]) -> dict[str, Any]:
    """By name: of a model, in a folder. The summaries."""
    with joined():
        return {n: train(model, folder, **job) for n, (model, folder, job) in jobs.items()}


def tell_each_other(rank: int, folder: Path) -> dict[str, Any]:
    """Of three processes."""
    with joined() as world:
        found: dict[str, Any] = {
            "rank and size": (world.rank, world.size, world.main),
            "short": world.gather({"rank": rank, "π": math.pi}),
            "long": [len(text) for text in world.gather("x" * (10 if rank else 5000))],
            "infinite": world.gather(math.inf if rank else -math.inf),
            "total": world.total([rank, {"a": 0.5} if rank else {"a": 1.0, "b": rank}]),
            "any": (world.any(rank == 2), world.any(rank == 3)),
            "from main": world.from_main(lambda: rank + 7),
        }
        with world.main_first():
            found["there before"] = (folder / "made").exists()
            (folder / "made").touch()
        for name, failing in (("agreed", 2), ("from main fails", 0)):
            found[name] = _raised(_fails, world, failing)
        return found


def _fails(world: World, failing: int) -> None:
    if failing == 0:
        world.from_main(_full)
        return
    with world.agreed():
        if world.rank == failing:
            raise TooFewAnswers("too few", where="here", fix="ask again")


def _full() -> None:
    raise DiskFull("no space", where="disk", fix="free some")


def _raised(function: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
    try:
        function(*arguments)
    except MwalimuError as error:
        return type(error).__name__, str(error)
    return "", ""


SHAPES = {"even": (6, 4), "uneven": (7, 3), "few": (2, 5), "one": (1, 2), "vector": (5,)}


def tensor_of(name: str) -> torch.Tensor:
    shape = SHAPES[name]
    return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape) + len(name)


def write_pieces(_rank: int, folder: Path) -> list[str]:
    """A cut tensor of each shape, and whole ones; the names that this process wrote."""
    with joined() as world:
        mesh = init_device_mesh("cpu", (world.size,))
        held: dict[str, torch.Tensor] = {
            name: distribute_tensor(tensor_of(name), mesh, [Shard(0)]) for name in SHAPES
        }
        held |= {f"whole-{i}": torch.full((i + 1,), float(i)) for i in range(5)}
        held["number"] = torch.tensor(3.0)
        own = share_of(held, world)
        save_tensors(folder / part_of("model.safetensors", world), own)
        return sorted(own)


def read_pieces(_rank: int, folder: Path) -> dict[str, list[Any]]:
    """What this process holds of each shape, cut anew."""
    with joined() as world, Pieces(folder, "model.safetensors") as saved:
        mesh = init_device_mesh("cpu", (world.size,))
        found = {}
        for name, shape in SHAPES.items():
            cut = distribute_tensor(torch.zeros(shape), mesh, [Shard(0)])
            found[name] = saved.read(name, cut).tolist()
        return found


def sum_gradients(rank: int) -> list[list[float] | None]:
    """Of parameters that both, one, none of the processes reached, after two passes."""
    with joined() as world:
        parameters = [torch.nn.Parameter(torch.full((2,), float(rank))) for _ in range(3)]
        replicas = Replicas(parameters, world)
        assert all(bool((p == 0).all()) for p in parameters)  # as in the main process
        for last in (False, True):
            loss = (parameters[0] * (rank + 1)).sum()
            if rank == 1:
                loss = loss + 5 * parameters[1].sum()
            replicas.backward(loss, last=last)
        return [None if p.grad is None else p.grad.tolist() for p in parameters]


def read_rows(_rank: int, model: Path, folder: Path, job: Job) -> list[list[str]]:
    """The keys that this process decoded, a list a training step of its own or so."""
    seen: list[list[str]] = []
    real = SignalReader.gather

    def gather(self: SignalReader, requests: Sequence[Any]) -> Any:
        seen.append([request.key.hex() for request in requests])
        return real(self, requests)

    SignalReader.gather = gather  # type: ignore[method-assign]
    train(model, folder, **job)
    return seen


def hold_shares(_rank: int) -> dict[str, bool]:
    """Whether this process holds a share alone, of each parameter, after each use of a student."""
    with joined() as world:
        model = make_model()
        shards = Shards(model, decoder_layers(model), world, autocast=False)
        ids_BT = torch.tensor([[1, 2, 3]])

        def cut() -> bool:
            return all(isinstance(p, DTensor) for p in model.parameters())

        found = {"begun": cut()}
        with torch.no_grad():
            expected = shards.run(lambda: model(input_ids=ids_BT).logits)
            found["without gradients"] = cut()
            with shards.whole():
                for _ in range(world.rank + 1):  # as often as each process likes
                    logits = shards.run(lambda: model(input_ids=ids_BT).logits)
            found["whole for a while"] = cut() and bool(torch.equal(logits, expected))
        shards.backward(shards.run(lambda: model(input_ids=ids_BT).logits.sum()), last=True)
        found["with gradients"] = cut() and all(p.grad is not None for p in model.parameters())
        return found


def teach_in_bfloat16(rank: int) -> tuple[float, float]:
    """Of packed rows, as on a GPU: the loss of all processes, and the largest distance of a summed
    gradient from that of one process under autocast, relative to its norm."""
    with joined() as world:
        rows = make_rows(8)
        scale = 1 / sum(row.targets for row in rows)
        alone, cut = make_model(), make_model()
        one, two = (Teaching(m, autocast=True, packings=(BLOCKS,)) for m in (alone, cut))
        shards = Shards(cut, decoder_layers(cut), world, autocast=True)
        for batch in Loader(one, 0, torch.device("cpu")).batches(rows):
            one(batch, scale, 0.0).loss.backward()
        loss = 0.0
        for batch in Loader(two, 0, torch.device("cpu")).batches(rows[rank::2]):
            term = shards.run(partial(two, batch, scale, 0.0))
            shards.backward(term.loss, last=True)
            loss += float(term.loss.detach())
        pairs = zip(alone.parameters(), cut.parameters(), strict=True)
        far = [(t.grad.full_tensor() - o.grad).norm() / o.grad.norm() for o, t in pairs]
        return world.total(loss), float(max(far))


def encode_rows(_rank: int, jobs: list[tuple[str | None, list[Any], list[Any]]]) -> list[Any]:
    """Of a template, rows and validation rows: (all examples, how many rows this process
    encoded), or what is raised."""
    counted: list[Any] = []
    real = sharing.examples_of

    def examples_of(row: dict[str, Any]) -> Any:
        counted.append(row)
        return real(row)

    sharing.examples_of = examples_of  # type: ignore[attr-defined]
    found: list[Any] = []
    with joined() as world:
        for template, rows, validation in jobs:
            counted.clear()
            tokenizer = make_tokenizer(template) if template else make_tokenizer()
            prepare_tokenizer(tokenizer)
            try:
                encoded = sharing.encode_splits(tokenizer, rows, validation, 64, world)
                found.append((encoded, len(counted)))
            except MwalimuError as error:
                found.append((type(error).__name__, str(error)))
    return found


def watch_work(_rank: int, model: Path, folder: Path, job: Job) -> tuple[list[list[int]], int]:
    """What this process is told of each step's work; the seed that its dropout drew from."""
    seen: list[list[int]] = []
    real = Watch.step

    def step(self: Watch, *of: Any) -> None:
        seen.append(list(of[-1]))
        real(self, *of)

    Watch.step = step  # type: ignore[method-assign]
    train(model, folder, **job)
    return seen, torch.initial_seed()


def teach_live(_rank: int, jobs: dict[str, tuple[Path, Path, Job]]) -> dict[str, float]:
    """By job: the share of the teacher's weights that this process holds."""
    held: list[Any] = []
    real = LiveTeacher.close

    def close(self: LiveTeacher) -> None:
        held.append(self.model)
        real(self)

    LiveTeacher.close = close  # type: ignore[method-assign]
    train_each(_rank, jobs)
    return dict(zip(jobs, map(_share_held, held), strict=True))


def _share_held(model: Any) -> float:
    own = [p.to_local() if hasattr(p, "to_local") else p for p in model.parameters()]
    return sum(p.numel() for p in own) / sum(p.numel() for p in model.parameters())


def train_until(
    rank: int, model: Path, folder: Path, job: Job, victim: int, how: str, step: int
) -> str:
    """How this process ends, where `victim` is killed, or told to stop, after `step`.

    `how`: a signal's name; or "save", killed in the middle of that step's checkpoint.
    """
    if rank == victim:
        _strike(how, step)
    try:
        train(model, folder, **job)
    except (MwalimuError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return "trained"


def notes_of(_rank: int, model: Path, folder: Path, job: Job) -> list[str]:
    """What this process reports."""
    seen: list[str] = []
    train(model, folder, **job, on_progress=lambda *call: seen.append(call[-1]))
    return seen


def _strike(how: str, step: int) -> None:
    real_count, real_write = Trainer._count, Snapshot.write

    def count(self: Trainer, done: Any) -> None:
        real_count(self, done)
        if self.state.step == step and how != "save":
            os.kill(os.getpid(), signal.Signals[how])

    def write(self: Snapshot, folder: Path) -> dict[str, str]:
        written = real_write(self, folder)
        if folder.name == f".step-{step}.tmp" and how == "save":
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    Trainer._count, Snapshot.write = count, write  # type: ignore[method-assign]


def spoil(rank: int, model: Path, folder: Path, jobs: dict[str, Job]) -> dict[str, tuple[str, str]]:
    """By job: what is raised where process 1 finds an infinite gradient in its own rows."""
    real = torch.Tensor.backward

    def backward(loss: torch.Tensor, *arguments: Any, **options: Any) -> None:
        real(loss * math.inf if rank == 1 else loss, *arguments, **options)

    torch.Tensor.backward = backward  # type: ignore[method-assign]
    with joined():
        return {name: _raised(_train, model, folder / name, job) for name, job in jobs.items()}


def _train(model: Path, folder: Path, job: Job) -> None:
    train(model, folder, **job)


def command(_rank: int, outputs: Path, *words: str) -> int:
    """The exit code of `mwalimu` with these words; what it prints goes to `outputs`/rank."""
    with _printed_to(outputs / str(_rank)):
        try:
            cli.main(lambda: cli.app(list(words), standalone_mode=False))
        except SystemExit as ending:
            return int(ending.code or 0)
        return 0


@contextmanager
def _printed_to(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    kept = [os.dup(1), os.dup(2)]
    for number in (1, 2):
        os.dup2(descriptor, number)
    try:
        yield
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
