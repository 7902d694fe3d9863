"""Adapters: the few low-rank factors that turn the frozen base into one concept.

Shape key, used as name suffixes in this file:
    O outputs   I inputs   R rank

    adapted_OI = base_OI + scale * up_OR @ down_RI          (a 3x3 layer: down is 3x3, up is 1x1)

A layer that sees the text and nothing else gives one concept one vector, whatever the rank of a
change to it: there the bias is trained, with a tenth of the numbers and nothing lost.

Source: Hu et al. 2021, "LoRA" (arXiv:2106.09685), attached where Gong et al. 2024, "E2GAN"
(arXiv:2401.06127), section 3.2, found the layers that a new concept needs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from peft import (
    LoraConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.lora.layer import Conv2d as LoraConv2d
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import write_bytes
from edgekit.distill.ranks import Ranks, as_ranks
from edgekit.distill.students.gan import Generator

SCALE = 2.0
"""Weight of the product of the factors: ``lora_alpha / rank``, the same at every rank."""


TEXT_ALONE = ".modulation"
"""End of the names of layers that see the text alone."""
Network = TypeVar("Network", bound=nn.Module)


class MergedConv2d(LoraConv2d):
    """peft's adapted convolution, with the product of the factors added to the weights at once.

    peft runs the factors as two more convolutions over the picture, which makes a training step a
    quarter longer than training every weight; adding up weights first costs next to nothing.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the response of the adapted convolution."""
        base = self.get_base_layer()
        weight = base.weight + self.get_delta_weight(self.active_adapters[0])
        response: Tensor = base._conv_forward(x, weight, base.bias)
        return response


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter file and what it belongs to."""

    factors: Mapping[str, Tensor]
    ranks: Ranks
    prompt: str
    base_sha256: str


def adapted_layers(generator: nn.Module) -> dict[str, str]:
    """Return the convolutions and linear layers that may get factors, with their groups.

    `generator` says by its ``adapter_groups`` which of its parts belong to which group.
    """
    groups = cast(Any, generator).adapter_groups
    return {
        name: groups[name.split(".")[0]]
        for name, layer in generator.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
        and name.split(".")[0] in groups
        and not name.endswith(TEXT_ALONE)
    }


def ranks_of_layers(generator: nn.Module, rank: int | Ranks) -> dict[str, int]:
    """Return the rank of every layer that changes: its group's, or the layer's own smaller side."""
    ranks, layers = as_ranks(rank), dict(generator.named_modules())
    return {
        name: min(ranks[group], *cast(Tensor, layers[name].weight).shape[:2])
        for name, group in adapted_layers(generator).items()
        if ranks[group]
    }


def attach(generator: Network, *, rank: int | Ranks, seed: int) -> Network:
    """Freeze `generator` and put adapters beside its crucial layers, in place.

    They change nothing yet: one factor starts at zero, the other from `seed`. The rank of a layer
    with fewer outputs or inputs than its group's rank is that number. Of the layers that see the
    text alone the bias is trained, unless their group's rank is 0. Raises EdgekitError for ranks
    that cannot be meant.
    """
    ranks = ranks_of_layers(generator, rank)
    biases = _text_biases(generator, as_ranks(rank))
    most = max(ranks.values())
    generator.requires_grad_(False)
    config = LoraConfig(
        r=most,
        lora_alpha=SCALE * most,
        target_modules=list(ranks),
        rank_pattern={name: value for name, value in ranks.items() if value != most},
        alpha_pattern={name: SCALE * value for name, value in ranks.items() if value != most},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, generator)
    for layer in generator.modules():
        if type(layer) is LoraConv2d:
            layer.__class__ = MergedConv2d
    for bias in biases.values():
        bias.requires_grad_(True)
    return generator


def _text_biases(generator: nn.Module, ranks: Ranks) -> dict[str, nn.Parameter]:
    groups = cast(Any, generator).adapter_groups
    return {
        name: value
        for name, value in generator.named_parameters()
        if name.endswith(f"{TEXT_ALONE}.bias") and ranks[groups[name.split(".")[0]]]
    }


def factors(generator: nn.Module) -> dict[str, Tensor]:
    """Return the numbers of an attached adapter at float16, as they are stored."""
    state = _numbers(generator)
    return {name: value.detach().cpu().half().contiguous() for name, value in state.items()}


def _numbers(generator: nn.Module) -> dict[str, Tensor]:
    """Return the low-rank factors and the trained biases."""
    biases = {
        name: value
        for name, value in generator.named_parameters()
        if name.endswith(f"{TEXT_ALONE}.bias") and value.requires_grad
    }
    return {**get_peft_model_state_dict(generator), **biases}


def use_factors(generator: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set the numbers of an attached adapter; raises ValueError if they do not fit."""
    mine = _numbers(generator)
    if {n: v.shape for n, v in mine.items()} != {n: v.shape for n, v in values.items()}:
        raise ValueError("the factors belong to a generator of another shape or rank")
    low_rank = {name: value.float() for name, value in values.items() if "lora_" in name}
    set_peft_model_state_dict(generator, low_rank)
    with torch.no_grad():
        for name in mine.keys() - low_rank.keys():
            mine[name].copy_(values[name])


def merged(generator: Network) -> Network:
    """Return a copy with the adapters folded into plain layers: the phone never sees a LoRA."""
    plain = copy.deepcopy(generator)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, layer.get_base_layer())
    return plain.requires_grad_(False)


def save_adapter(path: Path, adapter: Adapter) -> int:
    """Write `adapter` to `path` at float16 and return the file's bytes."""
    facts = {
        "format": "edgekit.adapter.1",
        "ranks": json.dumps(dict(adapter.ranks)),
        "prompt": adapter.prompt,
        "base_sha256": adapter.base_sha256,
        "scale": str(SCALE),
    }
    values = {name: value.half().contiguous() for name, value in adapter.factors.items()}
    write_bytes(path, _ordered(safetensors_bytes(values, metadata=facts)))
    return path.stat().st_size


def _ordered(file: bytes) -> bytes:
    """Return a safetensors file with its header in order: the library writes it in any order."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[start:]


def read_adapter(path: Path) -> Adapter:
    """Read an adapter; raises BadInput if the file is missing, damaged or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ranks = as_ranks(json.loads(facts["ranks"]))
        return Adapter(values, ranks, facts["prompt"], facts["base_sha256"])
    except (OSError, SafetensorError, KeyError, ValueError, EdgekitError) as error:
        raise BadInput(
            f"{path} is not an adapter of edgekit", hint="name the adapter.safetensors of a run"
        ) from error


def attach_adapter(generator: Generator, adapter: Adapter, *, base_sha256: str) -> Generator:
    """Attach a stored adapter to the base it was trained on.

    Raises BadInput if `base_sha256`, the hash of the base at hand, is another one: the factors
    would load, and the pictures would be wrong.
    """
    if adapter.base_sha256 != base_sha256:
        raise BadInput(
            f"the adapter for {adapter.prompt!r} belongs to base {adapter.base_sha256[:12]}, "
            f"not {base_sha256[:12]}",
            hint="use the edgekit version that made it, or distil the concept again",
        )
    attach(generator, rank=adapter.ranks, seed=0)
    use_factors(generator, adapter.factors)
    return generator
