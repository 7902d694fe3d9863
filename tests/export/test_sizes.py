"""Pictures of several sizes: a program followed at another side, and Core ML packages of all."""

import numpy as np
import pytest
import torch
from tests.export.programs import STYLE, Styled, trained, write_student
from torch import nn

from edgekit.export.mil.session import open_package
from edgekit.export.parity import measured
from edgekit.export.program import heldout_feeds, load_program, read_student, run
from edgekit.export.sizes import FixedSize, any_size, feed_at, sized
from edgekit.export.targets import Options, Sources, coreml


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return read_student(write_student(tmp_path_factory.mktemp("sizes") / "s", styled=True))


@pytest.fixture(scope="module")
def program(student):
    return load_program(student)


@pytest.mark.parametrize("side", [16, 48, 64])
def test_a_program_at_another_side_is_the_network_at_that_side(program, side):
    network = trained(Styled(), seed=1)
    feeds = [torch.rand(1, 3, side, side), torch.rand(1, STYLE)]

    fixed, free = sized(program, side), any_size(program, [side])

    assert fixed.inputs[0].shape == (1, 3, side, side)
    with torch.no_grad():
        wanted = network(*feeds)
        for module in (fixed.module, free):
            for got, right in zip(module(*feeds), wanted, strict=True):
                torch.testing.assert_close(got, right, atol=2e-5, rtol=0)


def test_stored_positions_have_no_other_size(tmp_path):
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.where = nn.Parameter(torch.randn(1, 3, 32, 32))

        def forward(self, x):
            return torch.tanh(x + self.where)

    student = read_student(write_student(tmp_path / "s", Positions().eval()))

    with pytest.raises(FixedSize, match="only works at its own size"):
        sized(load_program(student), 64)


def test_a_package_of_three_sizes_is_right_at_each_and_takes_no_other(student, program, tmp_path):
    path = tmp_path / "sizes.mlpackage"
    sources = Sources(lambda _: path, lambda: [], Options(ios=17, sizes=(48, 64)))

    words = coreml.convert(program, path, precision="fp32", recipe="plain", sources=sources)

    package = open_package(path)
    feed = heldout_feeds(student, limit=1)[0]
    for side in (32, 48, 64):
        there = sized(program, side)
        given = feed_at(program, feed, side)
        parity = measured(
            package,
            [given],
            [run(there, given)],
            inputs=[(p, coreml.file_port(p, output=False).port()) for p in there.inputs],
            outputs=[(p, coreml.file_port(p, output=True).port()) for p in there.outputs],
        )
        assert max(parity.max_abs) <= 2.01 / 255
    assert "32 or 48 or 64" in words
    with pytest.raises(ValueError, match="the package takes"):
        package.run({"image": np.zeros((1, 40, 40, 3), np.uint8), "style": feed["style"]})


def test_an_onnx_file_of_any_size_is_right_at_each(student, program, tmp_path):
    import onnxruntime

    from edgekit.export.targets import onnx as onnx_format

    path = tmp_path / "sizes.onnx"
    sources = Sources(lambda _: path, lambda: [], Options(sizes=(48, 64)))
    onnx_format.convert(program, path, precision="fp32", recipe="plain", sources=sources)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = heldout_feeds(student, limit=1)[0]

    for side in (32, 48, 64):
        there = sized(program, side)
        given = feed_at(program, feed, side)
        for name, right in run(there, given).items():
            np.testing.assert_allclose(session.run([name], given)[0], right, atol=2e-5)
