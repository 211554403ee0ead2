"""The model builder of ONNX Runtime GenAI, asked in process and in its own words."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mwalimu.config import Precision
from mwalimu.errors import MissingDependency, StudentError
from mwalimu.runtimes.onnx_telemetry import switch_off

GRAPH, WEIGHTS, SETTINGS = "model.onnx", "model.onnx.data", "genai_config.json"
CONFIG = "config.json"


def write_graph(
    source: Path,
    folder: Path,
    *,
    precision: Precision,
    provider: str,
    options: dict[str, str],
) -> None:
    """Puts GRAPH, WEIGHTS, SETTINGS and CONFIG into `folder`, and nothing else.

    `provider` (cpu, webgpu, ...) decides which operators the graph may use; `options` are the
    builder's `extra_options`. Prompts are read whole, but logits made of their last id alone, and
    every layer keeps the whole context. Needs memory for the float weights twice.

    Raises:
        StudentError: the builder does not know the architecture, or cannot express it.
        MissingDependency: it is not installed.
    """
    with _silence():
        create_model, parse_extra_options = _builder()
    asked = {"hf_token": "false", "prune_lm_head": "true", "windowed_kv_cache": "false"} | options
    pairs = [f"{key}={value}" for key, value in asked.items()]
    with TemporaryDirectory(dir=folder, prefix=".builder.") as scratch, _silence():
        made, cache = Path(scratch, "made"), Path(scratch, "cache")
        place = (None, str(source), str(made), precision, provider, str(cache))
        try:
            prepared = parse_extra_options(*place, pairs)
            config = prepared["hf_details"]["hf_config"]
            _fits(config)
            config.save_pretrained(made)
            _respell(config)
            create_model(*place, **prepared)
        except Exception as error:  # whatever a model outside its families runs into
            raise StudentError(
                f"cannot be expressed in ONNX by onnxruntime-genai ({_line(error)})",
                where=str(source),
                fix="take a student of another family, or another format such as gguf",
            ) from error
        for name in (GRAPH, WEIGHTS, SETTINGS, CONFIG):
            (made / name).rename(folder / name)


def _builder() -> tuple[Callable[..., Any], Callable[..., Any]]:
    switch_off()
    try:
        from onnxruntime_genai.models.builder import create_model, parse_extra_options
    except ImportError as error:
        raise MissingDependency(
            f"the ONNX exporter is not installed ({error})",
            where="export.targets",
            fix="pip install 'mwalimu[onnx]'",
        ) from None
    return create_model, parse_extra_options


def _fits(config: Any) -> None:
    """Raises ValueError for what the builder writes and GroupQueryAttention then refuses."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    turned = int(head * rope.get("partial_rotary_factor", 1.0))
    if head % 16 or turned % 16:
        raise ValueError(f"{turned} of a head's {head} numbers turn, not multiples of 16")


def _respell(config: Any) -> None:
    """What the builder overlooks in a config of transformers 5, spelt as it was before."""
    rope = getattr(config, "rope_parameters", None)
    if not rope:
        return
    if "full_attention" in rope:  # a mapping for every kind of layer, as Gemma 3 has it
        config.rope_local_base_freq = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    config.rope_parameters = rope | {"type": rope["rope_type"]}
    config.original_max_position_embeddings = rope.get(
        "original_max_position_embeddings", config.max_position_embeddings
    )
    windowed = getattr(config, "sliding_window", None) and not getattr(config, "layer_types", None)
    if windowed:  # in every layer, which it takes for none
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """It reports every tensor on both streams, and its quantiser sets up logging for everyone."""
    nowhere, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
