"""What a mesh on disk is worth: which prompt it is taken for, how many fronts it has, its edges.

Everything starts from the GLB file, read by trimesh and not by what wrote it. Its pictures go to a
judge: a classifier of shape, theme and accessory that was trained on other renders than the
teacher's and is in no loss. A prompt's score in a picture is the sum of the logarithms of its
words' probabilities; R-precision is the share of pictures in which a mesh's own prompt scores
highest of all prompts of the world.

Shape key:
    B pictures   V vertices   S side of a picture
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.render.rasterize import interpolate, rasterize, vertex_normals
from edgekit.distill.render.views import Cameras, cameras_at, over, ring, shaded
from edgekit.distill.teachers.views.judge import WORDS, Judge, labels_of

RING = 12
"""Cameras around a mesh; every third one is a view of its sheet."""
TILTS_DEG = (0.0, 30.0)
"""Heights of two more rings of four cameras, whose pictures the judge sees too."""
BACKGROUND = 0.5
"""Grey behind every mesh: the judge has seen backgrounds of every colour."""
FINER = 2
"""Pixels rendered for each pixel of a picture, along each axis."""


@dataclass(frozen=True, slots=True)
class Solid:
    """A mesh as its file has it, corners apart where the texture has seams."""

    vertices: Tensor
    triangles: Tensor
    colors: Tensor | None
    """V x 3, 0..1."""
    uvs: Tensor | None
    """V x 2, v upwards."""
    texture: Tensor | None
    """1 x 3 x H x W, 0..1."""
    whole: trimesh.Trimesh
    """Corners at one place joined."""

    @property
    def watertight(self) -> bool:
        """Whether every edge has two triangles that agree on the outside."""
        return bool(self.whole.is_watertight and self.whole.is_winding_consistent)

    def facts(self) -> dict[str, Any]:
        """Return what is counted."""
        return {
            "watertight": self.watertight,
            "vertices": len(self.whole.vertices),
            "triangles": len(self.triangles),
            "pieces": int(self.whole.body_count),
        }


def read_solid(path: Path) -> Solid:
    """Read a GLB file; ValueError if there is not one surface in it."""
    held = list(trimesh.load_scene(path, process=False).geometry.values())
    if len(held) != 1 or not len(held[0].faces):
        raise ValueError(f"{path} holds {len(held)} meshes, expected one with triangles")
    loaded = held[0]
    uvs = texture = colors = None
    image = _base_color(loaded.visual)
    if image is not None:
        uvs = torch.from_numpy(np.asarray(loaded.visual.uv, np.float32))
        pixels = np.array(image.convert("RGB"), np.float32) / 255
        texture = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    else:
        # Colours of vertices are linear in glTF, those of textures are not.
        linear = _vertex_colors(loaded.visual)[:, :3]
        steep = 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055
        colors = torch.from_numpy(np.where(linear <= 0.0031308, 12.92 * linear, steep))
    whole = trimesh.Trimesh(loaded.vertices, loaded.faces, process=False)
    whole.merge_vertices(merge_tex=True, merge_norm=True)
    return Solid(
        torch.from_numpy(np.asarray(loaded.vertices, np.float32)),
        torch.from_numpy(np.asarray(loaded.faces, np.int64)),
        colors,
        uvs,
        texture,
        whole,
    )


def _base_color(visual: Any) -> Any:
    material = getattr(visual, "material", None)
    if material is None or getattr(visual, "uv", None) is None:
        return None
    return getattr(material, "baseColorTexture", None) or getattr(material, "image", None)


def _vertex_colors(visual: Any) -> NDArray[np.float32]:
    # With a material beside them, trimesh hands the colours through as the file has them.
    values = getattr(visual, "vertex_attributes", {}).get("color")
    values = np.asarray(visual.vertex_colors if values is None else values)
    most = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    shares: NDArray[np.float32] = values.astype(np.float32) / np.float32(most)
    return shares


def judged_cameras() -> Cameras:
    """Return the ring, then the two rings of four: all that the judge sees."""
    parts = [ring(RING), *(ring(4, pitch_deg=tilt) for tilt in TILTS_DEG)]
    return cameras_at(torch.cat([p.yaw for p in parts]), torch.cat([p.pitch for p in parts]))


@torch.no_grad()
def pictures(solid: Solid, cameras: Cameras, size_px: int) -> Tensor:
    """Return B x 3 x S x S pictures in 0..1, lit as the teacher's were."""
    device = solid.vertices.device
    side = size_px * FINER
    projected = cameras.projected(solid.vertices)
    raster = rasterize(projected, solid.triangles, (side, side))
    normals = _smooth_normals(solid)
    if solid.texture is not None and solid.uvs is not None:
        uvs = interpolate(solid.uvs, raster, solid.triangles) * 2 - 1
        places = torch.stack([uvs[..., 0], -uvs[..., 1]], -1)
        texture = solid.texture.expand(len(cameras), -1, -1, -1)
        albedo = F.grid_sample(texture, places, align_corners=False, padding_mode="border")
        albedo = albedo.permute(0, 2, 3, 1)
    else:
        assert solid.colors is not None
        albedo = interpolate(solid.colors, raster, solid.triangles)
    facing = F.normalize(interpolate(normals, raster, solid.triangles), dim=-1)
    share = raster.covered[..., None].float()
    background = torch.full((len(cameras), 3), BACKGROUND, device=device)
    drawn = over(shaded(albedo, facing, cameras) * share, share, background)
    return F.avg_pool2d(drawn.permute(0, 3, 1, 2), FINER).clamp(0, 1)


def levels_apart(one: Tensor, other: Tensor) -> float:
    """Return the mean difference, 0..255, of two B x 3 x S x S where either shows a thing."""
    drawn = sum((images - BACKGROUND).abs().amax(1) > 0.5 / 255 for images in (one, other)) > 0
    return float((one - other).abs().mean(1)[drawn].mean()) * 255


def _smooth_normals(solid: Solid) -> Tensor:
    """Return normals of the closed surface: a seam of the texture is no edge of the light."""
    _, place = torch.unique(solid.vertices, dim=0, return_inverse=True)
    positions = solid.vertices.new_zeros(int(place.max()) + 1, 3)
    positions[place] = solid.vertices
    return vertex_normals(positions[None], place[solid.triangles])[0][place]


def verdict(
    judge: Judge, images: Tensor, prompts: Sequence[str], own: int
) -> dict[str, float | int | list[int]]:
    """Return what the judge says of one mesh's pictures (those of `judged_cameras`).

    `r` is R-precision, `r_mesh` whether the mean over all pictures retrieves the prompt, then the
    share of pictures in which each of its words is named, and where on the ring eyes are seen.
    """
    said, wanted = judge.log_probs(images), labels_of(prompts)
    scores = torch.stack([said[kind][:, numbers] for kind, numbers in wanted.items()]).sum(0)
    named = {
        kind: round(float((said[kind].argmax(1) == numbers[own]).float().mean()), 4)
        for kind, numbers in wanted.items()
    }
    eyes = said["eyes"][:RING].argmax(1) == WORDS["eyes"].index("seen")
    return {
        "r": round(float((scores.argmax(1) == own).float().mean()), 4),
        "r_mesh": int(scores.mean(0).argmax() == own),
        **named,
        "eyes": eyes.int().tolist(),
    }
