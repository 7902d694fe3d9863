"""Small modules of the kinds that picture students are made of, each a student folder of its own.

`ZOO` maps a name to its member, `FAMILY` to its family. Weights are seeded,
scaled so that values stay near 1, and norms hold the statistics of the member's own activations.
"""

from __future__ import annotations

from zoo import (
    activations,
    attention,
    convolutions,
    gan,
    norms,
    pooling,
    restorer,
    shapes,
    students,
    unet,
    upsamplers,
)
from zoo.member import Member

FAMILIES = {
    "GAN blocks": gan,
    "U-Net blocks": unet,
    "restorer": restorer,
    "upsamplers": upsamplers,
    "norms": norms,
    "attention": attention,
    "activations": activations,
    "convolutions": convolutions,
    "pooling": pooling,
    "shapes and indices": shapes,
    "whole students": students,
}
FAMILY = {member.name: name for name, module in FAMILIES.items() for member in module.MEMBERS}
ZOO: dict[str, Member] = {
    member.name: member for module in FAMILIES.values() for member in module.MEMBERS
}
