"""Feeds on which rounding decides the answer are found, and only those are not judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.export.programs import Network, trained, write_student
from torch import nn

from edgekit.core.seams import Port
from edgekit.export import judgement
from edgekit.export.adversarial import adversarial_feeds
from edgekit.export.conditioning import unstable
from edgekit.export.judgement import hard_feeds
from edgekit.export.program import heldout_feeds, load_program, read_student
from edgekit.export.records import read_record, record_path
from edgekit.export.worker import Job, work
from edgekit.runtime.sessions import open_session


class Flat(nn.Module):
    """Mirrored borders and instance norms: a flat picture stays flat, and is divided by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(i, 8, 3), nn.InstanceNorm2d(8))
            for i in (3, 8, 8)
        )
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.third(torch.relu(self.second(torch.relu(self.first(image))))))
        return torch.tanh(self.head(y))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("flat") / "student", trained(Flat(), seed=4))


def found(folder, precision="fp32"):
    student = read_student(folder)
    photos = heldout_feeds(student, limit=2)
    feeds = hard_feeds(student).feeds
    return [unstable(load_program(student), feed, photos, precision) for feed in feeds]


def test_a_flat_picture_through_norms_is_unstable_and_noise_is_not(flat):
    black, white, noise, _ = found(flat)

    assert black
    assert white
    assert not noise


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_student_of_folded_norms_is_stable_everywhere(tmp_path, precision):
    folder = write_student(tmp_path / "student", trained(Network(), seed=1))

    assert not any(found(folder, precision))


def status(folder, tmp_path):
    out = tmp_path / "out"
    job = Job(
        student=folder,
        format="onnx",
        keys={"fp32": "key"},
        out=out,
        scratch=tmp_path / "scratch",
        open_session="",
        name="flat",
    )
    work(job, open_session)
    return read_record(record_path(out, "onnx", "fp32"))


def test_a_right_file_ships_although_a_flat_picture_has_no_answer(flat, tmp_path):
    record = status(flat, tmp_path)

    assert record.status == "shipped", record.reason


def test_a_file_that_is_wrong_on_one_stable_extreme_is_still_caught(flat, tmp_path, monkeypatch):
    measured = judgement._measured

    def off_on_noise(place, program, session, feeds, references, protocol):
        made = measured(place, program, session, feeds, references, protocol)
        if feeds is place.feeds:
            return made
        return replace(made, max_abs=(*made.max_abs[:2], 0.5, made.max_abs[3]))

    monkeypatch.setattr(judgement, "_measured", off_on_noise)
    record = status(flat, tmp_path)

    assert record.status == "parity"
    assert "on noise" in record.reason


def test_extremes_keep_to_the_range_that_a_port_and_its_samples_keep_to():
    index = Port("concept", (1, 1), layout="flat", low=0.0, high=9.0)
    free = Port("factors", (1, 4), layout="flat")
    samples = [
        {"concept": np.full((1, 1), i, np.float32), "factors": np.full((1, 4), i, np.float32)}
        for i in range(1, 9)
    ]
    feeds = adversarial_feeds((index, free), samples)

    assert all(feed["concept"].min() >= 0 and feed["concept"].max() <= 9 for feed in feeds)
    assert max(abs(feed["factors"]).max() for feed in feeds) >= 8
