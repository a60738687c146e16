"""An ONNX file, before a runtime sees it: what it contains, operator by operator.

Format: https://onnx.ai/onnx/repo-docs/IR.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from leaderboard.validation.content import HEAD, refuse_other_content
from leaderboard.validation.onnx_operators import ALLOWED, IR_VERSIONS, OPSETS
from leaderboard.validation.refusal import Refusal, shown

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

MAX_BYTES = 2**31 - 1  # what a protobuf message can hold
MAX_UNROLLED = 50_000  # nodes, every trip of a loop counted
MAX_TRIPS = 1_000
MAX_EDGES = 4_096  # inputs, or outputs, of one node
MAX_NESTING = 4  # graphs within graphs
EXPORT = "export it again with torch.onnx.export to one self-contained file"


def parse_model(data: bytes, name: str) -> ModelProto:
    """The model in `data`, of which nothing is loaded from elsewhere.

    Raises:
        Refusal: not an ONNX model, too large, or with anything in it that is not allowed.
    """
    import onnx
    from google.protobuf.message import DecodeError

    refuse_other_content(data[:HEAD], name, "an ONNX model", EXPORT)
    if len(data) > MAX_BYTES:
        raise Refusal(
            name, "size", f"{len(data):,} bytes, at most {MAX_BYTES:,}", "export a smaller model"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise Refusal(name, "content", "it is not a whole ONNX model", EXPORT) from None
    if not model.HasField("graph") or not model.graph.node:
        raise Refusal(name, "graph", "it has no nodes", EXPORT)
    _check_versions(model, name)
    trips = _check_graph(model.graph, name, 1, 0)
    if trips > MAX_UNROLLED:
        raise Refusal(
            name,
            "graph",
            f"{trips:,} nodes with its loops unrolled, at most {MAX_UNROLLED:,}",
            "export a smaller graph",
        )
    return model


def opset_of(model: ModelProto) -> int:
    """The version of the default operator set."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in DOMAINS)


DOMAINS = ("", "ai.onnx")


def _check_versions(model: ModelProto, name: str) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise Refusal(
            name,
            "ir_version",
            f"{model.ir_version} is not one of {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}",
            "export it with a current version of PyTorch",
        )
    if model.functions:
        raise Refusal(
            name,
            f"function {shown(model.functions[0].name)!r}",
            "functions of its own are not accepted",
            "inline them (onnx.inliner.inline_local_functions)",
        )
    if model.training_info:
        raise Refusal(name, "training_info", "training graphs are not accepted", EXPORT)
    custom = [entry.domain for entry in model.opset_import if entry.domain not in DOMAINS]
    if custom:
        raise Refusal(
            name,
            "opset_import",
            f"the operator domain {shown(custom[0])!r} is not accepted",
            "use operators of the default domain only",
        )
    versions = {int(entry.version) for entry in model.opset_import}
    if len(versions) != 1 or versions.pop() not in OPSETS:
        raise Refusal(
            name,
            "opset_import",
            f"exactly one opset from {OPSETS[0]} to {OPSETS[-1]} is needed",
            "export it with opset_version=18",
        )


