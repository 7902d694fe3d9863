"""A session that is a plain numpy function: for tests, and for trying the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgekit.core.seams import Layout, Port
from edgekit.core.tensors import Batch
from edgekit.runtime.sessions.ports import checked


@dataclass(frozen=True, slots=True)
class FakeSession:
    """Gives `function` of the first input as the first output."""

    function: Callable[[Batch], Batch]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def run(self, feeds: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """Map input names to arrays and return output names to arrays."""
        given = checked(feeds, self.inputs)
        return {self.outputs[0].name: self.function(given[self.inputs[0].name])}


def fake_image_session(
    function: Callable[[Batch], Batch], *, size: int = 64, layout: Layout = "nchw"
) -> FakeSession:
    """Return a session from ``image`` to ``image_out``, both 1 x 3 x `size` x `size` in [-1, 1]."""
    shape = (1, 3, size, size) if layout == "nchw" else (1, size, size, 3)
    return FakeSession(
        function, (Port("image", shape, layout=layout),), (Port("image_out", shape, layout=layout),)
    )
