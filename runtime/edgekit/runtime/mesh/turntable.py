"""Pictures of a mesh in numpy: a turntable, and four views, by the cameras of training."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from edgekit.core.images import resized
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.mesh.raster import covered
from edgekit.runtime.mesh.surface import Mesh, vertex_normals

DISTANCE, FIELD_DEG, PITCH_DEG = 2.8, 40.0, 15.0
AMBIENT, DIFFUSE = 0.55, 0.45
LIGHT = (-0.45, 0.65, 0.61)
"""The same as `distill.render.views`: a mesh looks here as it did while it was learned."""
WHITE = (255, 255, 255)
SAMPLES = 2
"""Rows and columns of samples a pixel."""
FRAMES, FRAME_MS = 36, 70
PLAIN = 0.7
"""Grey of a mesh without colours."""


@dataclass(frozen=True, slots=True)
class View:
    """Where a picture is taken from, in degrees: yaw 90 stands at +x, pitch 90 above."""

    yaw_deg: float = 0.0
    pitch_deg: float = PITCH_DEG

    @property
    def axes(self) -> Batch:
        """In columns, the camera's right, up and backwards in the world."""
        yaw, pitch = math.radians(self.yaw_deg), math.radians(self.pitch_deg)
        about_y = np.array(
            [
                [math.cos(yaw), 0, math.sin(yaw)],
                [0, 1, 0],
                [-math.sin(yaw), 0, math.cos(yaw)],
            ]
        )
        about_x = np.array(
            [
                [1, 0, 0],
                [0, math.cos(pitch), math.sin(pitch)],
                [0, -math.sin(pitch), math.cos(pitch)],
            ]
        )
        axes: Batch = about_y @ about_x
        return axes


def picture(
    mesh: Mesh, view: View, size_px: int, *, background: tuple[int, int, int] = WHITE
) -> Photo:
    """Return a square picture of `mesh` with the camera at `view`, antialiased."""
    side = size_px * SAMPLES
    local = mesh.vertices @ view.axes
    ahead = DISTANCE - local[:, 2]
    scale = 1 / math.tan(math.radians(FIELD_DEG / 2))
    across = local[:, :2] * (scale / ahead)[:, None]
    on_screen = (across * (1, -1) + 1) * (side / 2)
    corners = on_screen[mesh.triangles]
    (ux, uy), (vx, vy) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    front = np.flatnonzero((ux * vy - uy * vx < 0) & (ahead[mesh.triangles] > 0.1).all(axis=1))
    triangles, pixels, weights = covered(corners[front], side, side)
    nearness = weights / ahead[mesh.triangles[front]].astype(np.float32)[triangles]
    order = np.argsort(nearness @ np.ones(3, np.float32), kind="stable")
    seen = np.full(side * side, -1)
    seen[pixels[order]] = order  # of equal places the last stays: the nearest
    pixels = np.flatnonzero(seen >= 0)
    picked = seen[pixels]
    share = nearness[picked]
    share /= (share @ np.ones(3, np.float32))[:, None]
    colors = _lit(mesh, mesh.triangles[front[triangles[picked]]], share, view)
    image = np.empty((side * side, 3), np.uint8)
    image[:] = background
    image[pixels] = np.clip(np.rint(colors * 255), 0, 255)
    return resized(image.reshape(side, side, 3), size_px, size_px)


def sheet(mesh: Mesh, size_px: int = 256, *, views: int = 4) -> Photo:
    """Return `views` pictures side by side, a turn apart in equal steps, the front first."""
    turns = [View(number * 360 / views) for number in range(views)]
    return np.concatenate([picture(mesh, view, size_px) for view in turns], axis=1)


def turntable(mesh: Mesh, size_px: int = 256, *, frames: int = FRAMES) -> bytes:
    """Return an animated GIF of one turn that repeats."""
    images = [
        Image.fromarray(picture(mesh, View(number * 360 / frames), size_px))
        for number in range(frames)
    ]
    palette = _palette(sheet(mesh, size_px))
    shown = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    buffer = io.BytesIO()
    shown[0].save(
        buffer, "GIF", save_all=True, append_images=shown[1:], duration=FRAME_MS, loop=0, disposal=1
    )
    return buffer.getvalue()


def _palette(photo: Photo) -> Image.Image:
    """Return a picture whose palette is that of `photo`, with a white that is white.

    Pillow looks a colour up by its six highest bits, so that no other may be that near.
    """
    found = Image.fromarray(photo).quantize(dither=Image.Dither.NONE)
    colors = np.array(found.getpalette()).reshape(-1, 3)
    colors[(colors >= 248).all(axis=1)] = WHITE
    found.putpalette(colors.ravel().tolist())
    return found


def _lit(mesh: Mesh, corners: Batch, share: Batch, view: View) -> Batch:
    """Return the colours of pixels, given the vertices around each and their shares of it."""

    def between(values: Batch) -> Batch:
        values = values.astype(np.float32)
        mixed: Batch = sum(share[:, i : i + 1] * values[corners[:, i]] for i in range(3))
        return mixed

    normals = between(mesh.normals if mesh.normals is not None else vertex_normals(mesh))
    lengths = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    toward = view.axes @ (np.array(LIGHT) / np.linalg.norm(LIGHT))
    facing = np.maximum(normals / lengths @ toward, 0)[:, None]
    if mesh.uvs is not None and mesh.texture is not None:
        albedo = _texels(mesh.texture, between(mesh.uvs))
    elif mesh.colors is not None:
        albedo = between(mesh.colors)
    else:
        albedo = np.full((len(corners), 3), PLAIN)
    lit: Batch = albedo * (AMBIENT + DIFFUSE * facing)
    return lit


def _texels(texture: Photo, uvs: Batch) -> Batch:
    """Look up a texture; that a pixel has several samples is filter enough."""
    size = np.array(texture.shape[1::-1])
    column, row = np.clip((uvs * size).astype(np.int64), 0, size - 1).T
    colors: Batch = texture[row, column] * np.float32(1 / 255)
    return colors
