"""mwalimu's trainer, as `mwalimu finetune` makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speed_work import OPTIMISER, model_of, rows_of

from mwalimu.config import FinetuneConfig
from mwalimu.data.tokenize import Encoded
from mwalimu.finetune.exact import deterministic
from mwalimu.finetune.trainer import Job, Trainer
from mwalimu.finetune.watching.flops import Flops, Work


def packed(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    _train(gate, facts, steps, folder, "auto")


def padded(gate: Any, facts: dict[str, Any], steps: int, folder: Path) -> None:
    _train(gate, facts, steps, folder, "off")


def _train(gate: Any, facts: dict[str, Any], steps: int, folder: Path, packing: str) -> None:
    case = gate.case
    rows = [
        Encoded.of(row.ids, [place >= row.prompt for place in range(len(row.ids))])
        for row in rows_of(case, steps)
    ]
    model = model_of(case, gate.device)
    settings = FinetuneConfig(
        batch_size=case.rows, epochs=1, save_every=10**9, packing=packing, **OPTIMISER
    )
    with deterministic():
        job = Job(settings, rows, (), 0, 0, "speed", autocast=gate.device.type == "cuda")
        trainer = Trainer(model, job, folder, lambda *_: None)
        update = trainer.update

        def counted(ready: Any, rate: float) -> Any:
            done = update(ready, rate)
            gate.count(sum(len(row.ids) for row in ready.rows), done.loss)
            gate.passed()
            return done

        trainer.update = counted
        work = Work.of(rows)
        facts["flops_per_token"] = Flops(model).of(work) / work.tokens
        gate.open(facts)
        trainer.fit()
