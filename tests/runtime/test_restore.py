"""Restoring with a bundle: what a session is given, checked with sessions that only remember."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.core.errors import BadInput, TargetUnsupported
from edgekit.core.identity import IdentityCode
from edgekit.core.manifest import ModelEntry, PortEntry
from edgekit.core.seams import Port
from edgekit.runtime.bundle import OpenBundle
from edgekit.runtime.restore import (
    form_of,
    nobody,
    of_code,
    of_references,
    read_memory,
    restored,
    size_of,
    write_memory,
)

SIDE, PLACES, TOKENS = 8, 3, 4


def port(name: str, *shape: int, layout: str = "flat") -> PortEntry:
    return PortEntry(name=name, shape=shape, dtype="float32", layout=layout, low=-1.0, high=1.0)


IMAGE = port("image", 1, SIDE, SIDE, 3, layout="nhwc")
OUT = port("image_out", 1, 3, SIDE, SIDE, layout="nchw")
MEMORY = port("memory_2", 1, 2, PLACES * TOKENS, 5)
MASK = port("reference_mask", 1, PLACES)
CODE = port("code", 1, 4, 6)


@dataclass
class Remembers:
    """Answers a fixed picture, or the mean of the face as memory, and keeps its feeds."""

    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    memory: bool = False
    seen: list[dict[str, np.ndarray]] = field(default_factory=list)

    def run(self, feeds):
        self.seen.append(dict(feeds))
        if self.memory:
            return {"memory_2": np.full((1, 2, TOKENS, 5), feeds["image"].mean(), np.float32)}
        return {"image_out": np.full((1, 3, SIDE, SIDE), 0.5, np.float32)}


class Named:
    """As much of a manifest as a message needs."""

    def __init__(self, name: str, form: str = "restorer") -> None:
        self.name, self.form = name, form
        self.encoder_sha256 = "0" * 64
        self.student = SimpleNamespace(sha256="ab" * 32)


def bundle(name: str, inputs: tuple, outputs: tuple, **more: object) -> OpenBundle:
    entry = ModelEntry.model_construct(inputs=inputs, outputs=outputs, path="file.onnx")
    return OpenBundle(Path("nowhere"), Named(name), entry, Remembers(**more))  # type: ignore[arg-type]


RESTORER = bundle("portraits", (IMAGE, MEMORY, MASK), (OUT,))
ENROLLER = bundle("enroller", (IMAGE,), (port("memory_2", 1, 2, TOKENS, 5),), memory=True)
FACE = np.full((SIDE, SIDE, 3), 255, np.uint8)
DARK = np.zeros((SIDE, SIDE, 3), np.uint8)


def test_references_lie_side_by_side_and_the_mask_says_where():
    known = of_references(RESTORER, ENROLLER, [FACE, DARK])

    assert known["reference_mask"].tolist() == [[1, 1, 0]]
    held = known["memory_2"][0, 0, :, 0].reshape(PLACES, TOKENS)
    assert np.allclose(held, [[1] * TOKENS, [-1] * TOKENS, [0] * TOKENS])


def test_a_portrait_is_given_with_what_is_known_in_the_layout_of_the_file():
    session = Remembers()
    known = of_references(RESTORER, ENROLLER, [FACE])

    made = restored(replace(RESTORER, session=session), DARK, known)

    assert made.shape == (SIDE, SIDE, 3)
    assert (made == 191).all()  # 0.5 on a scale from -1 to 1
    assert session.seen[0]["image"].shape == (1, SIDE, SIDE, 3)
    assert np.array_equal(session.seen[0]["memory_2"], known["memory_2"])


def test_too_many_references_are_refused():
    with pytest.raises(BadInput, match="4 references, and the restorer has room for 3"):
        of_references(RESTORER, ENROLLER, [FACE] * 4)


def test_the_enroller_of_another_restorer_is_refused():
    other = bundle("other", (IMAGE,), (port("memory_4", 1, 2, TOKENS, 5),), memory=True)

    with pytest.raises(BadInput, match="other is not the enroller of portraits"):
        of_references(RESTORER, other, [FACE])


def test_a_memory_that_was_kept_is_the_same_and_its_owners_alone(tmp_path):
    known, path = of_references(RESTORER, ENROLLER, [FACE, DARK]), tmp_path / "me.npz"

    write_memory(path, known, RESTORER)

    back = read_memory(path, RESTORER)
    assert all(np.allclose(back[name], known[name], atol=1e-3) for name in known)
    assert path.stat().st_mode & 0o077 == 0


def test_a_memory_of_another_restorer_is_refused(tmp_path):
    known, path = of_references(RESTORER, ENROLLER, [FACE]), tmp_path / "me.npz"
    other = replace(RESTORER, manifest=Named("other"))
    other.manifest.student.sha256 = "cd" * 32

    write_memory(path, known, other)
    with pytest.raises(BadInput, match="enrolled for another restorer"):
        read_memory(path, RESTORER)

    write_memory(path, {"memory_2": np.zeros((1, 2, 4, 5), np.float32)}, RESTORER)
    with pytest.raises(BadInput, match="enrolled for another restorer"):
        read_memory(path, RESTORER)


def test_a_code_fills_its_port_and_one_of_another_shape_is_refused():
    phone = bundle("phone", (IMAGE, CODE), (OUT,))
    code = IdentityCode(np.ones((4, 6), np.float32), "0" * 64, 3, 0.5)

    assert of_code(phone, code)["code"].shape == (1, 4, 6)
    with pytest.raises(BadInput, match="takes no code of 4 x 7"):
        of_code(phone, replace(code, values=np.ones((4, 7), np.float32)))
    with pytest.raises(BadInput, match="made by the encoder 111111111111"):
        of_code(phone, replace(code, encoder_sha256="1" * 64))


def test_nobody_is_zeros_in_every_form():
    forms = {
        form_of(one): nobody(one)
        for one in (
            RESTORER,
            bundle("phone", (IMAGE, CODE), (OUT,)),
            bundle("alone", (IMAGE,), (OUT,)),
        )
    }

    assert list(forms) == ["memory", "code", "none"]
    assert not any(value.any() for known in forms.values() for value in known.values())


def test_a_bundle_of_something_else_is_no_restorer():
    night = replace(bundle("night", (IMAGE,), (OUT,)), manifest=Named("night", "concept"))
    with pytest.raises(TargetUnsupported, match="no restorer but of the form 'concept'"):
        form_of(night)
    with pytest.raises(TargetUnsupported, match="cannot be used here"):
        form_of(bundle("strange", (IMAGE, port("adapter", 1, 9)), (OUT,)))
    with pytest.raises(TargetUnsupported, match="has no input 'image'"):
        size_of(bundle("mesh", (port("words", 1, 9),), (OUT,)))
