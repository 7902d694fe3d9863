"""Toy runs of every kind that ships, random weights of real classes, and assets packed of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.distill.tiny_faces import tiny_faces

from edgekit.core.store import file_sha256
from edgekit.distill.faces.sets import load_faces
from edgekit.distill.identity.encoder import fresh_encoder
from edgekit.distill.identity.shape import IdentityShape
from edgekit.distill.identity.student import write_encoder
from edgekit.distill.mesh.generator import fresh_generator
from edgekit.distill.mesh.shape import TOY
from edgekit.distill.mesh.student import Prompts, write_generator
from edgekit.distill.program import PROGRAM, StudentFacts, copy_student, write_ported
from edgekit.distill.restorer.phone import TOY_PHONE, fresh_phone
from edgekit.distill.restorer.ship import input_ports, output_port
from edgekit.distill.ship import ship
from edgekit.distill.students.shape import shape_facts

SIZE = 64
CODES = IdentityShape(
    size_px=32, patch_px=16, queries=32, width=256, heads=8, layers=1, refine=0, expand=1
)
"""The smallest encoder whose codes have the shape that restorers take."""
PROMPTS = Prompts(
    train=("a red cone", "a blue ball"),
    unseen=("a blue cone",),
    words=("ball", "blue", "cone", "red"),
)
QUALITY = {"identity": {"threshold": -0.9, "equal_error": 0.25}}


def toy_runs(place: Path) -> Path:
    """Write ``faces``, ``identity``, ``portraits/phone`` and ``things``; return `place`."""
    torch.manual_seed(0)
    faces = tiny_faces(place / "faces", people=6, photos=3, size=SIZE)
    small = load_faces(faces, size_px=CODES.size_px)
    facts = StudentFacts(
        name="identity", recipe_sha256="0" * 64, quality=QUALITY, licences={"faces": "CC0"}
    )
    write_encoder(place / "identity", fresh_encoder(CODES, seed=0), small, small, facts)
    _write_phone(place / "portraits" / "phone", place / "identity", faces)
    things = StudentFacts(name="things", recipe_sha256="2" * 64, teacher="views@0")
    generator = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    write_generator(place / "things", generator, PROMPTS, things)
    return place


def _write_phone(folder: Path, encoder: Path, faces: Path) -> None:
    network = fresh_phone(TOY_PHONE, seed=0)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith("generator.head"):  # zeros when fresh
                value.normal_(0, 0.05)
    pictures = load_faces(faces, size_px=SIZE).images[:4].permute(0, 2, 3, 1).numpy()
    codes = np.random.default_rng(0).normal(size=(4, 32, 256)).astype(np.float32)
    copy_student(encoder, folder / "identity")
    references = {
        "form": "phone",
        "places": 4,
        "encoder_sha256": file_sha256(encoder / PROGRAM),
        "shape": shape_facts(TOY_PHONE),
    }
    (folder.parent / "recipe.toml").write_text('name = "portraits"\nminutes = 2.0\n')
    write_ported(
        folder,
        network,
        inputs=input_ports(network, SIZE),
        outputs=[output_port(SIZE)],
        calibration={"image": pictures, "code": codes},
        heldout={"image": pictures, "code": codes, "teacher": pictures},
        facts=StudentFacts(
            name="portraits-phone",
            form="restorer",
            recipe_sha256="1" * 64,
            parts={"identity": "identity"},
            licences={"faces": {"CC0": 18}},
            extra={"references": references},
        ),
    )


def toy_assets(runs: Path, place: Path) -> Path:
    """Pack the runs as they would ship, into `place`."""
    ship("identity", runs / "identity", place / "identity", faces=runs / "faces")
    ship("restorer", runs / "portraits", place / "restorer", faces=runs / "faces")
    ship("things", runs / "things", place / "things")
    return place
