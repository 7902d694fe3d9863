"""Which unit runs what: the tables name real operators, and the check names modules and reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tests import needs
from tests.export.programs import Network, trained, write_student
from torch import nn

from edgekit.cli.main import run
from edgekit.core.errors import EdgekitError, QualityFailed
from edgekit.core.seams import Port
from edgekit.export.graph import plain_graph
from edgekit.export.placement.check import check, require
from edgekit.export.placement.tables import coverage, operators_for, units_of
from edgekit.export.program import Program
from edgekit.export.targets import FORMATS

NAMES = json.loads((Path(units_of.__code__.co_filename).parent / "names.json").read_text())


def program(network: nn.Module, *shapes: tuple[int, ...]) -> Program:
    network = network.eval()
    inputs = tuple(torch.rand(shape) for shape in shapes)
    module = plain_graph(torch.export.export(network, inputs))
    ports = tuple(Port(f"x{i}", shape, layout="flat") for i, shape in enumerate(shapes))
    return Program(module, ports, (Port("y", (1,), layout="flat"),))


class Sampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 3, 3, padding=1)
        self.inner = Inner()

    def forward(self, x, grid):
        return self.inner(self.head(x), grid)


class Inner(nn.Module):
    def forward(self, x, grid):
        return F.grid_sample(x, grid, align_corners=False)


class Modulated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 3, 3, 3))

    def forward(self, x, style):
        return F.conv2d(x, self.weight * style.reshape(1, 3, 1, 1), padding=1)


class SixAxes(nn.Module):
    def forward(self, x):
        return torch.tanh(x.reshape(1, 2, 2, 2, 2, 2)).reshape(1, 32)


@pytest.fixture(scope="module")
def student_program():
    return program(trained(Network(), seed=0), (1, 3, 32, 32))


def refused(placement, unit):
    return [refusal for refusal in placement.refused if refusal.unit == unit]


def test_a_concept_gan_runs_on_every_npu(student_program):
    for placement in check(student_program, ["onnx", "tflite", "mlpackage"]):
        assert placement.runs["npu"] == placement.operators > 30

        require([placement], "npu")


def test_what_falls_off_xnnpack_is_named_by_module_and_reason(student_program):
    placement = check(student_program, ["tflite"])[0]

    off = refused(placement, "xnnpack")
    assert [refusal.operator for refusal in off] == ["upsample_nearest2d"] * 2
    assert all("RESIZE_NEAREST_NEIGHBOR" in refusal.reason for refusal in off)
    assert placement.runs["xnnpack"] == placement.operators - 2


def test_a_required_unit_that_falls_back_is_an_error_with_the_path_and_the_way_out():
    placements = check(program(Sampled(), (1, 3, 8, 8), (1, 4, 4, 2)), ["mlpackage"])

    with pytest.raises(QualityFailed, match=r"inner \(grid_sampler\)") as failed:
        require(placements, "npu")

    assert "lattice" in str(failed.value.hint)
    assert refused(placements[0], "gpu") == []


def test_the_neural_engine_takes_no_float32(student_program):
    placement = check(student_program, ["mlpackage"], precision="fp32")[0]

    assert placement.runs["npu"] == 0
    assert placement.runs["gpu"] == placement.operators


def test_weights_that_are_computed_keep_a_convolution_off_the_npu():
    placement = check(program(Modulated(), (1, 3, 8, 8), (1, 3)), ["onnx"])[0]

    assert [refusal.operator for refusal in refused(placement, "npu")] == ["conv2d"]
    assert "computed" in refused(placement, "npu")[0].reason
    assert refused(placement, "cpu") == []


def test_more_dimensions_than_a_unit_has_are_refused():
    placement = check(program(SixAxes(), (1, 32)), ["tflite"])[0]

    assert {refusal.operator for refusal in refused(placement, "npu")} == {"reshape", "tanh"}
    assert "6 dimensions" in refused(placement, "npu")[0].reason


def test_an_operator_that_nobody_listed_is_unknown_and_not_supported():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    placement = check(program(Odd(), (1, 4)), ["tflite"])[0]

    assert placement.runs["npu"] == 0
    assert "does not know" in refused(placement, "npu")[0].reason


def test_a_unit_that_no_format_has_is_a_mistake(student_program):
    with pytest.raises(EdgekitError, match="unknown unit 'nup'"):
        require(check(student_program, ["onnx"]), "nup")


def test_every_unit_has_a_source_and_every_format_with_a_table_exists():
    for form in FORMATS:
        for unit in units_of(form):
            assert unit.source
            assert unit.confidence


def written(form):
    return {name for entry in NAMES["operators"].values() for name in entry.get(form, "").split()}


def test_every_litert_name_is_an_operator_of_the_schema():
    from ai_edge_litert import schema_py_generated as schema

    known = {name for name in vars(schema.BuiltinOperator) if name.isupper()} | {"CUSTOM_ERF"}
    listed = {name for unit in units_of("tflite") for name in unit.runs or ()}

    assert written("tflite") - known == set()
    assert listed - known == set()


def test_every_onnx_name_is_an_operator_of_the_standard():
    import onnx

    known = {schema.name for schema in onnx.defs.get_all_schemas()}

    assert written("onnx") - known == set()


def test_every_core_ml_name_is_an_operation_of_coremltools():
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    known = set(SSAOpRegistry.core_ops)
    listed = {name for unit in units_of("mlpackage") for name in unit.refuses}

    assert (written("mlpackage") | listed) - known <= {"pad_reflect", "conv3d", "rnn", "where"}


@needs.EXECUTORCH
def test_the_list_of_executorch_is_that_of_the_installed_partitioner():
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS

    listed = next(unit.runs for unit in units_of("pte") if unit.unit == "xnnpack")

    assert listed == {config.target_name for config in ALL_PARTITIONER_CONFIGS}


def test_a_file_of_executorch_says_itself_what_is_delegated():
    counts = coverage("pte", "fp32", {"XnnpackBackend: Conv2d": 5, "aten::upsample_nearest2d": 2})

    assert counts == {"xnnpack": 5, "cpu": 7}


def test_the_names_are_those_that_the_onnx_converter_writes(student_program, tmp_path):
    from edgekit.export.targets import Sources, converter_of
    from edgekit.export.targets.onnx import operators

    path = tmp_path / "student.onnx"
    recipe = converter_of("onnx").recipes("fp32")[0]
    named = Program(
        student_program.module,
        (Port("image", (1, 3, 32, 32)),),
        (Port("image_out", (1, 3, 32, 32)),),
    )
    none = Sources(made=lambda precision: path, calibration=lambda: [])
    converter_of("onnx").convert(named, path, precision="fp32", recipe=recipe, sources=none)
    targets = [
        node
        for node in student_program.module.graph.nodes
        if node.op in ("call_function", "call_module")
    ]

    from edgekit.export.placement.check import operator_of

    expected = {
        name
        for node in targets
        for name in operators_for("onnx", operator_of(student_program.module, node)) or ()
    }
    assert set(operators(path)) - expected <= {"Constant", "Unsqueeze"}


def test_the_command_shows_counts_and_ends_with_6_where_a_unit_is_required(tmp_path, capsys):
    student = write_student(tmp_path / "student")

    assert run(["check", str(student), "--target", "android", "--target", "ios"]) == 0
    said = capsys.readouterr().out
    assert run(["check", str(student), "--target", "android", "--require", "xnnpack"]) == 6

    assert "android tflite fp16: npu " in said
    assert "not on xnnpack: 2 x upsample_nearest2d" in said
    assert "do not run on the xnnpack" in capsys.readouterr().err


def test_the_command_gives_every_refusal_as_json(tmp_path, capsys):
    student = write_student(tmp_path / "student")

    assert run(["check", str(student), "--target", "web", "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)["placements"]
    assert [row["form"] for row in rows] == ["onnx", "tflite"]
    assert rows[0]["sources"]["npu"]
