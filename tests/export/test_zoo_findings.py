"""Faults that the zoo's first run found in the export, each as small as it can be shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from tests import needs
from torch import nn

from edgekit.core.manifest import Format
from edgekit.export.records import Record, read_record, record_path
from edgekit.export.worker import Job, work
from edgekit.runtime.sessions import open_session
from zoo.member import Member, write


def exported(network: Callable[[], nn.Module], folder: Path, form: Format) -> Record:
    """Return what became of a module's fp32 file."""
    student = write(Member("found", network), folder / "student")
    out = folder / "out"
    work(
        Job(
            student=student,
            format=form,
            keys={"fp32": "key"},
            out=out,
            scratch=folder / "scratch",
            open_session="",
            name="found",
        ),
        open_session,
    )
    record = read_record(record_path(out, form, "fp32"))
    assert record is not None
    return record


class Ends(nn.Module):
    """Begins and ends with nodes that OpenVINO optimizes away."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(F.instance_norm(x), 2).relu()


@needs.OPENVINO
def test_openvino_ports_keep_their_names_when_nodes_beside_them_go(tmp_path):
    record = exported(Ends, tmp_path, "openvino")

    assert record.status == "shipped", record.reason


class Exponential(nn.Module):
    """An operator that no converter has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.linalg.matrix_exp(x)


def test_an_operator_that_onnx_lacks_is_named(tmp_path):
    record = exported(Exponential, tmp_path, "onnx")

    assert record.status == "failed"
    assert "linalg_matrix_exp" in record.reason
    assert "\x1b" not in record.reason
