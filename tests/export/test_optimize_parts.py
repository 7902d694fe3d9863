"""The pieces of the search for precisions: layers, rounding, matching, files by layer, rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from tests.export.programs import write_student
from torch import nn

from edgekit.export.graph import plain_graph
from edgekit.export.optimize.layers import columns, from_rows, layers_of, rows, weight_of
from edgekit.export.optimize.matching import matches
from edgekit.export.optimize.plan import GRIDS, LAYERS, Plan, read_plan
from edgekit.export.optimize.prepare import prepared
from edgekit.export.optimize.rounding import Grid, Rounding, rounded, sweep_of
from edgekit.export.optimize.rules import RULES, allowed, refusal, table
from edgekit.export.optimize.space_onnx import OnnxSpace
from edgekit.export.parity import psnr_db
from edgekit.export.program import (
    Program,
    calibration_feeds,
    heldout_feeds,
    load_program,
    read_student,
    run,
)
from edgekit.export.quantize_onnx_layers import Ranges
from edgekit.export.targets import Sources
from edgekit.export.targets import onnx as onnx_target
from edgekit.runtime.sessions import open_session

SIDE = 16
UNUSED = Sources(made=lambda precision: Path(), calibration=lambda: ())


class Odd(nn.Module):
    """Norms before linear layers, a transposed and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.deep = nn.Conv2d(16, 16, 5, 1, 2, groups=16)
        self.norm = nn.LayerNorm(16)
        self.wide = nn.Linear(16, 32)
        self.narrow = nn.Linear(32, 16)
        self.up = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.head = nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = self.deep(F.relu(self.stem(image)))
        tokens = y.flatten(2).transpose(1, 2)
        tokens = tokens + self.narrow(F.gelu(self.wide(self.norm(tokens))))
        y = tokens.transpose(1, 2).reshape(y.shape)
        return torch.tanh(self.head(F.relu(self.up(y))) + image)


def odd_program(side: int = SIDE) -> Program:
    from edgekit.core.seams import Port

    torch.manual_seed(1)
    network = Odd().eval()
    with torch.no_grad():
        network.norm.weight.uniform_(0.5, 2)
        network.norm.bias.uniform_(-0.5, 0.5)
    made = torch.export.export(network, (torch.zeros(1, 3, side, side),))
    shape = (1, 3, side, side)
    return Program(plain_graph(made), (Port("image", shape),), (Port("image_out", shape),))


