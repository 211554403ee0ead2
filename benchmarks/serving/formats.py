"""One student on every runtime: speed, first token, memory, size, and what it still answers right.

    python benchmarks/serving/formats.py RUN            # a run folder with test rows: accuracy too
    python benchmarks/serving/formats.py --size 0.1b    # a random Llama of 98 million weights

Every measurement is a process of its own; engines take turns, and the best of the repeats counts.
Rates are of decoding alone. By processor time they are what an idle core shows on the clock,
whatever else runs on this machine; the clock's own stand beside. `memory` is the peak of the whole
process, `loading` what it rose by from loading on; `files` are all files of the export.

`--targets onnx:int4:rtn_last gguf:Q5_K_M` measures others, `--slots 8` adds rows of eight sequences
at once, `--loops` the runtimes' own loops (ONNX Runtime GenAI, llama_cpp.Llama). An answer is right
if its text is the reference's; `same` is the share whose text is that of float32.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engines

from mwalimu.config import PRECISIONS, TargetConfig

DEFAULT = ["onnx:int8", "onnx:int4", "gguf:Q8_0", "gguf:Q4_K_M", "openvino:int8", "openvino:int4"]
STUDENT = "transformers fp32"
LAYERS = {"0.1b": 12, "0.03b": 1}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    engine: Any
    folder: Path
    slots: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--size", choices=sorted(LAYERS))
    parser.add_argument("--targets", nargs="+", default=DEFAULT)
    parser.add_argument("--dir", type=Path, help="where exports are kept for another time")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=600, help="test rows to answer at most")
    parser.add_argument("--loops", action="store_true")
    options = parser.parse_args()
    if (options.run is None) == (options.size is None):
        parser.error("name a run folder, or --size")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.dir or Path(scratch)
        student = _student(options, folder)
        exports = {text: _export(student, folder, _target(text)) for text in options.targets}
        rates = _measure(_cases(student, exports, options), options)
        print(_table(rates), flush=True)
        if options.run:
            print(_accuracy(options.run, student, exports, options.rows))


def _student(options: argparse.Namespace, folder: Path) -> Path:
    if options.run:
        return Path(options.run) / "finetune" / "student"
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from mwalimu.data.loading import load_tokenizer
    from mwalimu.quickstart import recipe

    made = folder / f"student-{options.size}"
    if made.exists():
        return made
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=LAYERS[options.size],
        num_attention_heads=12,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    load_tokenizer(str(Path(recipe.__file__).parent / "student")).save_pretrained(made)
    LlamaForCausalLM(config).save_pretrained(made)
    return made


def _target(text: str) -> TargetConfig:
    """Of format:precision, format:scheme or format:precision:scheme."""
    to, *rest = text.split(":")
    words = {("precision" if word in PRECISIONS else "scheme"): word for word in rest}
    return TargetConfig.model_validate({"to": to} | words)


def _export(student: Path, folder: Path, target: TargetConfig) -> Path:
    from mwalimu.export.make import make

    made = folder / target.name
    if not (made / "export.json").exists():
        make(student, made, target)
    return made


def _cases(student: Path, exports: dict[str, Path], options: argparse.Namespace) -> list[Case]:
    cases = [Case(STUDENT, engines.generate, student, 1)]
    loops = {"onnx": ("GenAI's loop", engines.genai), "gguf": ("Llama's loop", engines.llama)}
    for text, made in exports.items():
        cases.append(Case(text, engines.decoder, made, 1))
        if options.slots > 1:
            name = f"{text}, {options.slots} slots"
            cases.append(Case(name, engines.decoder, made, options.slots))
        if options.loops and (loop := loops.get(text.split(":")[0])):
            cases.append(Case(f"{text}, {loop[0]}", loop[1], made, 1))
    return cases


def _measure(
    cases: Sequence[Case], options: argparse.Namespace
) -> dict[Case, list[engines.Measured]]:
    found: dict[Case, list[engines.Measured]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for case in cases:
            shape = (options.prompt, options.tokens, case.slots, options.threads)
            found[case].append(engines.measured(case.engine, str(case.folder), *shape))
    return found


def _table(found: dict[Case, list[engines.Measured]]) -> str:
    lines = [
        "| | tokens/s, processor | by the clock | first token, ms | by the clock | memory, MB "
        "| loading, MB | files, MB | speed | memory |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    whole: tuple[float, float] | None = None
    for case, runs in found.items():
        speed = max(run.tokens / run.decoding.processor for run in runs)
        clock = max(run.tokens / run.decoding.clock for run in runs)
        first = min(run.first.processor for run in runs), min(run.first.clock for run in runs)
        memory, loading = min(run.memory for run in runs), min(run.loading for run in runs)
        whole = whole or (speed, memory)
        lines.append(
            f"| {case.name} | {speed:,.0f} | {clock:,.0f} | {1000 * first[0]:,.1f} "
            f"| {1000 * first[1]:,.1f} | {memory:,.0f} | {loading:,.0f} | {_mb(case.folder):,.2f} "
            f"| {speed / whole[0]:.1f}x | {memory / whole[1]:.2f}x |"
        )
    return "\n".join(lines)


def _mb(folder: Path) -> float:
    """Of what a runtime loads: the model without tokenizers and samples."""
    names = ("model*", "openvino_model.*", "*.safetensors", "*.gguf")
    return sum(path.stat().st_size for path in {p for n in names for p in folder.glob(n)}) / 1e6


def _accuracy(run: Path, student: Path, exports: dict[str, Path], rows: int) -> str:
    from mwalimu.config import load_config
    from mwalimu.data.dataset import load_records
    from mwalimu.data.loading import load_tokenizer
    from mwalimu.data.tokenize import encode_prompt
    from mwalimu.export.make import make
    from mwalimu.runtimes import load_decoder, read_export
    from mwalimu.runtimes.generation import greedy

    config = load_config(run / "config.yaml")
    if config.data.test is None:
        return "the run has no test rows"
    records = list(load_records(config.data.test, task=config.task, split="test"))[:rows]
    tokenizer = load_tokenizer(str(student))
    prompts = [encode_prompt(tokenizer, one.messages, one.tools) for one in records]
    lines, whole = ["| | right | same |", "|---|--:|--:|"], list[str]()
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "plain")
        make(student, plain, TargetConfig(to="safetensors"))
        for name, folder in {STUDENT: plain, **exports}.items():
            decoder = load_decoder(folder, slots=8, threads=1)
            ends = read_export(folder).ends
            answers = greedy(decoder, prompts, ends=ends, max_tokens=config.evaluate.max_tokens)
            texts = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers]
            decoder.close()
            whole = whole or texts
            same = sum(a == b for a, b in zip(texts, whole, strict=True)) / len(records)
            references = [(one.reference or "").strip() for one in records]
            right = sum(a == b for a, b in zip(texts, references, strict=True)) / len(records)
            lines.append(f"| {name} | {right:.1%} | {same:.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
