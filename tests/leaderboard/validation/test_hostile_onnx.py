"""Hostile ONNX files: refused before a runtime sees them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from leaderboard.validation.checks import check_file


def model(
    nodes: list[onnx.NodeProto],
    *,
    initializers: dict[str, Any] | None = None,
    inputs: list[Any] | None = None,
    output: str = "out",
    opset: int = 18,
    metadata: dict[str, str] | None = None,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """An encoder of images, unless said otherwise."""
    graph = helper.make_graph(
        nodes,
        "encoder",
        inputs or [image()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (initializers or {}).items()],
    )
    built = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    facts = (
        {"modality": "histopathology", "input": '{"size": 32}'} if metadata is None else metadata
    )
    helper.set_model_props(built, facts)
    return built


def image(batch: Any = "batch", size: Any = 32, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info("image", kind, [batch, 3, size, size])


def pooled() -> list[onnx.NodeProto]:
    """(B, 3, H, W) -> (B, 3)"""
    return [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["out"]),
    ]


def _loop(trips: Any, body_nodes: int = 1) -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            *(helper.make_node("Relu", ["x" if i == 0 else f"x{i}"], [f"x{i + 1}"])
              for i in range(body_nodes)),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info(f"x{body_nodes}", TensorProto.FLOAT, None),
        ],
    )  # fmt: skip
    first = pooled()
    first[1].output[0] = "flat"
    limit = "trips" if trips is not None else ""
    return model(
        [*first, helper.make_node("Loop", [limit, "true", "flat"], ["out"], body=body)],
        initializers={"true": np.array(True), **({} if trips is None else {"trips": trips})},
    )


def _external() -> onnx.ModelProto:
    built = model(pooled(), initializers={"w": np.zeros(4, np.float32)})
    weights = built.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    return built


def _wrong_size() -> onnx.ModelProto:
    built = model(pooled(), initializers={"w": np.zeros(4, np.float32)})
    built.graph.initializer[0].dims[0] = 2**40
    return built


def _custom_domain() -> onnx.ModelProto:
    built = model(
        [*pooled(), helper.make_node("ReadFile", ["out"], ["more"], domain="com.evil")],
    )
    built.opset_import.append(helper.make_opsetid("com.evil", 1))
    return built


def _custom_operator() -> onnx.ModelProto:
    built = model([*pooled(), helper.make_node("Relu", ["out"], ["more"], domain="com.evil")])
    return built


def _function() -> onnx.ModelProto:
    built = model(pooled())
    built.functions.append(
        helper.make_function("", "Mine", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])],
                             [helper.make_opsetid("", 18)])
    )  # fmt: skip
    return built


def _grown(operator: str, shape: list[int]) -> onnx.ModelProto:
    """The pooled image blown up by an operator that takes a shape."""
    first = pooled()
    first[1].output[0] = "flat"
    return model(
        [*first, helper.make_node(operator, ["flat", "shape"], ["out"])],
        initializers={"shape": np.array(shape, np.int64)},
    )


def _constant_of_shape() -> onnx.ModelProto:
    return model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
            helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=1),
            *pooled(),
        ],
        initializers={"shape": np.array([2**20, 2**20], np.int64)},
    )


def _computed_shape() -> onnx.ModelProto:
    """A shape that the graph computes: (the image's height) to the sixth power."""
    nodes = [
        helper.make_node("Shape", ["image"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "two"], ["height"]),
        helper.make_node("Pow", ["height", "six"], ["large"]),
        helper.make_node("ConstantOfShape", ["large"], ["huge"]),
        *pooled(),
    ]
    return model(nodes, initializers={"two": np.array([2]), "six": np.array([6])})


def _shape_from_pixels() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["whole", "zero"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        *pooled(),
    ]
    return model(nodes, initializers={"zero": np.array([0])})


def _range() -> onnx.ModelProto:
    nodes = [helper.make_node("Range", ["a", "b", "c"], ["huge"]), *pooled()]
    return model(nodes, initializers={"a": np.array(0), "b": np.array(2**40), "c": np.array(1)})


def _outer_product() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["image", "column"], ["tall"]),
        helper.make_node("Transpose", ["tall"], ["wide"], perm=[1, 0]),
        helper.make_node("MatMul", ["tall", "wide"], ["square"]),
        helper.make_node("Expand", ["square", "more"], ["out"]),
    ]
    return model(
        nodes,
        initializers={"column": np.array([-1, 1]), "more": np.array([64, 1, 1])},
    )


def _hidden_state() -> onnx.ModelProto:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "zero"], ["steps"]),
        helper.make_node("GRU", ["steps", "w", "r"], ["out"], hidden_size=2**28),
    ]
    weights = np.zeros((1, 1, 1), np.float32)
    return model(nodes, initializers={"zero": np.array([0]), "w": weights, "r": weights})


def _nested_ifs(depth: int) -> onnx.ModelProto:
    def branch(level: int) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(f"y{level}", TensorProto.FLOAT, None)
        if level == depth:
            node = helper.make_node("Relu", ["flat"], [f"y{level}"])
        else:
            inner = branch(level + 1)
            node = helper.make_node(
                "If", ["true"], [f"y{level}"], then_branch=inner, else_branch=inner
            )
        return helper.make_graph([node], f"level{level}", [], [result])

    first = pooled()
    first[1].output[0] = "flat"
    one_level = branch(1)
    node = helper.make_node("If", ["true"], ["out"], then_branch=one_level, else_branch=one_level)
    return model([*first, node], initializers={"true": np.array(True)})


def _string_tensor() -> onnx.ModelProto:
    built = model(pooled())
    built.graph.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"]))
    return built


