"""Float16 in the file, float32 in the arithmetic: CPUs mostly have no float16 of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mwalimu.errors import StudentError


def halve(graph: Path, weights_file: str, *, matrices: bool) -> None:
    """Stores the embedding of a float32 graph as float16, and with `matrices` all others too.

    An embedding is cast after its rows are taken, so it stays small in memory; a matrix is cast
    once, when the graph is loaded. Needs memory for the whole model.

    Raises:
        StudentError: a weight is beyond float16 (65504).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(graph)
    floats = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    # A head that is also the embedding is turned round before its rows are taken.
    turned = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Transpose"}
    halved: set[str] = set()
    nodes: list[Any] = []

    def cast(half: str, whole: str) -> Any:
        return helper.make_node("Cast", [half], [whole], to=TensorProto.FLOAT, name=f"{half}/Cast")

    for node in model.graph.node:
        table = turned.get(node.input[0], node.input[0]) if node.input else ""
        if node.op_type == "Gather" and table in floats:
            halved.add(table)
            whole = node.output[0]
            node.output[0] = f"{whole}/half"
            nodes += [node, cast(node.output[0], whole)]
        elif node.op_type == "MatMul" and matrices and node.input[1] in floats:
            halved.add(node.input[1])
            whole = f"{node.input[1]}/whole"
            nodes += [cast(node.input[1], whole), node]
            node.input[1] = whole
        else:
            nodes.append(node)
    for name in halved:
        values = numpy_helper.to_array(floats[name])
        if not np.all(np.abs(values) <= np.finfo(np.float16).max):
            raise StudentError(
                f"cannot be stored as float16: {name} has a weight beyond 65504",
                where=str(graph),
                fix="take precision fp32",
            )
        floats[name].CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    (graph.parent / weights_file).unlink()
    onnx.save(model, graph, save_as_external_data=True, location=weights_file)
