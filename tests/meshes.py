"""Fields and bundles of the mesh tests: what their surfaces are is known by formula.

The bundle is real ONNX files, written by hand: the word "ball" or "donut" and a colour choose
planes whose sums are x, y, z, |p|^2, the colour and whether it is a donut; the field computes the
distance from those. So a mesh made with it can be compared with the ball and the donut themselves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.tetrahedra import coordinates

BALL, RING, TUBE = 0.55, 0.5, 0.25
COLORS = {"red": (0.9, 0.1, 0.1), "blue": (0.1, 0.2, 0.8)}
WORDS = ("ball", "blue", "donut", "nothing", "red", "with")
LENGTH, SIZE, CHANNELS, POINTS = 4, 17, 9, 2048
CELLS, DEFORM = 24, 0.5


def points_of(cells: int) -> np.ndarray:
    """n x n x n x 3."""
    axis = coordinates(cells)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def ball(points: np.ndarray, radius: float = BALL) -> np.ndarray:
    return (np.linalg.norm(points, axis=-1) - radius).astype(np.float32)


def donut(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return (np.hypot(np.hypot(x, z) - RING, y) - TUBE).astype(np.float32)


def cube(points: np.ndarray, half: float = 0.47) -> np.ndarray:
    return (np.abs(points).max(axis=-1) - half).astype(np.float32)


def striped(points: np.ndarray) -> np.ndarray:
    """Smooth stripes across y, so that a texture can be compared with them."""
    wave = (1 + np.sin(points[:, 1:2] * 12)) / 2
    return (wave * (0.9, 0.2, 0.1) + (1 - wave) * (0.2, 0.3, 0.9)).astype(np.float32)


def write_mesh_bundle(folder: Path) -> Path:
    """Write a bundle of form ``mesh`` with its part ``field`` and its table of words."""
    from safetensors.numpy import save_file

    from edgekit.core.store import file_sha256, size_bytes

    folder.mkdir(parents=True)
    table = np.zeros((len(WORDS), 5), np.float32)
    for row, word in zip(table, WORDS, strict=True):
        row[:3] = COLORS.get(word, (0, 0, 0))
        row[3], row[4] = word == "donut", word == "nothing"
    told = {"words": json.dumps(WORDS), "length": str(LENGTH)}
    save_file({"table": table}, folder / "words.safetensors", metadata=told)
    _write_field(folder / "field")
    words = folder / "words.safetensors"
    _write_planes(
        folder,
        form="mesh",
        parts=[
            {
                "name": "field",
                "path": "field",
                "form": "field",
                "sha256": file_sha256(folder / "field" / "manifest.json"),
            }
        ],
        assets=[
            {
                "name": "words",
                "path": words.name,
                "sha256": file_sha256(words),
                "bytes": size_bytes(words),
            }
        ],
        mesh={"cells": CELLS, "deform": DEFORM, "prompts": ["a red ball", "a blue donut"]},
    )
    return folder


def _write_planes(folder: Path, **more: Any) -> None:
    """Channels: x, y, z, |p|^2, red, green, blue, whether a donut, whether nothing."""
    from onnx import helper

    ramp = np.linspace(-1, 1, SIZE, dtype=np.float32)
    along, across = ramp[:, None] * np.ones(SIZE), ramp * np.ones((SIZE, 1))
    fixed = np.zeros((3, CHANNELS, SIZE, SIZE), np.float32)
    fixed[0, 0], fixed[0, 1], fixed[1, 2] = along, across, across  # x and y of xy, z of xz
    # |p|^2 between the samples of a plane is a polygon: what the tests compare with allows for it.
    fixed[0, 3], fixed[1, 3] = along**2 + across**2, across**2
    ones = np.zeros((1, 3, CHANNELS, SIZE, SIZE, 5), np.float32)
    for channel in range(5):
        ones[0, 0, 4 + channel, ..., channel] = 1
    shape = [1, 3 * CHANNELS, SIZE, SIZE]
    nodes = [
        helper.make_node("ReduceSum", ["text", "axis"], ["meaning"], keepdims=0),
        helper.make_node("Mul", ["spread", "meaning"], ["each"]),
        helper.make_node("ReduceSum", ["each", "last"], ["said"], keepdims=0),
        helper.make_node("Add", ["said", "fixed"], ["planes"]),
    ]
    constants = {
        "axis": np.array([1]),
        "last": np.array([4]),
        "spread": ones.reshape(*shape, 5),
        "fixed": fixed.reshape(shape),
    }
    _write_model(
        folder, nodes, constants, ("text", [1, LENGTH, 5], "flat"), ("planes", shape, "nchw"), more
    )


def _write_field(folder: Path) -> None:
    from onnx import helper

    def picked(name: str, *channels: int) -> Any:
        constants[f"{name}_at"] = np.array(channels)
        return helper.make_node("Gather", ["features", f"{name}_at"], [name], axis=2)

    constants: dict[str, np.ndarray] = {}
    scalars = {"ring": RING, "tube": TUBE, "radius": BALL, "far": 9.0, "tiny": 1e-6, "one": 1.0}
    for name, value in scalars.items():
        constants[name] = np.array(value, np.float32)
    constants["still"] = np.zeros((1, POINTS, 3), np.float32)
    node = helper.make_node
    nodes = [
        picked("y", 1),
        picked("square", 3),
        picked("color", 4, 5, 6),
        picked("holed", 7),
        picked("nothing", 8),
        node("Max", ["square", "tiny"], ["above"]),
        node("Sqrt", ["above"], ["away"]),
        node("Sub", ["away", "radius"], ["ball"]),
        node("Mul", ["y", "y"], ["yy"]),
        node("Sub", ["square", "yy"], ["flat"]),
        node("Max", ["flat", "tiny"], ["flat_above"]),
        node("Sqrt", ["flat_above"], ["around"]),
        node("Sub", ["around", "ring"], ["from_ring"]),
        node("Mul", ["from_ring", "from_ring"], ["from_ring2"]),
        node("Add", ["from_ring2", "yy"], ["tube2"]),
        node("Sqrt", ["tube2"], ["from_middle"]),
        node("Sub", ["from_middle", "tube"], ["donut"]),
        node("Mul", ["donut", "holed"], ["if_donut"]),
        node("Sub", ["one", "holed"], ["whole"]),
        node("Mul", ["ball", "whole"], ["if_ball"]),
        node("Mul", ["nothing", "far"], ["if_nothing"]),
        node("Sum", ["if_donut", "if_ball", "if_nothing"], ["distance"]),
        node("Concat", ["distance", "still", "color"], ["field"], axis=2),
    ]
    _write_model(
        folder,
        nodes,
        constants,
        ("features", [1, POINTS, CHANNELS], "flat"),
        ("field", [1, POINTS, 7], "flat"),
        {"form": "field"},
    )


def _write_model(
    folder: Path,
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    source: tuple[str, list[int], str],
    result: tuple[str, list[int], str],
    more: dict[str, Any],
) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    from edgekit.core.manifest import BundleManifest, write_bundle
    from edgekit.core.store import file_sha256, size_bytes

    graph = helper.make_graph(
        nodes,
        "known",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file, golden = folder / "onnx" / "known.fp32.onnx", folder / "golden" / "vectors.npz"
    for path in (file, golden):
        path.parent.mkdir(parents=True)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(file))
    np.savez(golden)
    ports = [
        {"name": n, "shape": s, "dtype": "float32", "layout": how, "low": -1, "high": 1}
        for n, s, how in (source, result)
    ]
    sha = "0" * 64
    value = {
        "recipe_sha256": sha,
        "name": "known",
        "prompt": "",
        "edgekit": "0+test",
        "student": {
            "sha256": sha,
            "recipe_sha256": sha,
            "teacher": "none",
            "parameters": 0,
            "gmac": 0.0,
            "size_px": SIZE,
        },
        "models": [
            {
                "target": "onnx",
                "format": "onnx",
                "precision": "fp32",
                "path": "onnx/known.fp32.onnx",
                "sha256": file_sha256(file),
                "bytes": size_bytes(file),
                "inputs": [ports[0]],
                "outputs": [ports[1]],
                "recipe": "written by hand",
                "executed": False,
                "parity": None,
                "tools": {},
            }
        ],
        "golden": {"path": "golden/vectors.npz", "sha256": file_sha256(golden), "samples": 0},
        "licences": {},
        **more,
    }
    write_bundle(folder, BundleManifest.model_validate(value))
