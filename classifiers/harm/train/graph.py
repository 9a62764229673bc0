"""The ONNX graph: bytes in, calibrated probability of harm and label scores out, the featuriser inside.

The nodes repeat `features.hash_ngrams` step by step in int64; a golden test holds the two together through the outputs
`buckets` and `line_keys`. Nothing here learns: weights come in as arrays. The file that is written depends on those arrays alone.
"""

from __future__ import annotations

from typing import Any, Final

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

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
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
    """Serialise the model; `probability = sigmoid(slope * margin + offset)`, where the margin is the higher of the whole text's and its best line's.

    Shapes: `weights` (buckets,), `label_weights` (buckets, labels), `label_scale` and `label_bias` (labels,).
    """
    graph = GraphBuilder()
    _hash_nodes(graph)
    _presence_nodes(graph)
    graph.constant("weights", weights)
    graph.constant("slope", np.array([slope], dtype=np.float32))
    graph.constant("offset", np.array([offset], dtype=np.float32))
    _whole_margin_nodes(graph)
    _line_key_nodes(graph)
    _line_margin_nodes(graph)
    graph.add("Max", ["margin", "line_margin"], "highest_margin")
    graph.add("Mul", ["highest_margin", "slope"], "sloped")
    graph.add("Add", ["sloped", "offset"], "logit")
    graph.add("Sigmoid", ["logit"], "probability")
    _label_nodes(graph, label_weights, label_scale, label_bias)
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("labels", TensorProto.FLOAT, [label_weights.shape[1]]),
        helper.make_tensor_value_info("buckets", TensorProto.INT64, ["ngrams"]),
        helper.make_tensor_value_info("line_keys", TensorProto.INT64, ["ngrams"]),
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
    serialised: bytes = proto.SerializeToString(deterministic=True)
    return serialised


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


def _whole_margin_nodes(graph: GraphBuilder) -> None:
    graph.add("Gather", ["weights", "buckets"], "weight16", axis=0)
    graph.add("Cast", ["weight16"], "weight", to=TensorProto.FLOAT)
    graph.add("Mul", ["weight", "present"], "counted")
    graph.add("ReduceSum", ["counted", "axis0"], "total", keepdims=1)
    graph.add("Div", ["total", "length_norm"], "margin")


def _line_key_nodes(graph: GraphBuilder) -> None:
    """As `features.line_keys`, sorted but with repetitions, and with the largest integer for n-grams of no line."""
    graph.constant("newline", np.array(ord("\n"), dtype=np.int64))
    graph.constant("first_axis", np.array(0, dtype=np.int64))
    graph.constant("width", np.array(1 << features.BITS, dtype=np.int64))
    graph.constant("nowhere", np.array(np.iinfo(np.int64).max, dtype=np.int64))
    graph.add("Equal", ["wide", "newline"], "is_break")
    graph.add("Cast", ["is_break"], "breaks", to=TensorProto.INT64)
    graph.add("CumSum", ["breaks", "first_axis"], "as_first1")
    graph.add("Sub", ["as_first1", "breaks"], "as_last1")
    for n in range(2, features.N_MAX + 1):
        graph.constant(f"without{n - 1}", np.array([1 - n], dtype=np.int64))
        graph.add("Slice", ["as_first1", "start0", f"without{n - 1}"], f"as_first{n}")
        graph.add("Slice", ["as_last1", f"start{n - 1}", "far"], f"as_last{n}")
    for side in ("as_first", "as_last"):
        graph.add("Concat", [f"{side}{n}" for n in range(1, features.N_MAX + 1)], side, axis=0)
    graph.add("Equal", ["as_first", "as_last"], "inside")
    graph.add("Mul", ["as_first", "width"], "line_part")
    graph.add("Add", ["line_part", "buckets"], "line_key")
    graph.add("Where", ["inside", "line_key", "nowhere"], "unsorted_keys")
    graph.add("Shape", ["unsorted_keys"], "key_count")
    node = helper.make_node("TopK", ["unsorted_keys", "key_count"], ["line_keys", "order"], axis=0, largest=0, sorted=1)
    graph.nodes.append(node)


def _line_margin_nodes(graph: GraphBuilder) -> None:
    """The highest margin of a line: each line's distinct weights summed, the kind's own line (0) added to every one.

    An n-gram of no line is counted as line 0 with the value 0. The last newline opens one line more, which is left out.
    """
    graph.constant("before_all", np.array([-1], dtype=np.int64))
    graph.constant("bucket_mask", np.array((1 << features.BITS) - 1, dtype=np.int64))
    graph.constant("line_shift", np.array(features.BITS, dtype=np.uint64))
    graph.constant("end_last", np.array([-1], dtype=np.int64))
    graph.add("Slice", ["line_keys", "start0", "end_last"], "previous_keys")
    graph.add("Concat", ["before_all", "previous_keys"], "previous", axis=0)
    graph.add("Equal", ["line_keys", "previous"], "repeated")
    graph.add("Not", ["repeated"], "new")
    graph.add("Less", ["line_keys", "nowhere"], "somewhere")
    graph.add("And", ["new", "somewhere"], "chosen")
    graph.add("Cast", ["chosen"], "chosen_float", to=TensorProto.FLOAT)
    graph.add("Cast", ["line_keys"], "unsigned_keys", to=TensorProto.UINT64)
    graph.add("BitShift", ["unsigned_keys", "line_shift"], "unsigned_line", direction="RIGHT")
    graph.add("Cast", ["unsigned_line"], "any_line", to=TensorProto.INT64)
    graph.add("Where", ["chosen", "any_line", "first_axis"], "line_of_key")
    graph.add("BitwiseAnd", ["line_keys", "bucket_mask"], "bucket_of_key")
    graph.add("Gather", ["weights", "bucket_of_key"], "key_weight16", axis=0)
    graph.add("Cast", ["key_weight16"], "key_weight", to=TensorProto.FLOAT)
    graph.add("Mul", ["key_weight", "chosen_float"], "key_value")
    graph.add("Slice", ["as_first1", "end_last", "far"], "last_line")
    graph.add("Add", ["last_line", "one"], "line_count")
    graph.add("ConstantOfShape", ["line_count"], "no_lines")
    graph.add("ScatterElements", ["no_lines", "line_of_key", "key_value"], "line_total", axis=0, reduction="add")
    graph.add("ScatterElements", ["no_lines", "line_of_key", "chosen_float"], "line_distinct", axis=0, reduction="add")
    graph.constant("start_after_kind", np.array([1], dtype=np.int64))
    for quantity in ("line_total", "line_distinct"):
        graph.add("Slice", [quantity, "start0", "start_after_kind"], f"{quantity}_of_kind")
        graph.add("Slice", [quantity, "start_after_kind", "end_last"], f"{quantity}_of_text")
        graph.add("Add", [f"{quantity}_of_text", f"{quantity}_of_kind"], f"{quantity}_with_kind")
    graph.add("Sqrt", ["line_distinct_with_kind"], "line_norm")
    graph.add("Div", ["line_total_with_kind", "line_norm"], "each_line_margin")
    graph.add("ReduceMax", ["each_line_margin", "axis0"], "line_margin", keepdims=1)


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
