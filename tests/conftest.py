"""What several parts' tests share: tiny real model files and a bundle of them, made on the spot.

The "student" turns a picture into its negative: exact in every format, and the same whether a photo
goes through whole or in tiles.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("EDGEKIT_CACHE_DIR", tempfile.mkdtemp(prefix="edgekit-tests-"))
"""No test may find files that an earlier run of the tests exported."""
os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Workers take a core each: two with two threads each wait for one another and need six times the
CPU seconds (17 s became 101 to 124 s in tests/distill/test_fit_gan.py on two cores)."""
SIZE = 32
FIELDS = ("name", "shape", "dtype", "layout", "low", "high")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests on one worker, which makes its fixtures once; files of slow ones first.

    A test with a group of its own (`xdist_group`) keeps it.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        name = mark.args[0] if mark else f"{item.path.parent.name}-{item.path.stem}"
        if mark is None:
            item.add_marker(pytest.mark.xdist_group(name))
        groups.setdefault(name, []).append(item)

    def weight(group: list[pytest.Item]) -> tuple[int, int]:
        return sum("slow" in item.keywords for item in group), len(group)

    items[:] = [
        item for group in sorted(groups.values(), key=weight, reverse=True) for item in group
    ]


def write_onnx(path: Path, *, op: str = "Neg", size: int = SIZE) -> Path:
    """Write an ONNX file with the one operator `op` from ``image`` to ``image_out``."""
    from onnx import TensorProto, helper, save

    shape = [1, 3, size, size]
    graph = helper.make_graph(
        [helper.make_node(op, ["image"], ["image_out"])],
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("image_out", TensorProto.FLOAT, shape)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, str(path))
    return path


def write_tflite(path: Path, *, size: int = SIZE) -> Path:
    """Write a TFLite file with the one operator NEG and a named signature, in NHWC."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str, buffer: int) -> Any:
        made = schema.TensorT()
        made.name, made.shape = name, [1, size, size, 3]
        made.type, made.buffer = schema.TensorType.FLOAT32, buffer
        return made

    def named(name: str, index: int) -> Any:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name, index
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.NEG
    code.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph = schema.SubGraphT()
    graph.tensors = [tensor("edit_image", 1), tensor("edit_image_out", 2)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "edit", 0
    signature.inputs, signature.outputs = [named("image", 0)], [named("image_out", 1)]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(builder.Output()))
    return path


def port_entries(layout: str, size: int = SIZE) -> list[dict[str, Any]]:
    shape = [1, 3, size, size] if layout == "nchw" else [1, size, size, 3]
    return [
        dict(zip(FIELDS, (name, shape, "float32", layout, -1.0, 1.0), strict=True))
        for name in ("image", "image_out")
    ]


def model_entry(folder: Path, path: str, target: str, precision: str) -> dict[str, Any]:
    from edgekit.core.store import file_sha256, size_bytes

    source, result = port_entries("nhwc" if path.endswith("tflite") else "nchw")
    return {
        "target": target,
        "format": Path(path).suffix[1:],
        "precision": precision,
        "path": path,
        "sha256": file_sha256(folder / path),
        "bytes": size_bytes(folder / path),
        "inputs": [source],
        "outputs": [result],
        "recipe": "one operator, written by hand",
        "executed": False,
        "parity": None,
        "placement": {"NEG": 1},
        "tools": {},
    }


def write_bundle(
    folder: Path,
    *,
    files: tuple[tuple[str, str, str], ...] = (
        ("onnx/toy.fp32.onnx", "onnx", "fp32"),
        ("android/toy.fp32.tflite", "android", "fp32"),
        ("ios/toy.fp16.mlpackage", "ios", "fp16"),
    ),
    op: str = "Neg",
) -> Path:
    """Write a complete bundle of real files whose golden vectors are photos and their negatives."""
    from edgekit.core.store import file_sha256, write_json

    writers: dict[str, Callable[[Path], object]] = {
        ".onnx": lambda path: write_onnx(path, op=op),
        ".tflite": write_tflite,
        ".mlpackage": lambda path: (path.mkdir(parents=True), (path / "Manifest.json").touch()),
    }
    for path, _, _ in files:
        writers[Path(path).suffix](folder / path)
    golden = folder / "golden" / "vectors.npz"
    golden.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(0).integers(0, 256, (3, 3, SIZE, SIZE))
    images = (levels * np.float32(2 / 255) - np.float32(1)).astype(np.float32)
    np.savez(golden, image=images, image_out=-images)
    sha = "0" * 64
    write_json(
        folder / "manifest.json",
        {
            "kind": "bundle",
            "schema_version": 1,
            "recipe_sha256": sha,
            "name": "toy",
            "prompt": "make it night",
            "edgekit": "0+test",
            "student": {
                "sha256": sha,
                "recipe_sha256": sha,
                "teacher": "none@0",
                "parameters": 0,
                "gmac": 0.0,
                "size_px": SIZE,
            },
            "models": [model_entry(folder, *file) for file in files],
            "refused": [
                {
                    "target": "onnx",
                    "format": "onnx",
                    "precision": "int8",
                    "reason": "33.1 dB, below 35 dB",
                }
            ],
            "golden": {
                "path": "golden/vectors.npz",
                "sha256": file_sha256(golden),
                "samples": 3,
            },
            "licences": {"weights": "Apache-2.0"},
        },
    )
    return folder


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test may change."""
    return write_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture
def make_bundle() -> Callable[..., Path]:
    """The function that writes a toy bundle of one's own into a folder."""
    return write_bundle


@pytest.fixture(scope="session")
def shipped_toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``runs`` of random weights and the ``assets`` packed of them, which no test may change."""
    from tests.shipped import toy_assets, toy_runs  # loads torch

    place = tmp_path_factory.mktemp("shipped")
    toy_assets(toy_runs(place / "runs"), place / "assets")
    return place
