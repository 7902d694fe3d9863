"""The rules of glTF 2.0 that a mesh without animation can break, each checked on a file's bytes.

Numbers of sections are those of https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32}
COMPONENTS[5126] = np.float32
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
ATTRIBUTES = {
    "POSITION": ("VEC3", {(5126, False)}),
    "NORMAL": ("VEC3", {(5126, False)}),
    "TEXCOORD_0": ("VEC2", {(5126, False), (5121, True), (5123, True)}),
    "COLOR_0": ("VEC4", {(5126, False), (5121, True), (5123, True)}),
}
KNOWN = {"asset", "scene", "scenes", "nodes", "meshes", "materials", "textures", "samplers"}
KNOWN |= {"images", "accessors", "bufferViews", "buffers"}


def broken_rules(data: bytes) -> list[str]:
    """Return what is wrong with the .glb file `data`; empty if nothing is."""
    try:
        value, held = _chunks(data)
    except ValueError as error:
        return [str(error)]
    broken = [f"unknown property {key!r}" for key in set(value) - KNOWN]
    broken += [f"{key} is empty" for key, part in value.items() if part == []]
    if value.get("asset", {}).get("version") != "2.0":
        broken.append("3.2: asset.version is not 2.0")
    size = value["buffers"][0]["byteLength"]
    if len(value["buffers"]) != 1 or "uri" in value["buffers"][0] or not 0 <= len(held) - size <= 3:
        broken.append("4.4.3.3: the buffer's length is not that of the chunk, up to padding")
    for number, view in enumerate(value["bufferViews"]):
        if view.get("byteOffset", 0) + view["byteLength"] > size:
            broken.append(f"3.6.1.1: view {number} ends behind the buffer")
    for number in range(len(value["accessors"])):
        broken += _accessor(value, held, number)
    for mesh in value["meshes"]:
        for primitive in mesh["primitives"]:
            broken += _primitive(value, held, primitive)
    broken += _references(value)
    return broken + _images(value, held)


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF" or version != 2 or length != len(data):
        raise ValueError("4.4.2: header")
    chunks, start = [], 12
    while start < len(data):
        size, kind = struct.unpack_from("<I4s", data, start)
        if size % 4 or start + 8 + size > len(data):
            raise ValueError("4.4.3: a chunk does not end at a multiple of 4")
        chunks.append((kind, data[start + 8 : start + 8 + size]))
        start += 8 + size
    if [kind for kind, _ in chunks] != [b"JSON", b"BIN\0"]:
        raise ValueError("4.4.3: the chunks are not JSON, then BIN")
    text = chunks[0][1]
    if text != text.rstrip(b"\0") or not text.rstrip(b" ").endswith(b"}"):
        raise ValueError("4.4.3.2: JSON is not padded with spaces")
    return json.loads(text), chunks[1][1]


def _array(value: dict[str, Any], held: bytes, number: int) -> np.ndarray:
    row = value["accessors"][number]
    view = value["bufferViews"][row["bufferView"]]
    start = view.get("byteOffset", 0) + row.get("byteOffset", 0)
    width = WIDTHS[row["type"]]
    kind = np.dtype(COMPONENTS[row["componentType"]]).newbyteorder("<")
    return np.frombuffer(held, kind, row["count"] * width, start).reshape(-1, width)


def _accessor(value: dict[str, Any], held: bytes, number: int) -> list[str]:
    row = value["accessors"][number]
    view = value["bufferViews"][row["bufferView"]]
    size = np.dtype(COMPONENTS[row["componentType"]]).itemsize
    start = view.get("byteOffset", 0) + row.get("byteOffset", 0)
    step, broken = size * WIDTHS[row["type"]], []
    if start % size or row.get("byteOffset", 0) % size:
        broken.append(f"3.6.2.4: accessor {number} is not aligned")
    if row.get("byteOffset", 0) + row["count"] * step > view["byteLength"] or row["count"] < 1:
        broken.append(f"3.6.2.4: accessor {number} does not fit into its view")
    if view.get("target") == 34962 and step % 4:
        broken.append(f"3.6.2.4: vertices of accessor {number} do not begin at multiples of 4")
    if row.get("normalized") and row["componentType"] in (5125, 5126):
        broken.append(f"accessor {number} is normalized and no small integer")
    values = _array(value, held, number)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        broken.append(f"3.6.2.1: accessor {number} holds what is no number")
    for key, found in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
        if key in row and not np.array_equal(np.array(row[key], values.dtype), found):
            broken.append(f"3.6.2.5: {key} of accessor {number} is not that of its values")
    return broken


def _primitive(value: dict[str, Any], held: bytes, primitive: dict[str, Any]) -> list[str]:
    broken = []
    counts = set()
    for name, number in primitive["attributes"].items():
        row = value["accessors"][number]
        kind, forms = ATTRIBUTES[name]
        counts.add(row["count"])
        if row["type"] != kind or (row["componentType"], row.get("normalized", False)) not in forms:
            broken.append(f"3.7.2.1: {name} has another type")
        if value["bufferViews"][row["bufferView"]].get("target") != 34962:
            broken.append(f"{name} lies in no view for vertices")
    position = value["accessors"][primitive["attributes"]["POSITION"]]
    if not {"min", "max"} <= set(position):
        broken.append("3.7.2.1: POSITION has no min and max")
    if len(counts) != 1:
        broken.append("3.7.2.1: attributes of different length")
    if "NORMAL" in primitive["attributes"]:
        normals = _array(value, held, primitive["attributes"]["NORMAL"])
        if np.abs(np.linalg.norm(normals, axis=1) - 1).max() > 5e-4:
            broken.append("3.7.2.1: a normal is not of length 1")
    row = value["accessors"][primitive["indices"]]
    indices = _array(value, held, primitive["indices"])
    if row["type"] != "SCALAR" or row["componentType"] not in (5121, 5123, 5125):
        broken.append("3.7.2.1: indices of another type")
    if row["count"] % 3 or primitive.get("mode", 4) != 4:
        broken.append("3.7.2.1: no list of triangles")
    if indices.max() >= min(counts) or indices.max() == np.iinfo(indices.dtype).max:
        broken.append("3.7.2.1: an index beyond the vertices, or the restart value")
    corners = indices.reshape(-1, 3)
    if (corners[:, [0, 1, 2]] == corners[:, [1, 2, 0]]).any():
        broken.append("a triangle names a vertex twice")
    return broken


def _references(value: dict[str, Any]) -> list[str]:
    """Everything is referred to, and what is referred to is there."""
    used: dict[str, set[int]] = {key: set() for key in KNOWN if isinstance(value.get(key), list)}
    used["scenes"].add(value["scene"])
    used["buffers"] = {view["buffer"] for view in value["bufferViews"]}
    used["bufferViews"] = {row["bufferView"] for row in value["accessors"]}
    for scene in value["scenes"]:
        used["nodes"] |= set(scene["nodes"])
    used["meshes"] = {node["mesh"] for node in value["nodes"]}
    for mesh in value["meshes"]:
        for primitive in mesh["primitives"]:
            used["accessors"] |= {*primitive["attributes"].values(), primitive["indices"]}
            used["materials"].add(primitive["material"])
    for material in value["materials"]:
        surface = material["pbrMetallicRoughness"]
        if "baseColorTexture" in surface:
            used["textures"].add(surface["baseColorTexture"]["index"])
    for texture in value.get("textures", []):
        used["samplers"].add(texture["sampler"])
        used["images"].add(texture["source"])
    used["bufferViews"] |= {image["bufferView"] for image in value.get("images", [])}
    return [
        f"{key}: {sorted(numbers)} of {len(value[key])} are referred to"
        for key, numbers in used.items()
        if numbers != set(range(len(value[key])))
    ]


def _images(value: dict[str, Any], held: bytes) -> list[str]:
    broken = []
    for image in value.get("images", []):
        view = value["bufferViews"][image["bufferView"]]
        data = held[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        if image.get("mimeType") != "image/png" or not data.startswith(b"\x89PNG\r\n\x1a\n"):
            broken.append("3.8.4: an image is not the PNG that it says")
        if "target" in view or "byteStride" in view:
            broken.append("3.6.1: the view of an image has a target")
    return broken
