"""The student folder, whatever the student: one writer for all kinds."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.core.seams import Port
from edgekit.core.store import file_sha256
from edgekit.distill.program import StudentFacts, write_ported
from edgekit.export.program import heldout_feeds, read_student, reference_outputs


class Two(nn.Module):
    """A word vector and a picture to two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        shown = self.layer(text)
        return shown, image * shown.mean()


TEXT, IMAGE = Port("text", (1, 2, 4), layout="flat"), Port("image", (1, 3, 8, 8))
OUT = Port("shown", (1, 2, 3), layout="flat"), Port("image_out", (1, 3, 8, 8))


def written(folder: Path, **more: object) -> dict[str, object]:
    samples = {
        "text": np.ones((5, 2, 4), np.float32),
        "image": np.full((5, 8, 8, 3), 255, np.uint8),
    }
    facts = {"name": "two", "recipe_sha256": "0" * 64, "form": "field", "parts": {"inner": "inner"}}
    return write_ported(
        folder,
        Two(),
        inputs=[TEXT, IMAGE],
        outputs=OUT,
        calibration=samples,
        heldout=samples,
        size_px=8,
        facts=StudentFacts(**facts, assets={"words": "words.bin"}),
        **more,
    )


def test_a_student_of_any_ports_is_read_back_with_its_parts_and_assets(tmp_path: Path) -> None:
    (tmp_path / "words.bin").write_bytes(b"cone hat")

    written(tmp_path)

    student = read_student(tmp_path)
    assert (student.facts["form"], student.facts["parts"]) == ("field", {"inner": "inner"})
    assert student.facts["assets"] == {"words": "words.bin"}
    asset = student.facts["files"]["words.bin"]
    assert asset == {"sha256": file_sha256(tmp_path / "words.bin"), "bytes": 8}
    feeds = heldout_feeds(student, limit=1)
    assert [feeds[0][port.name].shape for port in student.inputs] == [(1, 2, 4), (1, 3, 8, 8)]
    made = reference_outputs(student, feeds)[0]
    assert np.allclose(made["shown"], 4)
    assert np.allclose(made["image_out"], 4)


def test_weights_to_go_on_from_may_be_others_or_none(tmp_path: Path) -> None:
    (tmp_path / "words.bin").write_bytes(b"")

    kept = written(tmp_path, weights={"inside": torch.ones(3)})
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "words.bin").write_bytes(b"")
    none = written(tmp_path / "none", weights={})

    assert kept["files"]["weights.safetensors"]["bytes"] < 120
    assert "weights.safetensors" not in none["files"]
