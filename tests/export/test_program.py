import json

import numpy as np
import pytest
import torch
from tests.export.programs import Network, trained, write_student

from edgekit.core.errors import BadInput
from edgekit.export.graph import described, live_after, tensor_nodes
from edgekit.export.program import (
    calibration_feeds,
    heldout_feeds,
    load_program,
    prefix,
    read_student,
    reference_outputs,
    run,
)
from edgekit.export.ranges import half_overflow, largest_activations


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("program") / "student", styled=True)


@pytest.fixture(scope="module")
def student(folder):
    return read_student(folder)


@pytest.fixture(scope="module")
def program(student):
    return load_program(student)


def test_the_prepared_program_computes_what_was_saved(student, program):
    feeds = heldout_feeds(student, limit=3)

    expected = reference_outputs(student, feeds)

    for feed, outputs in zip(feeds, expected, strict=True):
        got = run(program, feed)
        assert set(got) == {"image_out", "code"}
        for name, value in outputs.items():
            np.testing.assert_allclose(got[name], value, atol=1e-5)


def test_norms_behind_convolutions_are_folded_and_others_stay(program):
    norms = [n.name for n in program.module.graph.nodes if "batch_norm" in str(n.target)]

    assert len(norms) == 1  # the one in front of the attention


def test_weights_trained_in_channels_last_are_stored_in_row_order(program):
    weights = [value for value in program.module.parameters() if value.ndim == 4]

    assert len(weights) > 8
    assert all(value.is_contiguous() for value in weights)


def test_a_prefix_computes_the_same_inner_values(student, program):
    feed = heldout_feeds(student, limit=1)[0]
    kept = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n):
            kept[n.name] = super().run_node(n)
            return kept[n.name]

    with torch.no_grad():
        Recorder(program.module).run(*(torch.from_numpy(feed[p.name]) for p in program.inputs))
    node = tensor_nodes(program.module)[9]

    part = prefix(program, node.name)

    assert [port.name for port in part.inputs] == ["image"]
    names = live_after(program.module, node.name)
    got = run(part, feed)
    for port, name in zip(part.outputs, names, strict=True):
        np.testing.assert_array_equal(got[port.name], kept[name].numpy())
    assert names[-1] == node.name
    assert len(names) > 1  # the skip connection is alive there


def test_a_node_is_named_by_the_module_it_came_from(program):
    names = [described(node) for node in tensor_nodes(program.module)]

    assert names[0] == "down1.0 (conv2d.default, node layer_down1_0)"


def test_the_largest_activation_of_each_node_is_found(student, program):
    feeds = heldout_feeds(student, limit=2)

    largest = largest_activations(program, feeds)

    assert largest["image"] == pytest.approx(max(abs(feed["image"]).max() for feed in feeds))
    assert half_overflow(program, feeds) is None


def test_an_activation_beyond_half_precision_is_named(tmp_path):
    network = trained(Network(), seed=1)
    with torch.no_grad():
        network.up1[0].weight *= 1e6
    student = read_student(write_student(tmp_path / "loud", network))

    said = half_overflow(load_program(student), heldout_feeds(student, limit=1))

    assert "up1.0" in said


def test_calibration_samples_are_spread_over_the_file(student):
    every = calibration_feeds(student, limit=100)

    few = calibration_feeds(student, limit=2)

    assert len(every) == 6
    np.testing.assert_array_equal(few[0]["image"], every[0]["image"])
    np.testing.assert_array_equal(few[1]["image"], every[-1]["image"])


def changed(folder, tmp_path, **facts):
    import shutil

    copied = tmp_path / "changed"
    shutil.copytree(folder, copied)
    manifest = json.loads((copied / "manifest.json").read_text()) | facts
    (copied / "manifest.json").write_text(json.dumps(manifest))
    return copied


def test_a_folder_that_is_no_student_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not a finished student"):
        read_student(tmp_path)


def test_a_bundle_is_not_taken_for_a_student(folder, tmp_path):
    with pytest.raises(BadInput, match="holds a bundle, not a student"):
        read_student(changed(folder, tmp_path, kind="bundle"))


def test_a_damaged_program_is_refused_in_one_sentence(folder, tmp_path):
    copied = changed(folder, tmp_path)
    (copied / "student.pt2").write_bytes(b"not a program")

    with pytest.raises(BadInput, match=r"not a program that torch .* can load"):
        load_program(read_student(copied))


def test_ports_that_contradict_the_program_are_refused(folder, tmp_path):
    ports = json.loads((folder / "manifest.json").read_text())["inputs"]
    ports[0]["shape"] = [1, 3, 64, 64]

    with pytest.raises(BadInput, match="the manifest says"):
        load_program(read_student(changed(folder, tmp_path, inputs=ports)))


def test_a_port_without_a_name_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="no usable inputs"):
        read_student(changed(folder, tmp_path, inputs=[{"shape": [1]}]))


def test_calibration_of_the_wrong_size_is_refused_before_any_work(folder, tmp_path):
    copied = changed(folder, tmp_path)
    wrong = np.zeros((2, 16, 16, 3), np.uint8)
    np.savez(copied / "calibration.npz", image=wrong, style=np.zeros((2, 12), np.float32))

    with pytest.raises(BadInput, match="has shape"):
        calibration_feeds(read_student(copied), limit=2)
