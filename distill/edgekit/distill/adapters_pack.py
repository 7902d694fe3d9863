"""From a trained adapter to the file of a concept: factors as they are, text folded to constants.

The base's digest of the words, the modulation of the norms, and the keys and values of the
cross-attention depend on the words alone, so the factors of those layers need not ship: their
results do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from edgekit.core.concepts import Concept
from edgekit.core.errors import BadInput
from edgekit.core.store import read_manifest
from edgekit.distill.adapters import PARTS, Layout, adapted_student, block_values
from edgekit.distill.base import Base
from edgekit.distill.lora import Adapter, attach_adapter, merged, read_adapter
from edgekit.distill.program import ADAPTER, KIND
from edgekit.distill.ranks import GROUPS
from edgekit.distill.students.gan import STRIDE, Generator
from edgekit.distill.students.text_context import text_context


def concept_of_run(folder: Path, base: Base) -> Concept:
    """Return the concept that the run in `folder` trained on `base`.

    Raises BadInput for a folder that is no finished run, one without an adapter (its student was
    trained whole), or one whose adapter belongs to another base.
    """
    facts = read_manifest(folder, kind=KIND)
    if not facts.get("adapter"):
        raise BadInput(
            f"{folder} has no adapter: every weight of its student was trained",
            hint="distil the concept with --init base, or export it by itself",
        )
    return concept_of_adapter(read_adapter(folder / ADAPTER), base)


def concept_of_adapter(adapter: Adapter, base: Base, context: Tensor | None = None) -> Concept:
    """Return `adapter` as a concept; `context` (tokens, dim) replaces that of its prompt.

    Raises BadInput if the adapter belongs to another base.
    """
    attached = attach_adapter(copy.deepcopy(base.generator), adapter, base_sha256=base.sha256)
    return _concept(merged(attached), adapter.factors, adapter.ranks, adapter.prompt, base, context)


def concept_of_text(prompt: str, base: Base, context: Tensor | None = None) -> Concept:
    """Return the concept that the base itself makes of `prompt`: text constants, no factors."""
    return _concept(base.generator, {}, dict.fromkeys(GROUPS, 0), prompt, base, context)


def known_concepts(base: Base) -> tuple[str, ...]:
    """Return the prompts that the base was trained on, as its card lists them."""
    return tuple(str(prompt) for prompt in base.card.get("concepts", ()))


def _concept(
    network: Generator,
    factors: Mapping[str, Tensor],
    ranks: Mapping[str, int],
    prompt: str,
    base: Base,
    context: Tensor | None,
) -> Concept:
    layout = _layout(base.generator)
    context_1TD = (text_context(prompt) if context is None else context).float()[None]
    parts: dict[str, list[Tensor]] = {part: [torch.zeros(0)] for part in PARTS}
    with torch.no_grad():
        text_1D = network.digest(context_1TD.mean(1))
        for _, block in layout.ordered():
            if block.part == "factors":
                values = block_values(block, factors)
            elif block.part == "norms":
                values = _norm(network, block.name, text_1D)
            else:
                values = _text(network, block.name, context_1TD)
            parts[block.part].append(values.detach().reshape(-1))
    flat = {name: torch.cat(values).numpy() for name, values in parts.items()}
    return Concept(
        prompt=prompt,
        ranks=dict(ranks),
        base_sha256=base.sha256,
        layout_sha256=layout.sha256(),
        **flat,
    )


def _layout(generator: Generator) -> Layout:
    """Return the order of blocks; it does not hang on size and capacity."""
    return adapted_student(generator, size_px=STRIDE, capacity=1).layout


def _norm(network: Generator, name: str, text_1D: Tensor) -> Tensor:
    layer, _, what = name.rpartition(".")
    modulation = cast(nn.Linear, network.get_submodule(f"{layer}.modulation"))
    gain_O, bias_O = modulation(text_1D)[0].chunk(2)
    return cast(Tensor, gain_O if what == "gain" else bias_O)


def _text(network: Generator, name: str, context_1TD: Tensor) -> Tensor:
    layer = cast(nn.Linear, network.get_submodule(name))
    if name.endswith(("text_key", "text_value")):
        return cast(Tensor, layer(context_1TD))[0].T  # (outputs, tokens)
    return layer.weight.T  # (powers, outputs)
