"""The zoo: its members, the runner that survives them, and a page that is what was measured."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import zoo_run
import zoo_table
from edgekit.export.program import heldout_feeds, load_program, read_student, reference_outputs, run
from zoo import FAMILIES, FAMILY, ZOO, cells
from zoo.cells import Cell
from zoo.known import KNOWN
from zoo.member import write

ROOT = Path(__file__).resolve().parents[2]
ASKED = {
    "GAN blocks",
    "U-Net blocks",
    "restorer",
    "upsamplers",
    "norms",
    "attention",
    "activations",
    "convolutions",
    "pooling",
    "shapes and indices",
    "whole students",
}


def test_there_are_sixty_modules_and_every_family_has_some():
    assert len(ZOO) >= 60
    assert set(FAMILIES) == ASKED == set(FAMILY.values())
    assert all(list(FAMILY.values()).count(family) >= 5 for family in FAMILIES)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_each_module_is_a_student_whose_program_runs_and_says_something(family, tmp_path):
    for name in (name for name in ZOO if FAMILY[name] == family):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            student = read_student(write(ZOO[name], tmp_path / name))
            program = load_program(student)
        feeds = heldout_feeds(student, limit=8)
        wanted = reference_outputs(student, feeds)
        got = run(program, feeds[0])

        assert len(feeds) == 3, name
        for port in student.outputs:
            first, second = (answers[port.name] for answers in wanted[:2])
            assert 0.002 < abs(first).max() < 20, (name, port.name)
            assert abs(first - second).max() > 1e-3, (name, port.name, "ignores its inputs")
            assert abs(first - got[port.name]).max() < 1e-4, (name, port.name)
            if port.shape[1:2] == (3,) and len(port.shape) == 4:
                assert abs(first).max() <= port.high == 1.0, (name, "a picture out of range")


def test_a_module_is_the_same_each_time():
    first, second = (ZOO["unet"].module().state_dict() for _ in range(2))

    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_batch_norm_holds_the_statistics_of_its_own_values():
    made = ZOO["batch_norm_first"].module()
    feeds = [feed[0] for feed in ZOO["batch_norm_first"].tensors(4)]
    variances = torch.stack([feed.var((0, 2, 3)) for feed in feeds])

    assert torch.allclose(made.norm.running_mean, torch.cat(feeds).mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(made.norm.running_var, variances.mean(0), rtol=1e-3)


def test_modules_pass_through_a_real_export_once_and_a_second_run_does_nothing(tmp_path):
    out, names = tmp_path / "zoo.jsonl", ["group_norm", "attention_windows", "restorer"]
    for _ in range(2):
        zoo_run.run(out, formats=["onnx"], names=names, precisions=["fp32", "fp16"])
    found = cells.read(out)

    assert len(out.read_text().splitlines()) == 6
    assert {cell.module for cell in found} == set(names)
    assert all(cell.passed for cell in found), [cell.reason for cell in found]
    assert all(cell.worst_db > 55 and len(cell.adversarial_db) == 4 for cell in found)


def test_what_cannot_be_converted_what_dies_and_what_never_ends_costs_one_cell(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    out = tmp_path / "zoo.jsonl"
    zoo_run.run(
        out,
        formats=["onnx"],
        names=["deadly", "relu", "unsupported", "endless"],
        precisions=["fp32"],
        seconds=30,
        members="tests.benchmarks.zoo_broken:ZOO",
    )
    found = {cell.module: cell for cell in cells.read(out)}

    assert found["relu"].passed
    assert found["deadly"].status == "died"
    assert "SIGABRT" in found["deadly"].reason
    assert found["unsupported"].status == "failed"
    assert not found["unsupported"].converted
    assert "matrix_exp" in found["unsupported"].reason
    assert found["endless"].status == "expired"
    assert "30 s" in found["endless"].reason


def test_a_line_that_was_cut_off_is_run_again(tmp_path):
    out = tmp_path / "zoo.jsonl"
    cells.append(out, [Cell("relu", "onnx", "fp32", True, "shipped", True, True)])
    with out.open("a") as stream:
        stream.write('{"module": "relu", "form')

    assert [cell.key for cell in cells.read(out)] == [("relu", "onnx", "fp32", True)]


def test_the_page_is_what_the_lines_say():
    lines = cells.read(zoo_table.RESULTS)

    assert zoo_table.page(lines) == zoo_table.PAGE.read_text(encoding="utf-8")


def test_ninety_eight_of_a_hundred_float_cells_pass_and_each_failure_has_a_reason():
    lines = [c for c in cells.read(zoo_table.RESULTS) if c.rewrites and zoo_table.offered(c)]
    floats = [c for c in lines if c.precision in zoo_table.FLOATS]
    failed = {(c.module, c.format, c.precision) for c in floats if not c.passed}
    for precision in zoo_table.FLOATS:
        mine = [c for c in floats if c.precision == precision]
        assert sum(c.passed for c in mine) >= 0.98 * len(mine)

    assert len({c.module for c in floats}) >= 60
    assert len({c.format for c in floats}) == 8
    for module, form, precision in failed:
        assert {(module, form, precision), (module, form, "*")} & set(KNOWN)


def test_a_page_shows_a_failure_as_one():
    bad = Cell("relu", "onnx", "fp32", True, "parity", True, True, "differs by 2")
    good = Cell("relu", "onnx", "fp16", True, "shipped", True, True, worst_db=70.0, bytes=9)
    page = zoo_table.page([bad, good])

    assert "1 of 2 float cells pass, 50.0 %" in page
    assert "| relu | onnx | fp32 | parity: differs by 2 | not known |" in page
    assert "**✗** / 70" in page