CASES = {  # name -> (model or bytes, words of the refusal)
    "pickle": (pickle.dumps({"w": 1}), "a Python pickle"),
    "empty": (b"", "an empty file"),
    "garbage": (b"\x08\x0a\xff\xff\xff\xff\xff", "not a whole ONNX model"),
    "no nodes": (model([]), "no nodes"),
    "external data": (_external(), "in another file"),
    "giant constant": (_wrong_size(), "needs 1,099,511,627,776 values"),
    "text constant": (_string_tensor(), "data type 8"),
    "custom domain": (_custom_domain(), "the operator domain 'com.evil'"),
    "custom operator": (_custom_operator(), "com.evil.Relu"),
    "function": (_function(), "functions of its own"),
    "old opset": (model(pooled(), opset=9), "opset"),
    "future opset": (model(pooled(), opset=99), "opset"),
    "old format": (model(pooled(), ir_version=3), "ir_version"),
    "unknown operator": (model([helper.make_node("Evil", ["image"], ["out"])]), "Evil"),
    "data-dependent size": (model([helper.make_node("NonZero", ["image"], ["out"])]), "NonZero"),
    "random": (model([helper.make_node("RandomNormal", [], ["out"], shape=[2, 2])]), "Random"),
    "endless loop": (_loop(None), "not a constant"),
    "long loop": (_loop(np.array(10**12)), "at most 1,000"),
    "loop as long as a float says": (_loop(np.array(np.nan)), "at most 1,000"),
    "loop of many nodes": (_loop(np.array(1_000), body_nodes=60), "loops unrolled"),
    "graphs within graphs": (_nested_ifs(8), "nested deeper"),
    "scan": (model([helper.make_node("Scan", ["image"], ["out"], num_scan_inputs=1)]), "Scan"),
    "ConstantOfShape": (_constant_of_shape(), "more than the limits"),
    "a shape that is computed": (_computed_shape(), "more than the limits"),
    "a shape from the pixels": (_shape_from_pixels(), "unknown"),
    "Expand": (_grown("Expand", [2**33, 1, 1]), "more than the limits"),
    "Tile": (_grown("Tile", [1, 2**33]), "more than the limits"),
    "Range": (_range(), "more than the limits"),
    "outer product": (_outer_product(), "more than the limits"),
    "hidden state": (_hidden_state(), "more than the limits"),
    "a node of 5,000 outputs": (
        model([helper.make_node("Split", ["image"], [f"s{i}" for i in range(5_000)]), *pooled()]),
        "inputs or outputs",
    ),
    "60,000 constants": (
        model(pooled(), initializers={f"w{i}": np.zeros(1, np.float32) for i in range(60_000)}),
        "more than 50,000 constants",
    ),
    "no modality": (model(pooled(), metadata={}), "metadata `modality`"),
    "unknown modality": (model(pooled(), metadata={"modality": "text"}), "'text' is not one of"),
    "bad input options": (
        model(pooled(), metadata={"modality": "histopathology", "input": "{"}), "not JSON",
    ),
    "nested input options": (
        model(pooled(), metadata={"modality": "histopathology", "input": "[" * 10_000}), "nested",
    ),
    "unknown input option": (
        model(pooled(), metadata={"modality": "histopathology", "input": '{"sizes": 3}'}), "sizes",
    ),
    "giant windows": (
        model(pooled(), metadata={"modality": "histopathology", "input": '{"size": 100000}'}),
        "numbers, at most",
    ),
    "endless windows": (
        model(pooled(), metadata={"modality": "audio", "input": '{"seconds": 1e300}'}), "input",
    ),
    "bad frame rate": (
        model(pooled(), metadata={"modality": "histopathology", "frame_rate": "nan"}), "frame_rate",
    ),
    "other size": (model(pooled(), inputs=[image(size=64)]), "axis 2 is fixed to 64"),
    "fixed batch": (model(pooled(), inputs=[image(batch=1)]), "batch size is fixed"),
    "double input": (model(pooled(), inputs=[image(kind=TensorProto.DOUBLE)]), "not float"),
    "too many inputs": (
        model(pooled(), inputs=[image(), helper.make_tensor_value_info("y", 1, ["b"])]),
        "graph inputs",
    ),
    "output is an image": (model([helper.make_node("Relu", ["image"], ["out"])]), "has the shape"),
    "output from nowhere": (model(pooled(), output="nothing"), "not a float tensor"),
    "input from nowhere": (model([helper.make_node("Relu", ["nothing"], ["out"])]), "from nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_graph_is_refused(case: str, refused: Callable[..., str]) -> None:
    data, words = CASES[case]
    data = data.SerializeToString() if isinstance(data, onnx.ModelProto) else data
    assert words in refused("onnx", data)


def test_sound_graphs_are_accepted_and_run() -> None:
    for built in (model(pooled()), _loop(np.array(3)), _nested_ifs(2)):
        data = built.SerializeToString()
        facts = check_file("onnx", io.BytesIO(data), len(data), "model.onnx")
        assert facts == {"modality": "histopathology"}
        session = onnxruntime.InferenceSession(data)
        assert session.run(None, {"image": np.ones((5, 3, 32, 32), np.float32)})[0].shape == (5, 3)


def test_options_beside_the_file_go_before_its_own() -> None:
    data = model(pooled(), inputs=[image(size=64)], metadata={}).SerializeToString()
    facts = check_file(
        "onnx",
        io.BytesIO(data),
        len(data),
        "model.onnx",
        modality="histopathology",
        options={"size": 64},
    )
    assert facts["modality"] == "histopathology"
