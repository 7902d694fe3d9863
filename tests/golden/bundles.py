"""The part of golden.json that is about a bundle's files: manifest, ports, vectors, hashes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.manifest import AdapterEntry, BlockEntry, BundleManifest, PortEntry
from edgekit.core.store import file_sha256, value_sha256

HEX = "0123456789abcdef" * 4


def toy_entry() -> AdapterEntry:
    """Return how the toy base's second input is filled."""
    return AdapterEntry(
        port="adapter",
        length=40,
        base_sha256=HEX,
        layout_sha256=HEX[::-1],
        capacity={"down": 2, "up": 3},
        blocks=(
            block("stem.gain", "norms", "", 0, 1, 4),
            block("stem.A", "factors", "down", 4, 2, 3),
            block("stem.B", "factors", "down", 10, 2, 5),
            block("head.A", "factors", "up", 20, 3, 2),
            block("head.B", "factors", "up", 26, 3, 4),
            block("text.key", "text", "", 38, 1, 2),
        ),
    )


def block(name: str, part: Any, group: str, offset: int, rows: int, columns: int) -> BlockEntry:
    """Return one run of values."""
    return BlockEntry(
        name=name, part=part, group=group, offset=offset, rows=rows, most=rows, columns=columns
    )


def vectors() -> dict[str, Any]:
    """Golden vectors as `edgekit export` writes them, and files that are refused."""
    arrays = {
        "image": np.random.default_rng(3).uniform(-1, 1, (2, 3, 2, 4)).astype(np.float32),
        "image_out": np.linspace(-1, 1, 48, dtype=np.float32).reshape(2, 3, 2, 4),
        "adapter": np.arange(4, dtype=np.float32).reshape(2, 2) / 3,
    }
    good = npz(arrays)
    packed = npz(arrays, packed=True)
    doubles = npz({"image": arrays["image"].astype(np.float64)})
    refused = {"cut short": good[:40], "compressed": packed, "does not hold float32": doubles}
    return {
        "npz": base64.b64encode(good).decode(),
        "arrays": {
            name: {"shape": list(array.shape), "values": numbers(array)}
            for name, array in arrays.items()
        },
        "refused": [
            {"words": words, "npz": base64.b64encode(data).decode()}
            for words, data in refused.items()
        ],
    }


def npz(arrays: dict[str, np.ndarray], *, packed: bool = False) -> bytes:
    """Return an .npz file that is the same on every day."""
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w") as made:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            made.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), kind)
    return file.getvalue()


