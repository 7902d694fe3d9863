"""From a photo to a port and back: the pre- and post-processing that every demo app repeats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.core.errors import TargetUnsupported
from edgekit.core.samples import to_port
from edgekit.core.seams import Port, Session
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.tiles import EditTile


def photo_port(ports: tuple[Port, ...], side: str) -> Port:
    """Return the only port of a model from photo to photo; `side` is "input" or "output".

    Raises TargetUnsupported for a model that takes or gives anything else.
    """
    if len(ports) == 1 and tile_size(ports[0]) is not None:
        return ports[0]
    shown = ", ".join(f"{port.name} {list(port.shape)}" for port in ports)
    raise TargetUnsupported(
        f"this model is not from one photo to one photo: its {side}s are {shown}",
        hint="call it through edgekit.runtime.sessions.open_session",
    )


def tile_size(port: Port) -> tuple[int, int] | None:
    """Return (height, width) of a port that holds one RGB picture, None for any other port."""
    if len(port.shape) != 4 or port.shape[0] != 1:
        return None
    if port.layout == "nchw" and port.shape[1] == 3:
        return port.shape[2], port.shape[3]
    if port.layout == "nhwc" and port.shape[3] == 3:
        return port.shape[1], port.shape[2]
    return None


def tile_editor(session: Session, input_port: Port, output_port: Port) -> EditTile:
    """Return the function that edits one photo of exactly the model's size.

    Its result is float32 with 0 for black and 255 for white, not yet rounded, so that tiles blend
    without steps.
    """

    def edit_tile(photo: Photo) -> Batch:
        feeds = {input_port.name: to_port(np.ascontiguousarray(photo)[None], input_port)}
        levels: Batch = to_levels(session.run(feeds)[output_port.name], output_port)[0]
        return levels

    return edit_tile


def to_levels(batch: Batch, port: Port) -> Batch:
    """Return what a picture port gave as float32 (n, h, w, 3), 0 for black, 255 for white."""
    values = batch.transpose(0, 2, 3, 1) if port.layout == "nchw" else batch
    if values.dtype == np.uint8:
        return values.astype(np.float32)
    scale = np.float32(255.0 / (port.high - port.low))
    scaled: Batch = (values.astype(np.float32) - np.float32(port.low)) * scale
    return scaled


def to_golden(batch: Batch, port: Port) -> Batch:
    """Return what a port gave as the golden file stores it: float32 NCHW, pictures in [-1, 1]."""
    if tile_size(port) is None:
        rows = batch.transpose(0, 3, 1, 2) if _channels_last(port) else batch
        return rows.astype(np.float32)
    nchw = to_levels(batch, port).transpose(0, 3, 1, 2)
    if port.dtype != "uint8" and (port.low, port.high) == (-1.0, 1.0):
        # Straight through: a detour over 0 … 255 would add rounding to a difference of 1e-7.
        return (batch if port.layout == "nchw" else batch.transpose(0, 3, 1, 2)).astype(np.float32)
    return nchw * np.float32(2.0 / 255.0) - np.float32(1.0)


def _channels_last(port: Port) -> bool:
    return port.layout == "nhwc" and len(port.shape) == 4


def from_golden(arrays: Mapping[str, Batch], ports: tuple[Port, ...]) -> dict[str, Batch]:
    """Return golden arrays of one sample laid out, scaled and typed as each port wants them."""
    feeds = {}
    for port in ports:
        value = arrays[port.name]
        if tile_size(port) is not None:
            if port.layout == "nhwc":
                value = value.transpose(0, 2, 3, 1)
            low, high = (0.0, 255.0) if port.dtype == "uint8" else (port.low, port.high)
            if (low, high) != (-1.0, 1.0):
                value = (value + 1.0) * ((high - low) / 2.0) + low
            if port.dtype == "uint8":
                value = np.clip(np.rint(value), 0, 255)
        elif _channels_last(port):
            value = value.transpose(0, 2, 3, 1)
        feeds[port.name] = np.ascontiguousarray(value).astype(port.dtype)
    return feeds
