"""ONNX files as data: what is read, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rosetta_ui.errors import UnsafeFileError, WeightsCorruptError
from rosetta_ui.models.onnx_graph import OnnxGraph

_WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def _content(*, external: bool = False) -> bytes:
    weight = numpy_helper.from_array(_WEIGHT, "weight")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", "/etc/hostname"
    two = numpy_helper.from_array(np.float32(2))
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Cast", ["product"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Identity", ["two"], ["also_two"]),
        helper.make_node("Mul", ["cast", "also_two"], ["y"], name="double"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [weight],
    )
    return onnx.ModelProto.SerializeToString(helper.make_model(graph))


def test_nodes_edges_and_constants_are_read() -> None:
    graph = OnnxGraph(_content())
    (product,) = graph.of_kind("MatMul")
    np.testing.assert_array_equal(graph.operand(product), _WEIGHT)
    double = graph.next_active(product)
    assert double is not None
    assert (double.name, double.inputs) == ("double", ("cast", "also_two"))
    assert graph.operand(double) == 2
    assert graph.producer("product") == product
    assert graph.reader("product", ("Cast",)).attributes == {"to": TensorProto.FLOAT}
    assert graph.next_active(double) is None


def test_a_tensor_from_another_file_is_refused() -> None:
    graph = OnnxGraph(_content(external=True))
    with pytest.raises(UnsafeFileError, match="another file"):
        graph.constant("weight")


def test_a_file_that_is_not_onnx_is_refused() -> None:
    with pytest.raises(WeightsCorruptError, match="no readable ONNX"):
        OnnxGraph(b"\xff" * 40)


def test_a_tensor_with_too_few_bytes_is_refused() -> None:
    model = onnx.load_model_from_string(_content())
    model.graph.initializer[0].raw_data = b"\0" * 8
    with pytest.raises(WeightsCorruptError, match="weight"):
        OnnxGraph(model.SerializeToString()).constant("weight")


def test_asking_for_what_is_not_there_says_what_is() -> None:
    graph = OnnxGraph(_content())
    with pytest.raises(WeightsCorruptError, match="'x' is not a constant"):
        graph.constant("x")
    with pytest.raises(WeightsCorruptError, match="No node of the graph makes 'x'"):
        graph.producer("x")
    with pytest.raises(WeightsCorruptError, match="read by Cast, not by one Add"):
        graph.reader("product", ("Add",))
    with pytest.raises(WeightsCorruptError, match="reads 0 constants"):
        graph.operand(graph.of_kind("Cast")[0])
