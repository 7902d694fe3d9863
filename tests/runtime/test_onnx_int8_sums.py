"""int8 files give ONNX Runtime's numbers in full on processors that have no VNNI too."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.runtime.sessions import onnxruntime as sessions

ROOTS = Path(__file__).parents[2]
CHANNELS, SIDE = 64, 8


def loud_layer(path: Path) -> None:
    """Write a 3 x 3 convolution whose products are as large as uint8 and int8 allow."""
    weight = np.full((8, CHANNELS, 3, 3), 127, np.int8)
    constants = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "weight": weight,
        "weight_scale": np.full(8, 1 / 127, np.float32),
        "weight_zero": np.zeros(8, np.int8),
        "bias": np.zeros(8, np.int32),
        "bias_scale": np.full(8, 1 / (127 * 255), np.float32),
        "bias_zero": np.zeros(8, np.int32),
        "out_scale": np.float32(9 * CHANNELS / 255),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image_q"]),
        helper.make_node("DequantizeLinear", ["image_q", "scale", "zero"], ["image_f"]),
        helper.make_node(
            "DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["weight_f"], axis=0
        ),
        helper.make_node(
            "DequantizeLinear", ["bias", "bias_scale", "bias_zero"], ["bias_f"], axis=0
        ),
        helper.make_node("Conv", ["image_f", "weight_f", "bias_f"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "out_scale", "zero"], ["sum_q"]),
        helper.make_node("DequantizeLinear", ["sum_q", "out_scale", "zero"], ["result"]),
    ]
    graph = helper.make_graph(
        nodes,
        "loud",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, CHANNELS, SIDE, SIDE))],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, (1, 8, SIDE - 2, SIDE - 2))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


@pytest.mark.parametrize("level", [1.0, 0.75, 0.6])
def test_large_sums_are_not_cut_off(tmp_path, level):
    loud_layer(tmp_path / "loud.onnx")
    session = sessions.open_file(tmp_path / "loud.onnx", threads=1)

    found = session.run({"image": np.full((1, CHANNELS, SIDE, SIDE), level, np.float32)})["result"]

    np.testing.assert_allclose(found, 9 * CHANNELS * level, rtol=0.01)


def test_every_session_is_opened_with_the_shared_settings():
    found = [
        path.name
        for root in ("core", "distill", "export", "runtime", "benchmarks")
        for path in (ROOTS / root).rglob("*.py")
        if "SessionOptions()" in path.read_text(encoding="utf-8")
    ]

    assert found == ["onnx_settings.py"]
