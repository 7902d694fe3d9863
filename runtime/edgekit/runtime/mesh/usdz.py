"""USDZ: a mesh for AR Quick Look, as text of USD in a zip file that is not compressed.

https://openusd.org/release/spec_usdz.html: the first file is the scene, and every file begins at a
multiple of 64 bytes.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np

from edgekit.core.tensors import Batch
from edgekit.core.versions import edgekit_version
from edgekit.runtime.mesh.gltf import ROUGHNESS, linear, png_bytes
from edgekit.runtime.mesh.surface import Mesh, vertex_normals

ALIGNMENT = 64
_LOCAL_HEADER = 30
_PADDING_ID = 0x1986
_DATE = (1981, 1, 1, 0, 0, 0)
TEXTURE = "texture.png"

_SCENE = """#usda 1.0
(
    customLayerData = {{ string creator = "edgekit {version}" }}
    defaultPrim = "Object"
    metersPerUnit = 1
    upAxis = "Y"
)

def Xform "Object" ( kind = "component" )
{{
    def Mesh "Surface" ( prepend apiSchemas = ["MaterialBindingAPI"] )
    {{
        float3[] extent = [{extent}]
        int[] faceVertexCounts = [{counts}]
        int[] faceVertexIndices = [{triangles}]
        point3f[] points = [{points}]
        normal3f[] normals = [{normals}] ( interpolation = "vertex" )
        {colors}
        uniform token subdivisionScheme = "none"
        rel material:binding = </Object/Paint>
    }}

    def Material "Paint"
    {{
        token outputs:surface.connect = </Object/Paint/Surface.outputs:surface>

        def Shader "Surface"
        {{
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </Object/Paint/Color.outputs:{output}>
            float inputs:metallic = 0
            float inputs:roughness = {roughness}
            token outputs:surface
        }}
{shaders}    }}
}}
"""
_TEXTURED = """
        def Shader "Color"
        {
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @texture.png@
            token inputs:sourceColorSpace = "sRGB"
            float2 inputs:st.connect = </Object/Paint/Place.outputs:result>
            token inputs:wrapS = "repeat"
            token inputs:wrapT = "repeat"
            float3 outputs:rgb
        }

        def Shader "Place"
        {
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }
"""
_COLORED = """
        def Shader "Color"
        {
            uniform token info:id = "UsdPrimvarReader_float3"
            string inputs:varname = "displayColor"
            float3 inputs:fallback = (0.45, 0.45, 0.45)
            float3 outputs:result
        }
"""


def usdz_bytes(mesh: Mesh) -> bytes:
    """Return `mesh` as the bytes of a .usdz file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, buffer, "scene.usda", scene_text(mesh).encode())
        if mesh.texture is not None:
            _add(archive, buffer, TEXTURE, png_bytes(mesh.texture))
    return buffer.getvalue()


def scene_text(mesh: Mesh) -> str:
    """Return the scene: one mesh, its material, and its texture by name."""
    textured = mesh.uvs is not None and mesh.texture is not None
    colors = ""
    if mesh.uvs is not None and textured:
        upward = mesh.uvs * (1, -1) + (0, 1)  # USD's first row is the picture's last
        colors = f'texCoord2f[] primvars:st = [{_rows(upward)}] ( interpolation = "vertex" )'
    elif mesh.colors is not None:
        light = _rows(linear(mesh.colors))
        colors = f'color3f[] primvars:displayColor = [{light}] ( interpolation = "vertex" )'
    normals = mesh.normals if mesh.normals is not None else vertex_normals(mesh)
    return _SCENE.format(
        version=edgekit_version(),
        extent=_rows(np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])),
        counts=", ".join(["3"] * len(mesh.triangles)),
        triangles=", ".join(map(str, mesh.triangles.ravel().tolist())),
        points=_rows(mesh.vertices),
        normals=_rows(normals),
        colors=colors,
        output="rgb" if textured else "result",
        roughness=ROUGHNESS,
        shaders=_TEXTURED if textured else _COLORED,
    )


def _rows(values: Batch) -> str:
    row = "(" + ", ".join(["%.6g"] * values.shape[1]) + ")"
    return ", ".join([row] * len(values)) % tuple(np.asarray(values, np.float64).ravel().tolist())


def _add(archive: zipfile.ZipFile, buffer: io.BytesIO, name: str, data: bytes) -> None:
    """Write a file so that its data begin at a multiple of 64, behind a field of zeros."""
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o644 << 16
    start = buffer.tell() + _LOCAL_HEADER + len(name)
    if rest := -start % ALIGNMENT:
        length = rest - 4 if rest >= 4 else rest - 4 + ALIGNMENT
        info.extra = _PADDING_ID.to_bytes(2, "little") + length.to_bytes(2, "little")
        info.extra += bytes(length)
    archive.writestr(info, data)
