"""The ONNX graph: bytes in, calibrated probability of harm and label scores out, the featuriser inside.

The nodes repeat `features.hash_ngrams` step by step in int64; a golden test holds the two together through the output
`buckets`. Nothing here learns: weights come in as arrays. The file that is written depends on those arrays alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from . import features

OPSET: Final = 18
IR_VERSION: Final = 9
"""Old enough for every onnxruntime from 1.17 on, new enough for opset 18."""


class GraphBuilder:
    """Collects nodes and constants under readable names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


def build(
    weights: NDArray[np.float16],
    label_weights: NDArray[np.int8],
    label_scale: NDArray[np.float32],
    label_bias: NDArray[np.float32],
    slope: float,
    offset: float,
    metadata: dict[str, str],
) -> bytes:
    """Serialise the model; `probability = sigmoid(slope * mean_weight + offset)` with the calibration folded in.

    Shapes: `weights` (buckets,), `label_weights` (buckets, labels), `label_scale` and `label_bias` (labels,).
    """
    graph = GraphBuilder()
    _hash_nodes(graph)
    _presence_nodes(graph)
    _harm_nodes(graph, weights, slope, offset)
    _label_nodes(graph, label_weights, label_scale, label_bias)
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("labels", TensorProto.FLOAT, [label_weights.shape[1]]),
        helper.make_tensor_value_info("buckets", TensorProto.INT64, ["ngrams"]),
    ]
    inputs = [helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["length"])]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "harm", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="guard harm classifier",
    )
    for key in sorted(metadata):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, metadata[key]
    onnx.checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)


def _hash_nodes(graph: GraphBuilder) -> None:
    for name, value in (("one", 1), ("step", features.STEP), ("mix", features.MIX), ("mask", features.STATE_MASK)):
        graph.constant(name, np.array(value, dtype=np.int64))
    graph.constant("shift", np.array(features.STATE_BITS - features.BITS, dtype=np.uint64))
    graph.constant("far", np.array([np.iinfo(np.int64).max], dtype=np.int64))
    graph.constant("start0", np.array([0], dtype=np.int64))
    graph.add("Cast", ["bytes"], "wide", to=TensorProto.INT64)
    graph.add("Add", ["wide", "one"], "symbols")
    state, states = "symbols", []
    for n in range(1, features.N_MAX + 1):
        if n > 1:
            graph.constant(f"start{n - 1}", np.array([n - 1], dtype=np.int64))
            graph.constant(f"end{n}", np.array([-1], dtype=np.int64))
            graph.add("Slice", ["symbols", f"start{n - 1}", "far"], f"tail{n}")
            graph.add("Slice", [state, "start0", f"end{n}"], f"head{n}")
            state = graph.add("Add", [f"head{n}", f"tail{n}"], f"joined{n}")
        graph.add("Mul", [state, "step"], f"product{n}")
        state = graph.add("BitwiseAnd", [f"product{n}", "mask"], f"state{n}")
        states.append(state)
    graph.add("Concat", states, "states", axis=0)
    graph.add("Mul", ["states", "mix"], "mixed")
    graph.add("BitwiseAnd", ["mixed", "mask"], "masked")
    graph.add("Cast", ["masked"], "unsigned", to=TensorProto.UINT64)
    graph.add("BitShift", ["unsigned", "shift"], "shifted", direction="RIGHT")
    graph.add("Cast", ["shifted"], "buckets", to=TensorProto.INT64)


def _presence_nodes(graph: GraphBuilder) -> None:
    """Mark one n-gram of each bucket: every n-gram writes its position into its bucket's slot, the one found there wins."""
    graph.constant("slots", np.zeros(1 << features.BITS, dtype=np.int32))
    graph.constant("one32", np.array(1, dtype=np.int32))
    graph.constant("zero32", np.array(0, dtype=np.int32))
    graph.constant("axis0", np.array([0], dtype=np.int64))
    graph.add("Size", ["buckets"], "count")
    graph.add("Cast", ["count"], "count32", to=TensorProto.INT32)
    graph.add("Range", ["zero32", "count32", "one32"], "positions")
    graph.add("ScatterElements", ["slots", "buckets", "positions"], "taken", axis=0)
    graph.add("Gather", ["taken", "buckets"], "winner", axis=0)
    graph.add("Equal", ["winner", "positions"], "first")
    graph.add("Cast", ["first"], "present", to=TensorProto.FLOAT)
    graph.add("ReduceSum", ["present", "axis0"], "distinct", keepdims=1)
    graph.add("Sqrt", ["distinct"], "length_norm")


def _harm_nodes(graph: GraphBuilder, weights: NDArray[np.float16], slope: float, offset: float) -> None:
    graph.constant("weights", weights)
    graph.constant("slope", np.array([slope], dtype=np.float32))
    graph.constant("offset", np.array([offset], dtype=np.float32))
    graph.add("Gather", ["weights", "buckets"], "weight16", axis=0)
    graph.add("Cast", ["weight16"], "weight", to=TensorProto.FLOAT)
    graph.add("Mul", ["weight", "present"], "counted")
    graph.add("ReduceSum", ["counted", "axis0"], "total", keepdims=1)
    graph.add("Div", ["total", "length_norm"], "margin")
    graph.add("Mul", ["margin", "slope"], "sloped")
    graph.add("Add", ["sloped", "offset"], "logit")
    graph.add("Sigmoid", ["logit"], "probability")


def _label_nodes(
    graph: GraphBuilder,
    weights: NDArray[np.int8],
    scale: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> None:
    graph.constant("label_weights", weights)
    graph.constant("label_scale", scale)
    graph.constant("label_bias", bias)
    graph.constant("row", np.array([1, -1], dtype=np.int64))
    graph.constant("flat", np.array([-1], dtype=np.int64))
    graph.add("Gather", ["label_weights", "buckets"], "label8", axis=0)
    graph.add("Cast", ["label8"], "label_values", to=TensorProto.FLOAT)
    graph.add("Reshape", ["present", "row"], "present_row")
    graph.add("MatMul", ["present_row", "label_values"], "label_totals")
    graph.add("Reshape", ["label_totals", "flat"], "label_flat")
    graph.add("Div", ["label_flat", "length_norm"], "label_mean")
    graph.add("Mul", ["label_mean", "label_scale"], "label_scaled")
    graph.add("Add", ["label_scaled", "label_bias"], "labels")
