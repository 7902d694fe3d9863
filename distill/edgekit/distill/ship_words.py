"""What the cards of shipped students say of use and limits; the numbers come from the runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NotRequired, TypedDict


class Texts(TypedDict):
    """The words of one card."""

    name: str
    what: str
    intended_use: str
    limits: tuple[str, ...]
    consent: str
    data: NotRequired[Mapping[str, str]]
    """What was learned from -> its licence, beside what the run says."""


TEXTS: Mapping[str, Texts] = MappingProxyType(
    {
        "identity": Texts(
            name="edgekit identity encoder",
            what="photos of one person, in any number and order, to an identity code of 16 kB that "
            "the shipped restorer understands",
            intended_use="to tell a restorer on the same device whose portrait it restores, with "
            "the consent of that person",
            limits=(
                "no proof of who somebody is: its measured error stands in quality.identity",
                "not for surveillance, search, access control, age, origin, health or mood",
                "trained on few people: faces unlike theirs are told apart worse",
                "aligned faces of 128 pixels, near and from the front",
            ),
            consent="A code is biometric data: a face can be painted again from it. Enrol only "
            "people who agreed, keep codes on the device, delete them on request "
            "(docs/identity.md).",
        ),
        "restorer": Texts(
            name="edgekit restorer for phones",
            what="a degraded portrait and the identity code of its person to a restored portrait, "
            "in one pass",
            intended_use="to restore portraits of people who agreed, or of one's own family, for "
            "looking at",
            limits=(
                "what it paints is plausible, not true: never evidence of what somebody looked "
                "like, and never input of a recognizer",
                "one face a run; beyond the square around it nothing is restored",
                "how much references help is measured on docs/evidence/faces.md: rely on nothing "
                "else",
                "trained on few people: faces unlike theirs are restored worse",
            ),
            consent="References and codes are biometric data of the person. Restore and enrol "
            "people who agreed (docs/identity.md).",
        ),
        "alone": Texts(
            name="edgekit restorer for phones",
            what="a degraded portrait to a restored portrait, in one pass, without references",
            intended_use="to restore portraits of people who agreed, or of one's own family, for "
            "looking at",
            limits=(
                "what it paints is plausible, not true: never evidence of what somebody looked "
                "like, and never input of a recognizer",
                "it knows nothing of the person: other photos of them do not help it",
                "one face a run; beyond the square around it nothing is restored",
                "trained on few people: faces unlike theirs are restored worse",
            ),
            consent="Restore portraits of people who agreed (docs/identity.md).",
        ),
        "things": Texts(
            name="edgekit generator of things",
            what="a prompt in known words to a textured mesh, in one pass",
            intended_use="simple coloured objects for scenes, toys and tests",
            limits=(
                "it knows the words of its card and refuses all others",
                "it learned from the pictures of a small teacher that saw a world of toys: its "
                "things are no more than that world's",
                "prompts that it was not trained on (prompts.unseen) come out worse; its teacher "
                "saw pictures of them",
                "how often its meshes are recognized is measured on docs/evidence/mesh.md: rely on "
                "nothing else",
            ),
            consent="No pictures of people and nobody else's data were used.",
            data={"pictures of toys": "rendered by this project's own code, Apache-2.0"},
        ),
    }
)
