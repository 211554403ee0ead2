"""ONNX with GroupQueryAttention, for ONNX Runtime on CPUs and ONNX Runtime GenAI."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mwalimu.config import Precision, TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import ending_ids
from mwalimu.errors import ConfigError
from mwalimu.export.built import Built, context_of, versions_of
from mwalimu.export.onnx_graph import GRAPH, SETTINGS, WEIGHTS, write_graph
from mwalimu.export.onnx_halves import halve

SAMPLES = Path(__file__).parent / "samples"

MEANINGS: dict[Precision, str] = {
    "fp32": "weights and arithmetic float32",
    "fp16": "weights float16 in the file, float32 in memory and in arithmetic",
    "int8": "matrices int8 in blocks of 32 with a scale each, their inputs int8 too; "
    "embedding float16",
    "int4": "matrices int4 in blocks of 32 with a scale each, their inputs int8; "
    "embedding int4 where it is the head as well, float16 where not",
}
SCHEMES = ("rtn", "rtn_last", "k_quant", "k_quant_last", "k_quant_mixed")
"""The builder's names of how a block's scale is found, and which matrices of int4 keep 8 bits."""


def made_with() -> dict[str, str | None]:
    return versions_of("onnxruntime-genai", "onnxruntime", "onnx", "onnx-ir", "transformers")


def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """In any precision, as MEANINGS says; `int8` and `int4` may name one of SCHEMES.

    The quantisers look at weights alone, so `calibration` is not read. Beside the graph lie a
    sample program in Python and one in JavaScript.

    Raises:
        ConfigError: no such scheme, or not for these shapes.
        StudentError: the architecture cannot be expressed.
        MissingDependency: the exporter is not installed.
    """
    scheme = _scheme(source, target)
    note(f"onnx {target.precision}: {MEANINGS[target.precision]}")
    write_graph(
        source,
        folder,
        precision=target.precision if scheme else "fp32",
        provider="cpu",
        options={"algo_config": scheme} if scheme else {},
    )
    if target.precision != "fp32":
        halve(folder / GRAPH, WEIGHTS, matrices=not scheme)
    (folder / WEIGHTS).chmod(0o644)  # made for one's own eyes; a server reads as another user
    _end_alike(folder)
    for kind in ("py", "js"):
        shutil.copyfile(SAMPLES / f"onnx.{kind}", folder / f"sample.{kind}")
    return Built(GRAPH, context_of(source))


def _scheme(source: Path, target: TargetConfig) -> str | None:
    """None where nothing is quantised."""
    where, quantised = "export.targets", target.precision in ("int8", "int4")
    if target.scheme is not None and (not quantised or target.scheme not in SCHEMES):
        raise ConfigError(
            f"onnx has no scheme {target.scheme} of {target.precision}",
            where=where,
            fix=f"take int8 or int4 with one of {', '.join(SCHEMES)}, or leave it out",
        )
    scheme = target.scheme or "rtn"
    if scheme.startswith("k_quant") and target.precision == "int4":
        config = json.loads((source / "config.json").read_bytes())
        odd = [size for size in ("hidden_size", "intermediate_size") if config[size] % 64]
        if odd:  # two blocks' zero points share a byte
            raise ConfigError(
                f"{scheme} of int4 needs a student whose {' and '.join(odd)} divide by 64",
                where=where,
                fix="take scheme rtn, or int8",
            )
    return scheme if quantised else None


def _end_alike(folder: Path) -> None:
    """ONNX Runtime GenAI ends an answer where the other runtimes do."""
    from transformers import GenerationConfig

    path = folder / SETTINGS
    settings = json.loads(path.read_bytes())
    ends = ending_ids(GenerationConfig.from_pretrained(folder), load_tokenizer(str(folder)))
    settings["model"]["eos_token_id"] = sorted(ends)
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
