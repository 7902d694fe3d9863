"""Sessions and bundles that are plain numpy functions, for the tests of an app.

No runtime, no file and no model is needed; what checks feeds, cuts tiles and blends them is real.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekit.core.manifest import (
    BundleManifest,
    GoldenEntry,
    ModelEntry,
    PortEntry,
    StudentEntry,
)
from edgekit.core.seams import Layout, Port
from edgekit.core.tensors import Batch
from edgekit.runtime.bundle import OpenBundle
from edgekit.runtime.sessions.ports import checked

KEPT = 8
"""Calls that a fake session remembers: a video through it must not fill the memory."""
_NOTHING = "0" * 64


@dataclass(frozen=True, slots=True)
class FakeSession:
    """Gives `function` of its inputs, in their order, as the first output."""

    function: Callable[..., Batch]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    seconds: float = 0.0
    """How long a call takes at least."""
    calls: deque[Mapping[str, Batch]] = field(default_factory=lambda: deque(maxlen=KEPT))
    """What the last calls were fed, the oldest first."""

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        given = checked(feeds, self.inputs)
        self.calls.append(given)
        if self.seconds:
            time.sleep(self.seconds)
        return {self.outputs[0].name: self.function(*(given[port.name] for port in self.inputs))}


def fake_image_session(
    function: Callable[[Batch], Batch] = np.negative,
    *,
    size: int = 64,
    layout: Layout = "nchw",
    seconds: float = 0.0,
) -> FakeSession:
    """Return a session from ``image`` to ``image_out``, both 1 x 3 x `size` x `size` in [-1, 1].

    The default function gives the negative.
    """
    shape = (1, 3, size, size) if layout == "nchw" else (1, size, size, 3)
    ports = (Port("image", shape, layout=layout),), (Port("image_out", shape, layout=layout),)
    return FakeSession(function, *ports, seconds=seconds)


def fake_bundle(
    function: Callable[[Batch], Batch] = np.negative, *, size: int = 64, seconds: float = 0.0
) -> OpenBundle:
    """Return an open bundle of `fake_image_session`: `.edit` takes photos of any size.

    >>> fake_bundle(size=16).edit(np.zeros((20, 30, 3), np.uint8)).min()
    np.uint8(255)
    """
    session = fake_image_session(function, size=size, seconds=seconds)
    source, result = (
        PortEntry.model_validate({k: getattr(port, k) for k in PortEntry.model_fields})
        for port in (*session.inputs, *session.outputs)
    )
    entry = ModelEntry(
        target="onnx",
        format="onnx",
        precision="fp32",
        path="onnx/fake.fp32.onnx",
        sha256=_NOTHING,
        bytes=0,
        inputs=(source,),
        outputs=(result,),
        recipe="a function of numpy",
        executed=False,
        parity=None,
        tools={},
    )
    manifest = BundleManifest(
        recipe_sha256=_NOTHING,
        name="fake",
        prompt="fake it",
        edgekit="fake",
        student=StudentEntry(
            sha256=_NOTHING,
            recipe_sha256=_NOTHING,
            teacher="none",
            parameters=0,
            gmac=0.0,
            size_px=size,
        ),
        models=(entry,),
        golden=GoldenEntry(path="golden/vectors.npz", sha256=_NOTHING, samples=0),
        licences={},
    )
    return OpenBundle(Path("fake"), manifest, entry, session)
