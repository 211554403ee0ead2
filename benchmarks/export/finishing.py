"""What quantisation-aware finishing gains: targets of a run exported with and without it.

    python benchmarks/export/finishing.py RUN --out DIR --targets gguf:int4:Q4_0 --rates 0.0001

RUN is a trained run whose config names test rows; it is copied to DIR, where a second call goes on.
Each line: accuracy on the test rows, and what the stage decided by the validation rows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from mwalimu import api
from mwalimu.config import TargetConfig


def target_of(text: str) -> TargetConfig:
    """Of FORMAT:PRECISION or FORMAT:PRECISION:SCHEME."""
    to, precision, *scheme = text.split(":")
    return TargetConfig.model_validate(
        {"to": to, "precision": precision, "scheme": scheme[0] if scheme else None}
    )


def exported(run: Path, target: TargetConfig, *settings: str) -> dict[str, Any]:
    """The entry of the export in the stage's summary."""
    always = ["export.targets=[]", "export.slots=8"]
    summary = api.export(run, [target], overrides=[*always, *settings])
    if summary["failed"]:
        raise SystemExit(summary["failed"][0]["why"])
    return dict(summary["exports"][0])


def told(interval: dict[str, float]) -> str:
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=["gguf:int4:Q4_0", "onnx:int4"])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rates", nargs="+", default=["null"])
    asked = parser.parse_args()
    if not asked.out.exists():
        shutil.copytree(asked.run, asked.out)
    for target in map(target_of, asked.targets):
        before = exported(asked.out, target, "export.finish=null")
        student = told(before["student"]["accuracy"])
        print(f"student {student}; {target.name} {told(before['accuracy'])}", flush=True)
        for rate in asked.rates:
            finish = f"{{above: 0, epochs: {asked.epochs}, learning_rate: {rate}}}"
            after = exported(asked.out, target, f"export.finish={finish}")
            why = after["finish"]["why"]
            print(f"  rate {rate}: {told(after['accuracy'])}; {why}", flush=True)


if __name__ == "__main__":
    main()
