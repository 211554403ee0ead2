"""OpenVINO's format: a stateful model with its own key-value cache, as openvino-genai expects it.

Inputs: `input_ids`, `attention_mask`, `position_ids` [batch, ids] and `beam_idx` [batch], which row
of the cache each row goes on from; output: `logits` [batch, ids, vocabulary].
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.config import TargetConfig
from mwalimu.errors import StudentError
from mwalimu.export.built import Built, context_of, versions_of
from mwalimu.export.openvino_weights import compress, plan_of
from mwalimu.export.traceable import load_traceable, traced
from mwalimu.runtimes.openvino_library import openvino_library
from mwalimu.runtimes.signal_stack import kept_signal_stack

_COUNTED = re.compile(r"[A-Za-z]\w*_\d+(\.\d+)?")
MODEL = "openvino_model.xml"
SAMPLE = Path(__file__).with_name("samples") / "openvino.py.txt"


def made_with() -> dict[str, str | None]:
    return versions_of(
        "openvino", "openvino-genai", "openvino-tokenizers", "nncf", "torch", "transformers"
    )


@kept_signal_stack()
def build(
    source: Path,
    folder: Path,
    target: TargetConfig,
    *,
    calibration: Sequence[Sequence[int]],
    note: Callable[[str], None],
) -> Built:
    """In fp32, fp16, int8 or int4; `calibration` makes int4 look at data (AWQ, scale estimation).

    Raises:
        ConfigError: NNCF has no such scheme.
        StudentError: it cannot be loaded, or OpenVINO cannot express it.
        MissingDependency: the extra `openvino` is not installed.
    """
    plan = plan_of(target)
    openvino = openvino_library()
    model = load_traceable(source)
    stateful = convert(model, openvino, where=str(source))
    compressed = compress(stateful, plan, calibration, openvino)
    for name, value in plan.runtime_options.items():
        compressed.set_rt_info(value, ["runtime_options", name])
    _save(compressed, folder / MODEL, openvino, half=target.precision == "fp16")
    model.config.save_pretrained(folder)
    note(_write_tokenizer(folder, openvino))
    shutil.copyfile(SAMPLE, folder / "sample.py")
    return Built(MODEL, context_of(source))


def convert(model: Any, openvino: Any, *, where: str) -> Any:
    """The model as a stateful `openvino.Model`. Raises StudentError."""
    import torch
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module = traced(model)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a trace reads every attribute, deprecated ones too
            module(**module.example)  # longrope makes its second set of frequencies when first run
            once = {"check_trace": False}  # the weights are decided: a second trace is the same
            decoder = TorchScriptPythonDecoder(
                module, example_input=module.example, trace_kwargs=once
            )
            converted = openvino.convert_model(decoder)
    except Exception as error:  # the frontend raises its own kinds, and torch's
        reason = str(error).strip().splitlines()[0]
        raise StudentError(f"OpenVINO cannot express it ({reason})", where=where) from error
    _name(converted, module)
    _make_stateful(converted, module.layers, openvino)
    return converted


def _pairs(layers: int) -> list[tuple[str, str]]:
    """Names of the cache's inputs and of its outputs, those of optimum."""
    kinds = [f"{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
    return [(f"past_key_values.{kind}", f"present.{kind}") for kind in kinds]


def _name(model: Any, module: Any) -> None:
    """Names, and shapes in which batch and lengths are open."""
    from openvino import PartialShape

    pairs = _pairs(module.layers)
    ids = ("input_ids", "attention_mask", "position_ids")
    for port, name in zip(model.inputs, [*ids, *(past for past, _ in pairs)], strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        shape = [-1, -1] if name in ids else [-1, module.heads, -1, module.width]
        port.get_node().set_partial_shape(PartialShape(shape))
    for port, name in zip(model.outputs, ["logits", *(now for _, now in pairs)], strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    model.validate_nodes_and_infer_types()


def _make_stateful(model: Any, layers: int, openvino: Any) -> None:
    """Turns the cache's inputs and outputs into states, empty at first, reordered by `beam_idx`."""
    from openvino._offline_transformations import apply_make_stateful_transformation

    operations = openvino.opset13
    beams = operations.parameter([-1], np.int32, name="beam_idx")
    beams.output(0).get_tensor().set_names({"beam_idx"})
    model.add_parameters([beams])
    for past, _ in _pairs(layers):
        parameter = model.input(past).get_node()
        readers = parameter.output(0).get_target_inputs()
        chosen = operations.gather(parameter, beams, operations.constant(0))
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, dict(_pairs(layers)))
    rows = operations.gather(
        operations.shape_of(model.input("input_ids").get_node(), output_type="i64"),
        operations.constant([0]),
        operations.constant(0),
    )
    for state in model.get_ops():
        if state.get_type_name() == "ReadValue":
            shape = state.get_output_partial_shape(0)
            heads, width = shape[1].get_length(), shape[3].get_length()
            empty = operations.concat([rows, operations.constant([heads, 0, width])], axis=0)
            zero = operations.constant(0.0, dtype=np.float32)
            state.set_arguments([operations.broadcast(zero, empty)])
    model.validate_nodes_and_infer_types()


def _save(model: Any, path: Path, openvino: Any, *, half: bool = False) -> None:
    """OpenVINO names by a count of what the process has made; here by one of what the model has, so
    that equal models are equal bytes."""
    model.set_friendly_name(path.stem)
    for number, operation in enumerate(model.get_ordered_ops()):
        if _COUNTED.fullmatch(operation.get_friendly_name()):
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
        for output in operation.outputs():
            names = output.get_names()
            kept = {name for name in names if not _COUNTED.fullmatch(name)}
            if kept != names:
                output.set_names(kept or {f"{operation.get_type_name()}_{number}_{output.index}"})
    openvino.save_model(model, path, compress_to_fp16=half)


def _write_tokenizer(folder: Path, openvino: Any) -> str:
    """The tokenizer as OpenVINO models, where its kind can be; how that went."""
    from mwalimu.data.loading import load_tokenizer

    tokenizers = openvino_library("openvino_tokenizers")
    try:
        pair = tokenizers.convert_tokenizer(load_tokenizer(str(folder)), with_detokenizer=True)
    except Exception as error:
        return f"OpenVINO has no such tokenizer ({error}): sample.py takes transformers' own"
    for model, name in zip(pair, ("openvino_tokenizer", "openvino_detokenizer"), strict=True):
        _save(model, folder / f"{name}.xml", openvino)
    return "the tokenizer is an OpenVINO model too"