def feeds_of(count: int, side: int = SIDE) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    coarse = random.uniform(-1, 1, (count, 1, 3, side // 4, side // 4)).astype(np.float32)
    return [{"image": np.ascontiguousarray(c.repeat(4, 2).repeat(4, 3))} for c in coarse]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return read_student(write_student(tmp_path_factory.mktemp("optimize") / "student"))


@pytest.fixture(scope="module")
def onnx_space(student, tmp_path_factory):
    program = prepared(load_program(student))
    source = tmp_path_factory.mktemp("onnx") / "fp32.onnx"
    onnx_target.convert(program, source, precision="fp32", recipe="plain", sources=UNUSED)
    return OnnxSpace(program, calibration_feeds(student, limit=6), source)


def decibels(space: OnnxSpace, student, path: Path) -> float:
    session = open_session(path)
    program = space._program
    feeds = heldout_feeds(student, limit=4)
    return float(
        np.mean(
            [
                psnr_db(run(program, feed)["image_out"], session.run(feed)["image_out"])
                for feed in feeds
            ]
        )
    )


def test_preparing_a_program_changes_no_output():
    feed = feeds_of(1)[0]
    expected = run(odd_program(), feed)["image_out"]

    program = prepared(odd_program())

    assert np.abs(run(program, feed)["image_out"] - expected).max() <= 1e-5
    norm = next(n for n in program.module.graph.nodes if "layer_norm" in str(n.target))
    assert torch.equal(program.module.get_parameter(str(norm.args[2].target)), torch.ones(16))


@pytest.mark.parametrize("name", ["stem", "deep", "wide", "up"])
def test_rows_times_columns_are_the_layer(name):
    program = prepared(odd_program())
    layer = next(x for x in layers_of(program) if x.name == name)
    inner = dict(program.module.named_modules())[layer.weight.removesuffix(".weight")]
    value = torch.randn(1, layer.shape[0 if name == "up" else 1] * layer.groups, 6, 6)
    if name == "wide":
        value = torch.randn(1, 9, 16)
    bias = inner.bias.reshape(1, -1, 1) if name != "wide" else inner.bias

    x_GKL = columns(value, layer, most=10_000, generator=torch.Generator())
    made = rows(weight_of(program, layer), layer) @ x_GKL

    expected = inner(value) - (bias[..., None] if name != "wide" else bias)
    flat = expected.reshape(-1, 16 * 2).T if name == "wide" else expected.flatten(2)[0]
    assert torch.allclose(made.flatten(0, 1), flat, atol=1e-5)
    weight = weight_of(program, layer)
    assert torch.equal(from_rows(rows(weight, layer), layer), weight)


def test_layers_below_the_least_size_are_left_alone():
    names = [layer.name for layer in layers_of(prepared(odd_program()))]

    assert names == ["stem", "deep", "wide", "narrow", "up"]  # head has 216 weights


def test_repairing_rounding_beats_rounding_to_nearest_on_what_the_layer_gives():
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(36, 36, generator=generator)
    x_KL = mixed @ torch.randn(36, 400, generator=generator)  # inputs that vary together
    program = prepared(odd_program())
    layer = replace(layers_of(program)[0], shape=(8, 4, 3, 3))
    weight = torch.randn(8, 4, 3, 3, generator=generator)
    moment = (x_KL @ x_KL.T / 400).double()
    errors = {}

    for name, given in (("nearest", None), ("repaired", [sweep_of(moment)])):
        made = rounded(weight, layer, Grid("linear", 4), given).weight
        difference = rows(made - weight, layer)[0] @ x_KL
        errors[name] = float((difference**2).mean())

    assert errors["repaired"] < 0.7 * errors["nearest"]


@pytest.mark.parametrize("bits", [4, 8])
def test_a_converter_finds_the_same_steps_from_the_rounded_weight_alone(bits):
    program = prepared(odd_program())
    rounding = Rounding(program, feeds_of(3))
    top = 2 ** (bits - 1) - 1
    for layer in layers_of(program):
        made = rounding.rounded(layer, Grid("linear", bits))
        others = [axis for axis in range(made.weight.ndim) if axis != layer.out_axis]

        scale = made.weight.abs().amax(others) / top

        assert torch.allclose(scale, made.scale, rtol=1e-6)


@pytest.mark.parametrize("name", ["p2", "p4", "p4g"])
def test_a_palette_holds_no_more_values_than_its_bits_can_name(name):
    program = prepared(odd_program())
    layer = next(x for x in layers_of(program) if x.name == "wide")

    weight = Rounding(program, feeds_of(2)).rounded(layer, GRIDS[name]).weight

    size = GRIDS[name].group or layer.shape[0]
    for part in weight.split(size):
        assert len(part.unique()) <= 2 ** GRIDS[name].bits


def test_weights_are_found_in_a_file_however_they_were_turned():
    random = np.random.default_rng(0)
    one = random.normal(size=(6, 4, 3, 3)).astype(np.float32)
    two = random.normal(size=(5, 7)).astype(np.float32)
    stored = {"a": one.transpose(0, 2, 3, 1).copy(), "b": two.T.copy(), "c": one * 1.1}

    found = matches(stored, {"conv": (one, 0), "linear": (two, 0), "gone": (two + 1, 0)})

    assert {name: (m.key, m.out_axis) for name, m in found.items()} == {
        "conv": ("a", 0),
        "linear": ("b", 1),
    }
    assert np.array_equal(found["conv"].stored(one * 2), stored["a"] * 2)


def test_ranges_of_least_error_cut_off_a_lone_outlier():
    counts = np.zeros(2048)
    counts[:300], counts[-1] = 1000, 1

    low, high = Ranges(0.0, 10.0, counts).span("least error")

    assert (low, Ranges(0.0, 10.0, counts).span("minmax")[1]) == (0.0, 10.0)
    assert high < 9.5


def test_onnx_layers_are_stored_and_computed_as_chosen(onnx_space, student, tmp_path):
    names = [layer.name for layer in onnx_space.layers]
    made = {}
    for choice in ("half", "w8", "w4", "w8a8"):
        made[choice] = tmp_path / f"{choice}.onnx"
        onnx_space.write(Plan(LAYERS, dict.fromkeys(names, choice)), made[choice])
    scores = {name: decibels(onnx_space, student, path) for name, path in made.items()}

    assert scores["half"] > scores["w8"] > scores["w4"] > 15
    assert scores["w8"] > scores["w8a8"] > 25
    sizes = [made[name].stat().st_size for name in ("half", "w8", "w4")]
    assert sizes == sorted(sizes, reverse=True)
    kinds = {name: {n.op_type for n in onnx.load(path).graph.node} for name, path in made.items()}
    assert "DequantizeLinear" not in kinds["w8"] | kinds["w4"]  # ONNX Runtime would not fold it
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds["w8a8"]
    assert onnx.load(made["w4"]).opset_import[0].version >= 21


def test_rounding_that_repairs_gives_a_better_file_of_the_same_size(onnx_space, student, tmp_path):
    names = [layer.name for layer in onnx_space.layers]
    scores, sizes = {}, set()

    for how in ("gptq", "nearest"):
        path = tmp_path / f"{how}.onnx"
        onnx_space.write(Plan(LAYERS, dict.fromkeys(names, "w4"), {"rounding": how}), path)
        scores[how] = decibels(onnx_space, student, path)
        sizes.add(path.stat().st_size)

    assert scores["gptq"] > scores["nearest"] + 1
    assert len(sizes) == 1


def test_a_plan_survives_its_own_text_and_names_itself_by_content():
    plan = Plan(LAYERS, {"a": "w8", "b": "w4"}, {"ranges": "minmax"})

    assert read_plan(plan.text()) == plan
    assert plan.key == Plan(LAYERS, {"b": "w4", "a": "w8"}, {"ranges": "minmax"}).key
    assert plan.key != Plan(LAYERS, {"a": "w8", "b": "w8"}, {"ranges": "minmax"}).key


def test_rules_refuse_what_is_known_to_be_wrong_with_a_reason_and_a_source():
    layers = {layer.name: layer for layer in layers_of(prepared(odd_program()))}

    assert refusal("tflite", layers["deep"], "d8").name == "litert-dynamic-depthwise"
    assert refusal("tflite", layers["stem"], "d8") is None
    assert refusal("onnx", layers["up"], "w8a8").name == "onnx-static-transposed"
    for form in ("mlpackage", "aimodel"):
        assert not set(allowed(form, layers["stem"], ("w4", "block4", "block8")))
    assert allowed("openvino", layers["stem"], ("w8a16", "w8")) == ("w8",)
    for rule in RULES:
        assert len(rule.reason) > 20
        assert "#" in rule.source or rule.source.startswith("measured")
        assert rule.name in table()
