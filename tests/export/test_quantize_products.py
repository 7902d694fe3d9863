"""ONNX int8 of a network whose weights stand in matrix products, and whose output is no picture."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.export.quantize_onnx import INT8_RECIPES, _float_layers, _mostly_products, static_int8


def network(path: Path, *, products: bool) -> Path:
    """A picture (1, 3, 8, 8) through a convolution, 16 features through two products to a code."""
    rng = np.random.default_rng(0)
    wide = 64 if products else 4
    shapes = {"kernel": (16, 3, 3, 3), "first": (16, wide), "second": (wide, 32)}
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["c"], "flatten"),
        helper.make_node("MatMul", ["c", "first"], ["d"], "product1"),
        helper.make_node("Relu", ["d"], ["e"], "relu"),
        helper.make_node("MatMul", ["e", "second"], ["code"], "product2"),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("code", TensorProto.FLOAT, [1, 32])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("products", [True, False])
def test_products_are_quantized_where_the_weights_stand_in_them(products, tmp_path):
    source = network(tmp_path / "float.onnx", products=products)
    rng = np.random.default_rng(1)
    feeds = [{"image": rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]

    words = static_int8(source, tmp_path / "int8.onnx", recipe="convolutions", feeds=feeds)

    stored = onnx.load(tmp_path / "int8.onnx").graph.initializer
    eight = {t.name for t in stored if t.data_type == TensorProto.INT8 and np.prod(t.dims) > 32}
    assert _mostly_products(source) is products
    assert ("MatMul" in words) is products
    assert any("second" in name for name in eight) is products


def test_an_end_without_a_picture_keeps_no_layer_in_float(tmp_path):
    model = onnx.load(network(tmp_path / "float.onnx", products=True))

    assert _float_layers(model, INT8_RECIPES["ends-1"]) == ["conv"]
