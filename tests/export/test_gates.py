"""What becomes of a file that is not what it should be; the faults are put in a converter."""

import errno
import os

import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.export.programs import Network, trained, write_student

from edgekit.core.errors import OutputError, ParityFailed, QualityFailed, TargetUnsupported
from edgekit.export import cache, parity, records
from edgekit.export.bundle import export_student
from edgekit.export.targets import onnx as onnx_format
from edgekit.runtime.sessions import open_session


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("gates") / "student")


def exported(student, out, *precisions):
    return export_student(
        student,
        ["onnx"],
        out,
        open_session=open_session,
        precisions=precisions or ("fp32",),
        isolated=False,
    )


def break_layer(monkeypatch, part, factor=1.02):
    """Let the converter get one layer's weights wrong by two per cent."""
    right = onnx_format.convert

    def wrong(program, path, **options):
        words = right(program, path, **options)
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if part in tensor.name and tensor.name.endswith("weight"):
                tensor.CopyFrom(
                    numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name)
                )
        onnx.save(model, path)
        return words

    monkeypatch.setattr(onnx_format, "convert", wrong)


def test_a_converter_that_breaks_one_layer_is_caught_and_the_layer_is_named(
    student, tmp_path, monkeypatch
):
    break_layer(monkeypatch, "residual1_1_0")

    with pytest.raises(ParityFailed) as caught:
        exported(student, tmp_path / "bundle")

    assert "the first bad layer is residual1.1.0 (conv2d.default" in caught.value.what
    assert caught.value.exit_code == 5
    assert (tmp_path / "bundle/failed/onnx/make-it-night.fp32.onnx").is_file()
    assert not (tmp_path / "bundle/manifest.json").exists()


def test_an_int8_file_below_the_bar_is_refused_after_every_recipe_was_tried(
    student, tmp_path, monkeypatch
):
    monkeypatch.setitem(parity.PASS_DB, "int8", 300.0)

    bundle = exported(student, tmp_path / "bundle", "fp32", "int8")

    assert [model.precision for model in bundle.models] == ["fp32"]
    record = records.Record.model_validate_json(
        (tmp_path / "bundle/.records/onnx.int8.json").read_text()
    )
    assert [attempt.recipe for attempt in record.attempts] == ["ends-1", "ends-2", "ends-3"]
    first, second, third = record.attempts
    assert "less than 300 dB" in first.verdict
    assert first.worst_psnr_db < second.worst_psnr_db  # more of the network stays float
    assert third.worst_psnr_db is None  # of this small network too much would stay float


def test_an_int8_file_that_is_still_float_fails_and_the_other_files_are_not_lost(
    student, tmp_path, monkeypatch
):
    def unchanged(source, path, **_):
        path.write_bytes(source.read_bytes())
        return "nothing"

    out = tmp_path / "bundle"
    monkeypatch.setattr(onnx_format, "static_int8", unchanged)
    with pytest.raises(QualityFailed, match="calls itself int8 but its weights are") as caught:
        exported(student, out, "fp32", "int8")
    kept = (out / "failed/onnx/make-it-night.int8.onnx").is_file()
    first = (out / "onnx/make-it-night.fp32.onnx").stat()
    unfinished = not (out / "manifest.json").exists()
    monkeypatch.undo()

    bundle = exported(student, out, "fp32", "int8")

    assert caught.value.exit_code == 6
    assert kept
    assert unfinished
    assert {model.precision for model in bundle.models} == {"fp32", "int8"}
    assert (out / "onnx/make-it-night.fp32.onnx").stat().st_mtime_ns == first.st_mtime_ns
    assert not (out / "failed").exists()


def test_an_int8_file_that_is_not_smaller_is_refused(student, tmp_path, monkeypatch):
    right = onnx_format.static_int8

    def padded(source, path, **options):
        words = right(source, path, **options)
        model = onnx.load(path)
        model.doc_string = "x" * source.stat().st_size
        onnx.save(model, path)
        return words

    monkeypatch.setattr(onnx_format, "static_int8", padded)

    bundle = exported(student, tmp_path / "bundle", "fp32", "int8")

    assert bundle.refused[0].reason == "is not smaller than the fp32 file"


def test_layers_that_leave_half_precision_stay_float32_and_the_file_ships(tmp_path):
    network = trained(Network(), seed=1)
    with torch.no_grad():
        network.up1[0].weight *= 1e6
        network.up1[0].bias = None
        network.up2[0].weight *= 1e-6
    student = write_student(tmp_path / "loud", network)

    bundle = exported(student, tmp_path / "bundle", "fp16")

    (model,) = bundle.models
    assert "float32 for node_" in model.recipe
    assert model.parity.worst_psnr_db > 55
    held = onnx_format.weight_elements(tmp_path / "bundle" / model.path)
    assert held["float16"] > 5 * held["float"]  # only the loud layers stay wide


def test_a_precision_that_cannot_be_converted_does_not_cost_the_others(
    student, tmp_path, monkeypatch
):
    def fails(source, path, feeds=()):
        raise RuntimeError("no kernel for aten::frobnicate\nand a long story")

    monkeypatch.setattr(onnx_format, "half_file", fails)

    bundle = exported(student, tmp_path / "bundle", "fp32", "fp16")

    assert [model.precision for model in bundle.models] == ["fp32"]
    assert bundle.refused[0].reason == "cannot be converted: no kernel for aten::frobnicate"


def test_a_file_that_no_runtime_loads_does_not_cost_the_others(student, tmp_path, monkeypatch):
    def cut(source, path, feeds=()):
        path.write_bytes(source.read_bytes()[:1000])

    monkeypatch.setattr(onnx_format, "half_file", cut)

    bundle = exported(student, tmp_path / "bundle", "fp16", "fp32")

    assert [model.precision for model in bundle.models] == ["fp32"]
    assert "was written but cannot be executed: " in bundle.refused[0].reason
    assert bundle.refused[0].precision == "fp16"


def test_a_full_disk_is_said_in_one_sentence_and_finished_files_stay(
    student, tmp_path, monkeypatch
):
    right = cache.shutil.copyfile

    def full(source, destination):
        if "fp16" in destination.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(destination))
        return right(source, destination)

    monkeypatch.setattr(cache.shutil, "copyfile", full)

    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        exported(student, tmp_path / "bundle", "fp32", "fp16")

    assert (tmp_path / "bundle/onnx/make-it-night.fp32.onnx").is_file()
    assert not (tmp_path / "bundle/manifest.json").exists()


def test_a_target_that_ends_without_a_file_is_an_error(student, tmp_path, monkeypatch):
    def fails(program, path):
        raise RuntimeError("no kernel for aten::frobnicate")

    monkeypatch.setattr(onnx_format, "_float32", fails)

    with pytest.raises(TargetUnsupported, match="no file of the target onnx could be made"):
        exported(student, tmp_path / "bundle")

    assert not (tmp_path / "bundle/manifest.json").exists()


def test_more_float_layers_at_the_ends_mean_fewer_int8_ones(student, tmp_path):
    from edgekit.export.quantize_onnx import INT8_RECIPES, _float_layers

    exported(student, tmp_path / "bundle")
    model = onnx.load(tmp_path / "bundle/onnx/make-it-night.fp32.onnx")
    names = {
        output: node.name for node in model.graph.node for output in node.output
    }  # every node has a name, or islands could not be named

    kept = [len(_float_layers(model, INT8_RECIPES[name])) for name in ("all", "ends-1", "ends-2")]

    assert all(names.values())
    assert kept == [0, 2, 4]
