"""How an int8 ONNX file keeps the weights of layers that ONNX Runtime computes in float."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.export.quantize_onnx import static_int8
from edgekit.export.stored_weights import first_wrong_weight, prepared_weights, stored_weights
from edgekit.runtime.sessions import open_session

WIDE = 32


def network(path: Path, widen: np.ndarray) -> Path:
    """A picture through a convolution, a transposed one (never int8 here) and one to colours."""
    rng = np.random.default_rng(0)
    weights = {
        "first": 0.3 * rng.normal(size=(WIDE, 3, 3, 3)),
        "widen": widen,
        "last": 0.1 * rng.normal(size=(3, widen.shape[1], 3, 3)),
    }
    weights["first"][0] = 0  # so that nothing comes of widen[0]
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("ConvTranspose", ["b", "widen"], ["c"], "widener", strides=[2, 2]),
        helper.make_node("Conv", ["c", "last"], ["image_out"], "conv2"),
    ]
    sides = {"image": [1, 3, 16, 16], "image_out": [1, 3, 31, 31]}
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in sides.items()
    )
    stored = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "network", [given], [made], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def even(outputs: int = WIDE) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.2, 0.2, (WIDE, outputs, 3, 3))


def with_outliers() -> np.ndarray:
    """Weights that one scale an output cannot hold: half of a step is as much as they are."""
    weight = even()
    weight[0] = 50.0
    return weight


@pytest.fixture
def feeds():
    rng = np.random.default_rng(2)
    return [{"image": rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]


def made(folder: Path, widen: np.ndarray, feeds) -> tuple[Path, Path, str]:
    source, path = network(folder / "float.onnx", widen), folder / "int8.onnx"
    return source, path, static_int8(source, path, recipe="convolutions", feeds=feeds)


def stored_type(path: Path, part: str) -> str:
    """The type of the largest tensor of a layer."""
    tensors = [t for t in onnx.load(path).graph.initializer if part in t.name]
    largest = max(tensors, key=lambda tensor: np.prod(tensor.dims))
    return TensorProto.DataType.Name(largest.data_type)


def ratio_db(source: Path, path: Path, feeds) -> float:
    def run(file):
        session = open_session(file, threads=1)
        return np.stack([session.run(feed)["image_out"] for feed in feeds])

    wanted = run(source)
    return 10 * np.log10(np.mean(wanted**2) / np.mean((run(path) - wanted) ** 2))


def test_a_layer_that_stays_float_keeps_8_bits_a_weight(tmp_path, feeds):
    source, path, words = made(tmp_path, even(), feeds)

    assert stored_type(path, "widen") == "INT8"
    assert "weights of 1 layer that stay float in 8 bits" in words
    assert path.stat().st_size < 0.5 * source.stat().st_size
    assert ratio_db(source, path, feeds) > 30


def test_weights_that_8_bits_would_spoil_are_kept_in_float16(tmp_path, feeds):
    _, path, words = made(tmp_path, with_outliers(), feeds)

    assert stored_type(path, "widen") == "FLOAT16"
    assert "in float16" in words


def test_small_weights_of_float_layers_are_left_alone(tmp_path, feeds):
    _, path, words = made(tmp_path, even(outputs=8), feeds)

    assert stored_type(path, "widen") == "FLOAT"
    assert "stay float" not in words


def test_a_runtime_gets_what_it_can_fold_when_it_loads(tmp_path, feeds):
    _, path, _ = made(tmp_path, even(), feeds)

    nodes = {node.output[0]: node for node in onnx.load(path).graph.node}
    taker = next(node for node in nodes.values() if node.op_type == "ConvTranspose")

    scaled = nodes[taker.input[1]]
    assert (scaled.op_type, nodes[scaled.input[0]].op_type) == ("Mul", "Cast")


def test_a_wrong_weight_is_found_where_it_is_kept_in_8_bits(tmp_path, feeds):
    source, path, _ = made(tmp_path, even(), feeds)
    right = prepared_weights(source)
    model = onnx.load(path)
    codes = next(t for t in model.graph.initializer if t.name == "widen_q")
    swapped = numpy_helper.to_array(codes)[:, ::-1].copy()
    assert first_wrong_weight(right, stored_weights("onnx", path), "int8") is None

    codes.CopyFrom(numpy_helper.from_array(swapped, "widen_q"))
    onnx.save(model, path)

    assert first_wrong_weight(right, stored_weights("onnx", path), "int8")[0] == "widen"
