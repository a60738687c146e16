"""How large the tensors of an ONNX graph become, without running it.

Each node's output shapes come from ONNX's own inference, given concrete input shapes and the values
of small integer tensors, which are computed on the way (they hold the shapes that Expand, Tile,
Reshape and their like follow). A size that cannot be determined is refused.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.validation.onnx_model import opset_of
from leaderboard.validation.refusal import Refusal, shown

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TypeProto

MAX_TENSOR = 2**30  # bytes of one intermediate tensor, for a batch of two
MAX_TOTAL = 2**37  # bytes of all of them together: a bound on work
MAX_DIMENSION = 2_000_000  # of the embedding
SMALL = 1_024  # elements of a tensor whose values are followed
FOLDED = frozenset(
    str.split("""
    Abs Add And Cast Ceil Clip Concat ConstantOfShape Div Equal Expand Flatten Floor Gather
    GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not
    Or Pow Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape ScatterElements ScatterND Sign
    Slice Split Sqrt Squeeze Sub Sum Tile Transpose Unsqueeze Where""")
)
SIMPLIFY = (
    "export it with fixed sizes (only the batch and time axes dynamic), or simplify the graph"
)


@dataclass
class Scope:
    """What is known where a graph begins or a node stands."""

    types: MutableMapping[str, TypeProto]
    values: MutableMapping[str, NDArray[Any]]
    times: int = 1  # that the graph runs

    def inside(self) -> Scope:
        """A scope of its own, from which the outer one is seen and stays as it is."""
        return Scope(ChainMap({}, self.types), ChainMap({}, self.values), self.times)


class Sizes:
    """Shapes and small values of one graph, node by node."""

    def __init__(self, model: ModelProto, name: str) -> None:
        self.model, self.name = model, name
        self.opset = opset_of(model)
        self.total = 0

    def check(self, inputs: dict[str, tuple[str, list[int]]]) -> None:
        """Refuse graphs with enormous tensors, given dtype and shape of each input.

        Raises:
            Refusal: a tensor beyond the limits, one whose size cannot be determined, or an output
                that is no embedding.
        """
        from onnx import TensorProto, helper

        types = {
            key: helper.make_tensor_type_proto(TensorProto.DataType.Value(dtype), shape)
            for key, (dtype, shape) in inputs.items()
        }
        known = self.run(self.model.graph, Scope(types, {}))
        first = self.model.graph.output[0].name if self.model.graph.output else ""
        found = known.get(first)
        shape = None if found is None else shape_of(found)
        floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
        if found is None or shape is None or found.tensor_type.elem_type not in floats:
            raise Refusal(
                self.name,
                f"output {shown(first)!r}",
                "the first output is not a float tensor of known size",
                "return the embedding (B, D) or tokens (B, T, D) first",
            )
        if len(shape) not in (2, 3) or not 1 <= shape[-1] <= MAX_DIMENSION:
            raise Refusal(
                self.name,
                f"output {shown(first)!r}",
                f"it has the shape {shown(shape)}",
                "return the embedding (B, D) or tokens (B, T, D) first",
            )

    def run(self, graph: GraphProto, outer: Scope) -> MutableMapping[str, TypeProto]:
        """Types of all tensors of a graph; outer ones are visible."""
        from onnx import helper, numpy_helper

        scope = outer.inside()
        for tensor in graph.initializer:
            scope.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            if math.prod(tensor.dims) <= SMALL:
                scope.values[tensor.name] = numpy_helper.to_array(tensor)
        for node in graph.node:
            outputs = self.outputs(node, scope)
            scope.types.update(outputs)
            self.account(node, outputs, scope.times)
            self.fold(node, outputs, scope)
        return scope.types

    def outputs(self, node: NodeProto, scope: Scope) -> MutableMapping[str, TypeProto]:
        """Types of the outputs of one node."""
        if node.op_type in ("If", "Loop"):
            bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            run = self.branches if node.op_type == "If" else self.loop
            return run(node, bodies, scope)
        import onnx
        from onnx import numpy_helper, shape_inference

        given = [key for key in dict.fromkeys(node.input) if key]
        unknown = [key for key in given if key not in scope.types]
        if unknown:
            raise self.undetermined(node, f"its input {shown(unknown[0])!r} comes from nowhere")
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, "")
            found = shape_inference.infer_node_outputs(
                schema,
                node,
                {key: scope.types[key] for key in given},
                {
                    key: numpy_helper.from_array(np.array(scope.values[key], order="C"), key)
                    for key in given
                    if key in scope.values
                },
                opset_imports=[onnx.helper.make_opsetid("", self.opset)],
            )
        except Exception as error:
            raise Refusal(
                self.name,
                f"node {shown(node.name or node.op_type)!r}",
                f"{node.op_type} cannot take its inputs ({shown(error, 200)})",
                "export a graph that onnx.checker accepts",
            ) from None
        return {key: found[key] for key in node.output if key and key in found}

    def branches(
        self, node: NodeProto, bodies: list[GraphProto], scope: Scope
    ) -> MutableMapping[str, TypeProto]:
        """The outputs of If: of the branch with the larger ones."""
        found: dict[str, TypeProto] = {}
        for body in bodies:
            inside = self.run(body, scope)
            for key, output in zip(node.output, body.output, strict=False):
                if output.name in inside:
                    found[key] = _larger(found.get(key), inside[output.name])
        return found

    def loop(
        self, node: NodeProto, bodies: list[GraphProto], scope: Scope
    ) -> MutableMapping[str, TypeProto]:
        """The outputs of Loop: as the body gives them, the scanned ones once per trip."""
        from onnx import helper

        if len(bodies) != 1:
            raise self.undetermined(node, "it needs one body")
        body = bodies[0]
        own = {value.name for value in body.input}
        values = {key: value for key, value in scope.values.items() if key not in own}
        trips = int(scope.values[node.input[0]].reshape(-1)[0])
        carried = list(node.input[2:])
        types = ChainMap({}, scope.types)
        for key, source in zip(body.input[2:], carried, strict=False):
            if source in scope.types:
                types[key.name] = scope.types[source]
        for key, kind in zip(body.input[:2], (7, 9), strict=False):  # INT64 trip, BOOL condition
            types[key.name] = helper.make_tensor_type_proto(kind, [])
        inside = self.run(body, Scope(types, values, scope.times * max(trips, 1)))
        found: dict[str, TypeProto] = {}
        results = body.output[1:]
        for position, (key, output) in enumerate(zip(node.output, results, strict=False)):
            if output.name not in inside:
                continue
            after = inside[output.name]
            if position >= len(carried):
                element, shape = after.tensor_type.elem_type, shape_of(after)
                if shape is not None:
                    after = helper.make_tensor_type_proto(element, [trips, *shape])
            elif shape_of(after) != shape_of(scope.types.get(carried[position], after)):
                raise self.undetermined(node, "a tensor that grows from trip to trip")
            found[key] = after
        return found

    def account(self, node: NodeProto, outputs: MutableMapping[str, TypeProto], times: int) -> None:
        """Add up what a node makes."""
        for key in node.output:
            if not key:
                continue
            shape = shape_of(outputs[key]) if key in outputs else None
            if shape is None:
                raise self.undetermined(node, f"the size of its output {shown(key)!r} is unknown")
            size = math.prod(shape) * 8
            self.total += size * times
            if size > MAX_TENSOR or self.total > MAX_TOTAL:
                raise Refusal(
                    self.name,
                    f"node {shown(node.name or node.op_type)!r}",
                    f"{node.op_type} makes a tensor of shape {shown(shape)}, and all of them "
                    f"together {self.total:,} bytes: more than the limits",
                    "export a smaller encoder or choose shorter windows",
                )

    def undetermined(self, node: NodeProto, why: str) -> Refusal:
        where = f"node {shown(node.name or node.op_type)!r}"
        return Refusal(self.name, where, f"{node.op_type}: {why}", SIMPLIFY)

    def fold(self, node: NodeProto, outputs: MutableMapping[str, TypeProto], scope: Scope) -> None:
        """Compute a node on small known values; sizes have been checked by then."""
        types, values = scope.types, scope.values
        from onnx import numpy_helper

        if node.op_type == "Constant":
            tensors = [a.t for a in node.attribute if a.name == "value"]
            if tensors and math.prod(tensors[0].dims) <= SMALL:
                values[node.output[0]] = numpy_helper.to_array(tensors[0])
                return
        elif node.op_type in ("Shape", "Size"):
            shape = shape_of(types[node.input[0]])
            if shape is not None:
                whole = np.array(shape, np.int64)
                attributes = {a.name: a.i for a in node.attribute}
                cut = whole[attributes.get("start", 0) : attributes.get("end")]
                values[node.output[0]] = cut if node.op_type == "Shape" else whole.prod()
            return
        elif node.op_type not in FOLDED or any(key and key not in values for key in node.input):
            return
        if any(math.prod(shape_of(kind) or [0]) > SMALL for kind in outputs.values()):
            return
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        graph = helper.make_graph(
            [node],
            "fold",
            [helper.make_value_info(key, types[key]) for key in dict.fromkeys(node.input) if key],
            [helper.make_value_info(key, outputs[key]) for key in node.output if key],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            with np.errstate(all="ignore"):
                found = ReferenceEvaluator(model).run(
                    None, {key: values[key] for key in node.input if key}
                )
        except Exception:
            return  # its value stays unknown, and what follows it may be refused for that
        kept = [key for key in node.output if key]
        values.update({key: np.asarray(one) for key, one in zip(kept, found, strict=True)})


def shape_of(kind: TypeProto) -> list[int] | None:
    """The sizes of a tensor type, None where one of them is unknown."""
    tensor = kind.tensor_type
    if not kind.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return None if min(sizes, default=0) < 0 else sizes


def _larger(first: TypeProto | None, second: TypeProto) -> TypeProto:
    if first is None:
        return second
    sizes = [math.prod(shape_of(kind) or [0]) for kind in (first, second)]
    return first if sizes[0] >= sizes[1] else second


def check_sizes(model: ModelProto, inputs: dict[str, tuple[str, list[int]]], name: str) -> None:
    """Refuse a graph whose tensors become too large for the inputs it will be given.

    Raises:
        Refusal: names the node.
    """
    Sizes(model, name).check(inputs)
