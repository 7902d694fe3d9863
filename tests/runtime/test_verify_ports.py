"""Golden vectors of ports that hold no picture: their layout and their own range."""

import numpy as np
import pytest

from edgekit.core.manifest import ModelEntry, PortEntry
from edgekit.runtime.pipeline import from_golden, to_golden
from edgekit.runtime.verify import compared

PLANES = {"name": "planes", "shape": (1, 4, 5, 6), "dtype": "float32", "low": -8.0, "high": 8.0}
ENTRY = ModelEntry(
    target="android",
    format="tflite",
    precision="fp16",
    path="android/x.tflite",
    sha256="0" * 64,
    bytes=1,
    inputs=(PortEntry(**PLANES, layout="nhwc"),),
    outputs=(PortEntry(**PLANES, layout="nhwc"),),
    recipe="",
    executed=True,
    parity=None,
    tools={},
)


class Off:
    """Returns what it is given, `by` away."""

    inputs = tuple(port.port() for port in ENTRY.inputs)
    outputs = tuple(port.port() for port in ENTRY.outputs)

    def __init__(self, by):
        self.by = by

    def run(self, feeds):
        assert feeds["planes"].shape == (1, 4, 5, 6)
        return {"planes": feeds["planes"] + np.float32(self.by)}


@pytest.fixture
def golden():
    return np.random.default_rng(0).uniform(-8, 8, (1, 6, 4, 5)).astype(np.float32)


def test_channels_go_last_for_a_file_that_wants_them_there_and_come_back(golden):
    fed = from_golden({"planes": golden}, Off.inputs)["planes"]

    assert fed.shape == (1, 4, 5, 6)
    assert fed[0, 1, 2, 3] == golden[0, 3, 1, 2]
    assert (to_golden(fed, Off.outputs[0]) == golden).all()


def test_a_difference_counts_by_the_range_of_its_port(golden):
    db, worst = compared(Off(0.16), ENTRY, [{"planes": golden}])

    assert db == pytest.approx(40, abs=0.01)  # 0.16 of 16
    assert worst == pytest.approx(0.02, rel=1e-3)
