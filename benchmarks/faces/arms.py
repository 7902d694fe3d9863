"""The arms of the restorer experiment: what differs, and how each is built from one base."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from edgekit.distill.restorer.bases import Base
from edgekit.distill.restorer.one_step import Form, OneStep, branch_of, one_step
from edgekit.distill.restorer.stages import Plan, phone_of
from edgekit.distill.restorer.terms import TermWeights
from edgekit.distill.restorer.unet import fresh_unet, take_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to restore."""

    what: str
    form: Form
    landmark: bool = False
    sampled: bool = False
    """Trained as a diffusion model that sees the degraded portrait, sampled in 50 steps."""
    phone: bool = False
    """The network for phones."""
    tuned: bool = False
    """The identity encoder is trained on with it."""
    taught: bool = False
    """It learns from the arm `TEACHER` of the same seed too, not from true pictures alone."""

    @property
    def needs_code(self) -> bool:
        """Whether an identity encoder is needed."""
        return self.phone or self.form.conditioning == "code"

    def weights(self, usual: TermWeights) -> TermWeights:
        """Return the weights of the training terms."""
        return usual if self.landmark else replace(usual, landmark=0.0)


PLAIN = Form(conditioning="memory", adain=False, gate=False)
ADAIN = replace(PLAIN, adain=True)
GATED = replace(ADAIN, gate=True)
ARMS = {
    "none": Arm(what="no references", form=Form(conditioning="none")),
    "channels": Arm(what="references as input channels", form=Form(conditioning="channels")),
    "shared": Arm(what="shared attention", form=PLAIN),
    "adain": Arm(what="+ AdaIN on values", form=ADAIN),
    "landmark": Arm(what="+ landmark attention loss", form=ADAIN, landmark=True),
    "gate": Arm(what="+ reliability gate", form=GATED, landmark=True),
    "frozen": Arm(
        what="the same with keys and values of the frozen branch",
        form=replace(GATED, reader=False, tuned=False),
        landmark=True,
    ),
    "code": Arm(what="identity code in place of keys and values", form=Form(conditioning="code")),
    "tuned": Arm(what="+ its encoder trained on", form=Form(conditioning="code"), tuned=True),
    "sampled": Arm(what="conditional diffusion, 50 steps", form=ADAIN, sampled=True),
    "phone": Arm(
        what="phone-size student with code",
        form=Form(conditioning="code"),
        phone=True,
        taught=True,
        tuned=True,
    ),
    "untaught": Arm(
        what="phone-size student without a teacher",
        form=Form(conditioning="code"),
        phone=True,
        tuned=True,
    ),
}
TEACHER = "gate"


def network_of(arm: Arm, base: Base, plan: Plan) -> nn.Module:
    """Return an arm's untrained network."""
    if arm.phone:
        return phone_of(plan)
    if not arm.sampled:
        return one_step(base.shape, base.weights, arm.form, seed=plan.seed)
    # Three more input channels for the degraded portrait, and references as in `adain`.
    network = fresh_unet(replace(arm.form.shape(base.shape), extra=3), seed=plan.seed)
    take_weights(network, base.weights)
    branch = branch_of(base.shape, base.weights, arm.form, seed=plan.seed)
    return OneStep(network, branch, arm.form)
