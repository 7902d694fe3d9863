"""Core ML packages evaluated without Core ML, against PyTorch."""

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgekit.core.seams import Port
from edgekit.export.mil.operations import MEANING
from edgekit.export.mil.package import read_package
from edgekit.export.mil.session import open_package
from edgekit.export.program import Program


class Mixed(nn.Module):
    """As many kinds of operations as fit into one small network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, 2, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.instance = nn.InstanceNorm2d(8, affine=True)
        self.layer = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.conv(x), 0.1)
        y = self.instance(self.grouped(torch.relu(self.norm(y))))
        y = F.avg_pool2d(y, 3, 2, 1) + F.avg_pool2d(y, 3, 2, 1, count_include_pad=False)
        y = F.interpolate(y, scale_factor=2.0, mode="nearest")
        first, second = y.chunk(2, 1)
        y = torch.cat([torch.sigmoid(first) * 2 - second, second / 3], 1)[:, :, 1:5, :4]
        tokens = self.layer(y.flatten(2).transpose(1, 2))
        weights = torch.softmax(tokens @ tokens.transpose(1, 2) * 0.3, -1)
        z = F.silu(self.linear(weights @ tokens))
        return torch.tanh(z - z.mean(1, keepdim=True)).clamp(-0.9, 0.9)


def saved(module, path, inputs, outputs, precision="fp32"):
    from edgekit.export.targets import Sources, coreml

    program = Program(torch.fx.symbolic_trace(module.eval()), inputs, outputs)

    def made(kind):
        wide = path.with_name(f"{kind}.mlpackage")
        coreml.convert(program, wide, precision=kind, recipe="plain", sources=sources)
        return wide

    sources = Sources(made, lambda: [])
    coreml.convert(program, path, precision=precision, recipe="plain", sources=sources)
    return open_package(path)


class AsTuple(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return (self.inner(x),)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    torch.manual_seed(0)
    network = Mixed().eval()
    for statistic in (network.norm.running_mean, network.norm.running_var):
        statistic.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("mil") / "mixed.mlpackage"
    session = saved(
        AsTuple(network),
        path,
        (Port("x", (1, 4, 16, 16), layout="flat"),),
        (Port("y", (1, 16, 6), layout="flat"),),
    )
    return network, session, path


def test_a_package_computes_what_pytorch_computes(mixed):
    network, session, _ = mixed
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x).numpy()

    got = session.run({"x": x.numpy()})["y"]

    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_one_changed_weight_changes_the_answer(mixed):
    _, session, path = mixed
    x = np.ones((1, 4, 16, 16), np.float32)
    before = session.run({"x": x})["y"]
    weights = path / "Data/com.apple.CoreML/weights/weight.bin"
    content = bytearray(weights.read_bytes())
    content[200:204] = np.float32(3).tobytes()
    changed = path.parent / "changed.mlpackage"
    shutil.copytree(path, changed)
    (changed / "Data/com.apple.CoreML/weights/weight.bin").write_bytes(bytes(content))

    after = open_package(changed).run({"x": x})["y"]

    assert np.abs(after - before).max() > 1e-4


def test_every_operation_of_the_package_is_covered_by_the_table(mixed):
    kinds = {operation.kind for operation in read_package(mixed[2]).operations}

    assert len(kinds - {"const"}) >= 18
    assert kinds - {"const"} <= MEANING.keys()


def test_float16_values_are_rounded_as_the_package_declares(tmp_path):
    class Small(nn.Module):
        def forward(self, x):
            return (x * 1e-3 + 1.0,)

    session = saved(
        Small(),
        tmp_path / "half.mlpackage",
        (Port("x", (1, 4), layout="flat"),),
        (Port("y", (1, 4), layout="flat"),),
        precision="fp16",
    )

    got = session.run({"x": np.array([[0.1, 0.4, 0.6, 1.0]], np.float32)})["y"]

    np.testing.assert_array_equal(got, np.float32([[1, 1, 1 + 2**-10, 1 + 2**-10]]))


def test_an_operation_that_is_not_known_is_named(mixed, tmp_path, monkeypatch):
    monkeypatch.delitem(MEANING, "softmax")

    with pytest.raises(NotImplementedError, match="softmax"):
        open_package(mixed[2])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no model"):
        open_package(tmp_path)