def _check_graph(graph: GraphProto, name: str, times: int, nesting: int) -> int:
    """The number of nodes that run, the graph itself running `times`."""
    if nesting > MAX_NESTING:
        raise Refusal(name, "graph", f"graphs nested deeper than {MAX_NESTING}", EXPORT)
    if len(graph.initializer) > MAX_UNROLLED:
        raise Refusal(
            name, "initializers", f"more than {MAX_UNROLLED:,} constants", "export a smaller graph"
        )
    if graph.sparse_initializer:
        raise Refusal(name, "sparse_initializer", "sparse tensors are not accepted", EXPORT)
    for tensor in graph.initializer:
        check_tensor(tensor, name, f"initializer {shown(tensor.name)!r}")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    count = 0
    for node in graph.node:
        count += times
        where = f"node {shown(node.name or node.op_type)!r}"
        if node.domain not in DOMAINS or node.op_type not in ALLOWED:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise Refusal(
                name,
                where,
                f"the operator {shown(operator)} is not on the list of allowed ones",
                "export the encoder without it",
            )
        if max(len(node.input), len(node.output)) > MAX_EDGES:
            raise Refusal(name, where, f"more than {MAX_EDGES:,} inputs or outputs", EXPORT)
        if node.op_type == "Constant":
            values = [a.t for a in node.attribute if a.name == "value"]
            constants.update(zip(node.output, values, strict=False))
        inside = times * _trips(node, constants, name, where)
        for attribute in node.attribute:
            count += _check_attribute(attribute, name, where, inside, nesting)
        if count > MAX_UNROLLED:
            break
    return count


def _check_attribute(
    attribute: AttributeProto, name: str, where: str, times: int, nesting: int
) -> int:
    if attribute.ref_attr_name:
        raise Refusal(name, where, "an attribute that refers to a function's", EXPORT)
    if attribute.sparse_tensors or attribute.HasField("sparse_tensor"):
        raise Refusal(name, where, "sparse tensors are not accepted", EXPORT)
    for tensor in [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]:
        check_tensor(tensor, name, where)
    return sum(_check_graph(graph, name, times, nesting + 1) for graph in subgraphs(attribute))


def subgraphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """The graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _trips(node: NodeProto, constants: dict[str, TensorProto], name: str, where: str) -> int:
    """How often the bodies of a node run at most."""
    if node.op_type != "Loop":
        return 1
    from onnx import TensorProto, numpy_helper

    limit = constants.get(node.input[0]) if node.input else None
    trips: list[int] = []
    if limit is not None and limit.data_type == TensorProto.INT64:
        trips = numpy_helper.to_array(limit).reshape(-1).tolist()
    if len(trips) != 1 or not 0 <= int(trips[0]) <= MAX_TRIPS:
        raise Refusal(
            name,
            where,
            f"a loop whose number of trips is not a constant of at most {MAX_TRIPS:,}",
            "unroll it, or vectorise over the axis it runs along",
        )
    return max(1, int(trips[0]))


def check_tensor(tensor: TensorProto, name: str, where: str) -> None:
    """Refuse tensors with data elsewhere, of odd types, or of another size than they say.

    Raises:
        Refusal: any of these.
    """
    from onnx import TensorProto as Kind

    item: dict[int, int] = {
        Kind.FLOAT: 4, Kind.DOUBLE: 8, Kind.FLOAT16: 2, Kind.BFLOAT16: 2, Kind.INT64: 8,
        Kind.INT32: 4, Kind.INT16: 2, Kind.INT8: 1, Kind.UINT8: 1, Kind.UINT16: 2,
        Kind.UINT32: 4, Kind.UINT64: 8, Kind.BOOL: 1,
    }  # fmt: skip
    if tensor.data_location == Kind.EXTERNAL or tensor.external_data:
        raise Refusal(name, where, "its data lie in another file", EXPORT)
    if tensor.data_type not in item:
        raise Refusal(
            name, where, f"data type {tensor.data_type} is not accepted", "use float or integers"
        )
    elements = 1
    for size in tensor.dims:
        if size < 0:
            raise Refusal(name, where, f"a negative size in {shown(list(tensor.dims))}", EXPORT)
        elements *= size
    if tensor.HasField("raw_data"):
        held = len(tensor.raw_data) / item[tensor.data_type]
    else:
        held = len(tensor.float_data) + len(tensor.double_data)
        held += len(tensor.int32_data) + len(tensor.int64_data) + len(tensor.uint64_data)
    if held != elements:
        raise Refusal(
            name, where, f"{shown(list(tensor.dims))} needs {elements:,} values, it has {held:g}",
            EXPORT,
        )  # fmt: skip
