"""Portraits restored with a bundle: references enrolled once, then one call a portrait.

What a restorer takes stands in its ports (docs/restorer.md): keys and values of references, an
identity code, or nothing. No torch, no network.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.identity import IdentityCode
from edgekit.core.samples import to_port
from edgekit.core.seams import Port
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch, Photo
from edgekit.runtime.bundle import OpenBundle, open_bundle, open_part
from edgekit.runtime.identity import enrolled, open_encoder
from edgekit.runtime.pipeline import tile_size, to_levels

MASK, CODE, MEMORY, IMAGE, OUT = "reference_mask", "code", "memory_", "image", "image_out"
MADE_FOR = "restorer"
OWNER_ONLY = 0o600


def form_of(bundle: OpenBundle) -> str:
    """Return how a restorer takes references: "memory", "code" or "none".

    Raises TargetUnsupported for a bundle that is no restorer with such ports.
    """
    if bundle.manifest.form != "restorer":
        raise TargetUnsupported(
            f"{bundle.manifest.name} is no restorer but of the form {bundle.manifest.form!r}",
            hint="name a bundle of what `edgekit distill --student restorer` wrote",
        )
    names = {port.name for port in bundle.entry.inputs}
    rest = names - {IMAGE}
    if not rest and IMAGE in names:
        return "none"
    if rest == {CODE}:
        return "code"
    if MASK in rest and all(name.startswith(MEMORY) for name in rest - {MASK}):
        return "memory"
    raise TargetUnsupported(
        f"{bundle.manifest.name} cannot be used here: its inputs are {', '.join(sorted(names))}",
        hint="name a bundle of what `edgekit distill --student restorer` wrote",
    )


def size_of(bundle: OpenBundle) -> int:
    """Return the side of the portraits that a restorer, or an enroller, takes."""
    size = tile_size(_port(bundle, IMAGE))
    if size is None:
        raise TargetUnsupported(
            f"{bundle.manifest.name} takes no portrait", hint="name a bundle of a restorer"
        )
    return size[0]


def nobody(bundle: OpenBundle) -> dict[str, Batch]:
    """Return the feeds of a restorer that knows nobody: masks and codes of zeros."""
    return {
        port.name: np.zeros(port.shape, np.float32) for port in _ports(bundle) if port.name != IMAGE
    }


@dataclass(frozen=True, slots=True)
class Enroller:
    """What turns photos of a person into what a restorer is told of the person."""

    size_px: int
    """Side of the aligned faces that `known` takes."""
    known: Callable[[Sequence[Photo]], dict[str, Batch]]


def enroller_of(bundle: OpenBundle, folder: Path | None = None) -> Enroller:
    """Open what enrols people for a restorer: its own part, or the bundle in `folder`.

    That is its enroller, or the identity encoder whose codes it understands. Raises
    TargetUnsupported for a restorer that takes no references, BadInput if it brings no enroller.
    """
    form = form_of(bundle)
    if form == "memory":
        opened = (
            open_part(bundle, "enroller")
            if folder is None
            else open_bundle(folder, precision=bundle.entry.precision)
        )
        return Enroller(size_of(opened), partial(of_references, bundle, opened))
    if form == "code":
        encoder = open_encoder(folder or bundle.folder)
        return Enroller(
            encoder.size_px, lambda faces: of_code(bundle, enrolled(encoder, faces).code)
        )
    raise TargetUnsupported(
        f"{bundle.manifest.name} restores without references",
        hint="leave them out, or distill a restorer with --form memory",
    )


def of_code(bundle: OpenBundle, code: IdentityCode) -> dict[str, Batch]:
    """Return the feeds of a restorer for the person of a code.

    Raises BadInput if the restorer takes no code, one of another shape, or of another encoder.
    """
    feeds = nobody(bundle)
    wanted = bundle.manifest.encoder_sha256
    if CODE in feeds and wanted not in (None, code.encoder_sha256):
        raise BadInput(
            f"the code was made by the encoder {code.encoder_sha256[:12]}, and "
            f"{bundle.manifest.name} understands codes of {str(wanted)[:12]}",
            hint="enrol the photos again with that encoder: it is in the restorer's bundle",
        )
    if set(feeds) != {CODE} or feeds[CODE].size != code.values.size:
        raise BadInput(
            f"{bundle.manifest.name} takes no code of {code.values.shape[0]} x "
            f"{code.values.shape[1]}",
            hint="use a restorer distilled with --form code or --phone, with this encoder",
        )
    return {CODE: np.asarray(code.values, np.float32).reshape(feeds[CODE].shape)}


def of_references(
    bundle: OpenBundle, enroller: OpenBundle, faces: Sequence[Photo]
) -> dict[str, Batch]:
    """Return the feeds of a restorer for the person of aligned `faces`: run once, when enrolled.

    Raises BadInput if there are more faces than places, or the enroller is of another restorer.
    """
    feeds = nobody(bundle)
    if form_of(bundle) != "memory":
        raise BadInput(
            f"{bundle.manifest.name} takes no references' keys and values",
            hint="use a restorer distilled with --form memory, or enrol an identity code",
        )
    places = feeds[MASK].shape[1]
    if len(faces) > places:
        raise BadInput(
            f"{len(faces)} references, and the restorer has room for {places}",
            hint=f"choose the {places} sharpest, or distill with more --places",
        )
    names = [name for name in feeds if name.startswith(MEMORY)]
    if {port.name for port in enroller.entry.outputs} != set(names):
        raise BadInput(
            f"{enroller.manifest.name} is not the enroller of {bundle.manifest.name}",
            hint="use the one in the restorer's own bundle",
        )
    image = _port(enroller, IMAGE)
    for place, face in enumerate(faces):
        held = enroller.session.run({IMAGE: to_port(np.ascontiguousarray(face)[None], image)})
        for name in names:
            tokens = feeds[name].shape[2] // places
            feeds[name][:, :, place * tokens : (place + 1) * tokens] = held[name]
        feeds[MASK][0, place] = 1.0
    return feeds


def restored(bundle: OpenBundle, face: Photo, known: Mapping[str, Batch]) -> Photo:
    """Return the restored form of an aligned portrait of the bundle's size.

    `known` is what `nobody`, `of_code` or `of_references` returned.
    """
    given = {port.name: port for port in _ports(bundle)}
    feeds = {name: value.astype(given[name].dtype, copy=False) for name, value in known.items()}
    feeds[IMAGE] = to_port(np.ascontiguousarray(face)[None], given[IMAGE])
    result = next(port.port() for port in bundle.entry.outputs if port.name == OUT)
    levels = to_levels(np.asarray(bundle.session.run(feeds)[OUT]), result)[0]
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def write_memory(path: Path, known: Mapping[str, Batch], bundle: OpenBundle) -> int:
    """Write what the enroller of `bundle` said, in float16, for its owner alone; return the bytes.

    The file names the restorer that it is for: to another one its numbers mean nothing.
    """
    buffer = io.BytesIO()
    halves = {name: value.astype(np.float16) for name, value in known.items()}
    np.savez(buffer, **halves, **{MADE_FOR: _name_of(bundle)})  # type: ignore[arg-type]
    data = buffer.getvalue()
    write_bytes(path, data, mode=OWNER_ONLY)
    return len(data)


def read_memory(path: Path, bundle: OpenBundle) -> dict[str, Batch]:
    """Read what `write_memory` wrote; raises BadInput if it does not fit the restorer."""
    wanted = {name: value.shape for name, value in nobody(bundle).items()}
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="enrol the photos again") from error
    mine = np.array_equal(held.pop(MADE_FOR, ()), _name_of(bundle))
    known = {name: value.astype(np.float32) for name, value in held.items()}
    shapes = {name: value.shape for name, value in known.items()}
    if (
        not mine
        or shapes != wanted
        or not all(np.isfinite(value).all() for value in known.values())
    ):
        raise BadInput(
            f"{path} was enrolled for another restorer than {bundle.manifest.name}",
            hint="enrol the photos again",
        )
    return known


def _name_of(bundle: OpenBundle) -> Batch:
    return np.frombuffer(bytes.fromhex(bundle.manifest.student.sha256), np.uint8)


def _ports(bundle: OpenBundle) -> list[Port]:
    return [entry.port() for entry in bundle.entry.inputs]


def _port(bundle: OpenBundle, name: str) -> Port:
    for port in _ports(bundle):
        if port.name == name:
            return port
    raise TargetUnsupported(
        f"{bundle.manifest.name} has no input {name!r}", hint="name a bundle of a restorer"
    )