def hashes() -> list[dict[str, str]]:
    """Bytes and their sha256."""
    return [
        {
            "bytes": base64.b64encode(data).decode(),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for data in (b"", b"abc", bytes(range(256)))
    ]


def folders() -> list[dict[str, Any]]:
    """A folder that is listed as one file, with names that sort differently by text and by path."""
    files = {"a/z": b"1", "a.b": b"2", "a/b/c": b"", "A": b"3", "a-b/d": b"4", ".hidden": b"5"}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(data)
        sha256 = file_sha256(Path(folder))
    kept = {name: base64.b64encode(data).decode() for name, data in files.items()}
    return [{"files": kept, "sha256": sha256}]


def seals() -> list[dict[str, str]]:
    """Texts whose numbers and letters languages spell differently."""
    value = {
        "manifest_sha256": HEX,
        "name": 'é "quoted" \\ / \n\t\x01 \u2028 🙂',
        "numbers": [1, 1.0, -0.0, 1e-05, 0.0001, 1e16, 1e22, 123456789.123, 2.5e-07, 10**20],
        "Z": {"\uffff": True, "\U0001f600": None, "b": [], "a": {}, "A": False},
    }
    kept = {name: item for name, item in value.items() if name != "manifest_sha256"}
    texts = (json.dumps(value, indent=2, ensure_ascii=False), json.dumps(value))
    return [{"text": text, "sha256": value_sha256(kept)} for text in texts]


def manifests() -> list[dict[str, Any]]:
    """Manifests that are refused, with words of the reason, and ones that are not."""
    good = full_manifest()
    model, *others = good["models"]
    concept_row = good["concepts"][0]
    part = {"name": "enroller", "path": "enroller", "form": "enroller", "sha256": HEX}
    asset = {"name": "words", "path": "words.safetensors", "sha256": HEX, "bytes": 9}
    whole = {**good, "form": "restorer", "parts": [part], "assets": [asset], "concepts": []}
    return [
        {"manifest": good, "refused": None},
        {
            "manifest": {**good, "concepts": [], "adapter_input": None, "models": [model]},
            "refused": None,
        },
        {"manifest": {"kind": "student"}, "refused": "not the manifest of a bundle"},
        {"manifest": {**good, "schema_version": 2}, "refused": "version 2"},
        *(
            {
                "manifest": {**good, "models": [{**model, "path": path}, *others]},
                "refused": "unsafe path",
            }
            for path in ("../secret", "/etc/passwd", "a/../../b", "https://host/x", "a\\b", "")
        ),
        {
            "manifest": {**good, "concepts": [{**concept_row, "path": "a/../b"}]},
            "refused": "unsafe path",
        },
        {
            "manifest": {**good, "golden": {**good["golden"], "path": ".hidden"}},
            "refused": "unsafe path",
        },
        {
            "manifest": {**good, "models": [{**model, "sha256": "12"}, *others]},
            "refused": "sha256",
        },
        {"manifest": {"kind": "bundle", "schema_version": 1}, "refused": "lists no models"},
        {"manifest": whole, "refused": None},
        {"manifest": {**whole, "parts": [{**part, "path": "../other"}]}, "refused": "unsafe path"},
        {"manifest": {**whole, "parts": [{**part, "sha256": ""}]}, "refused": "sha256"},
        {"manifest": {**whole, "assets": [{**asset, "path": "/words"}]}, "refused": "unsafe path"},
    ]


def full_manifest() -> dict[str, Any]:
    """Return the manifest of a base with every field that an app reads, as pydantic accepts it."""
    adapter = PortEntry(
        name="adapter", shape=(1, 40), dtype="float32", layout="flat", low=0.0, high=1.0
    )
    files = (
        ("onnx", "onnx", "fp32", "nchw", (1, 3, 64, 64), "float32"),
        ("android", "tflite", "int8", "nhwc", (1, 64, 64, 3), "float32"),
        ("ios", "mlpackage", "fp16", "image", (1, 64, 64, 3), "image"),
        ("ios", "aimodel", "fp16", "nchw", (1, 3, 64, 64), "float16"),
    )
    models = []
    for target, form, precision, layout, shape, dtype in files:
        low, high = (0.0, 255.0) if dtype == "image" else (-1.0, 1.0)
        facts = {"shape": shape, "dtype": dtype, "layout": layout, "low": low, "high": high}
        models.append(
            {
                "target": target,
                "format": form,
                "precision": precision,
                "path": f"{target}/base.{precision}.{form}",
                "sha256": HEX,
                "bytes": 4000000,
                "inputs": [{"name": "image", **facts}, adapter.model_dump()],
                "outputs": [{"name": "image_out", **facts}],
                "minimum_os": "iOS16" if target == "ios" else None,
                "recipe": "as the student",
                "executed": form != "mlpackage",
                "parity": None,
                "placement": {"Conv": 30, "Add": 12},
                "tools": {"edgekit": "0.1"},
            }
        )
    concept_row = {
        "name": "night",
        "prompt": "make it night",
        "path": "adapters/night.safetensors",
        "sha256": HEX,
        "bytes": 91176,
        "ranks": {"down": 1, "up": 2},
    }
    student = {
        "sha256": HEX,
        "recipe_sha256": HEX,
        "teacher": "edgekit-teacher@0123456789ab",
        "parameters": 949711,
        "gmac": 0.14,
        "size_px": 64,
    }
    value = {
        "recipe_sha256": HEX,
        "name": "base",
        "prompt": "",
        "edgekit": "0.1",
        "form": "base",
        "student": student,
        "models": models,
        "golden": {"path": "golden/vectors.npz", "sha256": HEX, "samples": 2},
        "adapter_input": toy_entry(),
        "concepts": [
            concept_row,
            {**concept_row, "name": "snow", "prompt": "make it snowy"},
        ],
        "licences": {"weights": "Apache-2.0"},
    }
    return BundleManifest.model_validate(value).model_dump(mode="json", exclude_none=True)


def ports() -> list[dict[str, Any]]:
    """The inputs or outputs of a model, and the sides [height, width] of its one picture."""

    def port(name: str, shape: list[int], layout: str, dtype: str = "float32") -> dict[str, Any]:
        return {"name": name, "shape": shape, "layout": layout, "dtype": dtype}

    picture = port("image", [1, 3, 32, 48], "nchw")
    adapter = port("adapter", [1, 40], "flat")
    return [
        {"ports": [picture], "adapter": None, "sides": [32, 48]},
        {"ports": [port("image", [1, 32, 48, 3], "nhwc")], "adapter": None, "sides": [32, 48]},
        {
            "ports": [port("image", [1, 32, 48, 3], "image", "image")],
            "adapter": None,
            "sides": [32, 48],
        },
        {"ports": [picture, adapter], "adapter": "adapter", "sides": [32, 48]},
        {"ports": [adapter], "adapter": None, "sides": None},
        {"ports": [port("image", [2, 3, 32, 48], "nchw")], "adapter": None, "sides": None},
        {"ports": [port("mask", [1, 1, 32, 48], "nchw")], "adapter": None, "sides": None},
        {"ports": [picture, {**picture, "name": "style"}], "adapter": None, "sides": None},
    ]


def numbers(values: np.ndarray) -> list[float]:
    """Return a flat list with enough digits for float32 and float64."""
    return [float(f"{value:.9g}") for value in np.asarray(values, np.float64).reshape(-1)]
