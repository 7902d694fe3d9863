"""GLB: a mesh as one binary glTF 2.0 file, and back.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html. Positions, normals and either texture
coordinates with an embedded PNG or colours of vertices, which glTF keeps linear: they are sRGB in a
`Mesh` and are converted on the way.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from edgekit.core.errors import BadInput
from edgekit.core.images import load_photo
from edgekit.core.tensors import Batch, Photo
from edgekit.core.versions import edgekit_version
from edgekit.runtime.mesh.surface import Mesh, vertex_normals

_HEADER = struct.Struct("<4sII")
_CHUNK = struct.Struct("<I4s")
_VERTICES, _INDICES = 34962, 34963
_TYPES = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_LINEAR, _MIPMAPS, _REPEAT = 9729, 9987, 10497
ROUGHNESS = 0.9


@dataclass(frozen=True, slots=True)
class _Buffer:
    """The file's one buffer and what points into it."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def view(self, data: bytes, target: int | None = None) -> int:
        self.data.extend(bytes(-len(self.data) % 4))
        row = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(row | ({"target": target} if target else {}))
        self.data.extend(data)
        return len(self.views) - 1

    def array(self, values: Batch, *, normalized: bool = False, limits: bool = False) -> int:
        """Add an accessor; one value a row is a list of indices, more are a vertex's."""
        width = values.shape[1] if values.ndim > 1 else 1
        target = _VERTICES if values.ndim > 1 else _INDICES
        row: dict[str, Any] = {
            "bufferView": self.view(values.tobytes(), target),
            "componentType": _TYPES[values.dtype.name],
            "count": len(values),
            "type": _SHAPES[width],
        }
        if normalized:
            row["normalized"] = True
        if limits:
            row |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(row)
        return len(self.accessors) - 1


def glb_bytes(mesh: Mesh, *, name: str = "mesh") -> bytes:
    """Return `mesh` as the bytes of a .glb file; its node and its mesh are called `name`."""
    buffer = _Buffer()
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    index = np.uint16 if len(mesh.vertices) < 65535 else np.uint32
    attributes = {
        "POSITION": buffer.array(np.ascontiguousarray(mesh.vertices, np.float32), limits=True),
        "NORMAL": buffer.array(np.ascontiguousarray(normals, np.float32)),
    }
    surface: dict[str, Any] = {"metallicFactor": 0, "roughnessFactor": ROUGHNESS}
    extra: dict[str, Any] = {}
    if mesh.uvs is not None and mesh.texture is not None:
        attributes["TEXCOORD_0"] = buffer.array(np.ascontiguousarray(mesh.uvs, np.float32))
        surface["baseColorTexture"] = {"index": 0}
        extra = {
            "textures": [{"sampler": 0, "source": 0}],
            "samplers": [
                {
                    "magFilter": _LINEAR,
                    "minFilter": _MIPMAPS,
                    "wrapS": _REPEAT,
                    "wrapT": _REPEAT,
                }
            ],
            "images": [
                {"bufferView": buffer.view(png_bytes(mesh.texture)), "mimeType": "image/png"}
            ],
        }
    elif mesh.colors is not None:
        opaque = np.pad(linear(mesh.colors), ((0, 0), (0, 1)), constant_values=1)
        levels = np.rint(opaque * 65535).astype(np.uint16)
        attributes["COLOR_0"] = buffer.array(levels, normalized=True)
    triangles = mesh.triangles.astype(index).reshape(-1)
    primitive = {"attributes": attributes, "indices": buffer.array(triangles), "material": 0}
    buffer.data.extend(bytes(-len(buffer.data) % 4))
    value = {
        "asset": {"version": "2.0", "generator": f"edgekit {edgekit_version()}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [{"name": name, "pbrMetallicRoughness": surface}],
        **extra,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = [
        _CHUNK.pack(len(part), kind) + part
        for part, kind in ((text, b"JSON"), (bytes(buffer.data), b"BIN\0"))
    ]
    size = _HEADER.size + sum(map(len, chunks))
    return b"".join([_HEADER.pack(b"glTF", 2, size), *chunks])


def mesh_of_glb(data: bytes, *, label: str = "the file") -> Mesh:
    """Return the first mesh of a GLB whose buffer is inside of it, as `glb_bytes` writes it.

    Raises BadInput for anything else.
    """
    try:
        magic, version, size = _HEADER.unpack_from(data)
        if magic != b"glTF" or version != 2 or size != len(data):
            raise ValueError("it does not begin like a GLB of version 2, or was cut off")
        length, _ = _CHUNK.unpack_from(data, _HEADER.size)
        start = _HEADER.size + _CHUNK.size
        value = json.loads(data[start : start + length])
        held = data[start + length + _CHUNK.size :]
        primitive = value["meshes"][0]["primitives"][0]
        arrays = {
            key: _read(value, held, number) for key, number in primitive["attributes"].items()
        }
        triangles = _read(value, held, primitive["indices"]).astype(np.int64).reshape(-1, 3)
        texture = _picture(value, held, primitive.get("material"))
        colors = arrays.get("COLOR_0")
        return Mesh(
            arrays["POSITION"],
            triangles,
            colors=None if colors is None else srgb(colors[:, :3]),
            uvs=arrays.get("TEXCOORD_0"),
            texture=texture,
            normals=arrays.get("NORMAL"),
        )
    except (struct.error, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadInput(
            f"{label} is no GLB that can be read: {error}", hint="export the model as one .glb file"
        ) from error


def _read(value: dict[str, Any], held: bytes, number: int) -> Batch:
    row = value["accessors"][number]
    view = value["bufferViews"][row["bufferView"]]
    if "sparse" in row or "byteStride" in view:
        raise ValueError("its arrays are sparse or interleaved")
    dtype = np.dtype({code: name for name, code in _TYPES.items()}[row["componentType"]])
    width = {name: count for count, name in _SHAPES.items()}[row["type"]]
    start = view.get("byteOffset", 0) + row.get("byteOffset", 0)
    values: Batch = np.frombuffer(held, dtype, row["count"] * width, start)
    if row.get("normalized"):
        values = values.astype(np.float32) / np.float32(np.iinfo(dtype).max)
    return values.reshape(-1, width) if width > 1 else values


def _picture(value: dict[str, Any], held: bytes, material: int | None) -> Photo | None:
    if material is None:
        return None
    surface = value["materials"][material].get("pbrMetallicRoughness", {})
    if "baseColorTexture" not in surface:
        return None
    source = value["textures"][surface["baseColorTexture"]["index"]]["source"]
    view = value["bufferViews"][value["images"][source]["bufferView"]]
    start = view.get("byteOffset", 0)
    return load_photo(held[start : start + view["byteLength"]], name="its texture", min_side=1)


def png_bytes(photo: Photo) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def linear(colors: Batch) -> Batch:
    """Return the light of sRGB colours 0 ... 1 (IEC 61966-2-1).

    >>> linear(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [0.0, 0.214, 1.0]
    """
    given = np.clip(colors, 0, 1)
    light: Batch = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    return light


def srgb(light: Batch) -> Batch:
    """Return the sRGB colours 0 ... 1, float32, of linear light; the inverse of `linear`."""
    given = np.clip(light, 0, 1)
    colors = np.where(given <= 0.0031308, given * 12.92, 1.055 * given ** (1 / 2.4) - 0.055)
    return colors.astype(np.float32)
