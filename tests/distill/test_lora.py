"""Adapters: exact, small, seeded, tied to their base, and nowhere near the residual blocks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tests.students import tiny_base, tiny_context, tiny_generator

from edgekit.core.errors import BadInput
from edgekit.core.store import file_sha256, write_json
from edgekit.distill.base import CARD, WEIGHTS, load_base
from edgekit.distill.lora import (
    Adapter,
    adapted_layers,
    attach,
    attach_adapter,
    factors,
    merged,
    read_adapter,
    save_adapter,
    use_factors,
)
from edgekit.distill.ranks import as_ranks
from edgekit.distill.students.gan import GROUP_OF, Shape, fresh_generator, specialized

PHOTOS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def trained(generator, *, rank=4, seed=0):
    """Attach adapters and give the factors that start at zero values of a trained size."""
    attach(generator, rank=rank, seed=seed)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in generator.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.05, generator=random)
    return generator.eval()


def test_merged_equals_unmerged():
    generator = trained(tiny_generator())
    use_factors(generator, factors(generator))
    context = tiny_context()

    with torch.no_grad():
        unmerged = generator(PHOTOS, context.expand(2, -1, -1))
        folded = merged(generator)(PHOTOS, context.expand(2, -1, -1))
        shipped = specialized(merged(generator), context, size_px=64)(PHOTOS)

    assert (unmerged - folded).abs().max() <= 1e-4
    assert (unmerged - shipped).abs().max() <= 1e-4
    assert not [name for name, _ in merged(generator).named_parameters() if "lora" in name]


def test_a_fresh_adapter_changes_nothing_and_a_trained_one_does():
    context = tiny_context()[None].expand(2, -1, -1)
    with torch.no_grad():
        before = tiny_generator()(PHOTOS, context)

        fresh = attach(tiny_generator(), rank=4, seed=0).eval()(PHOTOS, context)
        changed = trained(tiny_generator())(PHOTOS, context)

    assert torch.equal(before, fresh)
    assert (before - changed).abs().mean() > 0.01


def test_every_crucial_group_learns_and_no_residual_block_does():
    generator = trained(tiny_generator())
    context = tiny_context()[None].expand(2, -1, -1)

    generator.painted(PHOTOS, context).square().mean().backward()
    moved = {
        name.split(".")[0]
        for name, value in generator.named_parameters()
        if value.grad is not None and value.grad.abs().sum() > 0
    }

    assert moved == set(GROUP_OF)
    assert all(
        value.grad is None
        for name, value in generator.named_parameters()
        if ("lora" not in name and "modulation" not in name) or name.startswith("residual")
    )


def test_the_adapter_of_the_default_student_takes_less_than_200_kb(tmp_path):
    generator = attach(fresh_generator(Shape(), seed=0), rank=4, seed=0)

    size = save_adapter(
        tmp_path / "a.safetensors", Adapter(factors(generator), as_ranks(4), "x", "0" * 64)
    )

    assert size == (tmp_path / "a.safetensors").stat().st_size <= 200_000


def test_a_stored_adapter_gives_the_same_pictures_on_a_fresh_base(tmp_path):
    generator = trained(tiny_generator())
    use_factors(generator, factors(generator))
    context = tiny_context()[None].expand(2, -1, -1)
    save_adapter(
        tmp_path / "a.safetensors", Adapter(factors(generator), as_ranks(4), "night", "b" * 64)
    )

    stored = read_adapter(tmp_path / "a.safetensors")
    again = attach_adapter(tiny_generator(), stored, base_sha256="b" * 64).eval()

    assert (stored.ranks, stored.prompt) == (as_ranks(4), "night")
    with torch.no_grad():
        assert torch.equal(again(PHOTOS, context), generator(PHOTOS, context))


def test_equal_adapters_are_equal_files(tmp_path):
    stored = factors(attach(tiny_generator(), rank=2, seed=5))
    adapter = Adapter(stored, as_ranks(2), "night", "b" * 64)

    files = set()
    for number in range(6):
        save_adapter(tmp_path / f"{number}", adapter)
        files.add((tmp_path / f"{number}").read_bytes())

    assert len(files) == 1
    assert read_adapter(tmp_path / "0").prompt == "night"


def test_an_adapter_of_another_base_is_refused():
    stored = Adapter(factors(trained(tiny_generator())), as_ranks(4), "night", "a" * 64)

    with pytest.raises(BadInput, match="belongs to base aaaaaaaaaaaa, not bbbbbbbbbbbb"):
        attach_adapter(tiny_generator(), stored, base_sha256="b" * 64)


def test_factors_of_another_shape_are_refused():
    stored = factors(trained(tiny_generator()))

    with pytest.raises(ValueError, match="another shape"):
        use_factors(attach(tiny_generator(width=32), rank=4, seed=0), stored)


def test_a_file_that_is_no_adapter_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"not an adapter")

    with pytest.raises(BadInput, match="not an adapter"):
        read_adapter(tmp_path / "a.safetensors")


def test_groups_may_differ_in_rank_and_a_group_of_rank_0_stays_as_the_base_has_it():
    generator = trained(tiny_generator(), rank={"down": 1, "ds": 8, "up": 2})

    stored = factors(generator)
    inner = {name.split(".lora_A")[0]: len(value) for name, value in stored.items() if "_A" in name}

    assert inner["down1.conv"] == 1
    assert inner["down3.conv"] == 8
    assert inner["up2.conv"] == 2
    assert not [name for name in inner if name.startswith(("transformer", "up1", "residual"))]


def test_the_seed_alone_decides_a_fresh_adapter():
    torch.manual_seed(1)
    one = factors(attach(tiny_generator(), rank=2, seed=5))
    torch.manual_seed(2)
    two = factors(attach(tiny_generator(), rank=2, seed=5))
    three = factors(attach(tiny_generator(), rank=2, seed=6))

    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], three[name]) for name in one)


def test_layers_that_see_the_text_alone_learn_their_bias_and_get_no_factors():
    generator = attach(tiny_generator(), rank={"ds": 1, "up": 2}, seed=0)

    learned = {name for name, value in generator.named_parameters() if value.requires_grad}

    assert "transformer.text.text_key" in adapted_layers(tiny_generator())
    assert "up2.modulation.bias" in learned
    assert "down1.modulation.bias" not in learned
    assert not [name for name in learned if "modulation" in name and "lora" in name]
    assert {name.split(".")[0] for name in adapted_layers(tiny_generator())} == set(GROUP_OF)


def test_a_changed_base_is_refused(tmp_path):
    folder = tiny_base(tmp_path / "base")
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))

    with pytest.raises(BadInput, match="has changed"):
        load_base(folder)


def test_a_base_is_refused_beside_another_text_encoder(tmp_path):
    folder = tiny_base(tmp_path / "base")
    teacher = tmp_path / "teacher"
    (teacher / "text_encoder").mkdir(parents=True)
    (teacher / "text_encoder" / "model.safetensors").write_bytes(b"other")

    with pytest.raises(BadInput, match="not the text encoder"):
        load_base(folder, teacher=teacher)


def test_a_base_loads_what_was_saved(tmp_path):
    folder = tiny_base(tmp_path / "base")

    base = load_base(folder, teacher=tmp_path)

    assert base.sha256 == file_sha256(folder / WEIGHTS)
    assert not base.generator.training
    assert not any(value.requires_grad for value in base.generator.parameters())
    for mine, theirs in zip(
        base.generator.parameters(), tiny_generator(context_dim=128).parameters(), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-3)


def test_a_card_that_describes_another_generator_is_refused(tmp_path):
    folder = tiny_base(tmp_path / "base")
    card = json.loads((folder / CARD).read_text())
    write_json(folder / CARD, card | {"shape": vars_of(replace(Shape(), width=32))})

    with pytest.raises(BadInput, match="does not hold the generator"):
        load_base(folder, teacher=tmp_path)


def vars_of(shape):
    from edgekit.distill.students.gan import shape_facts

    return shape_facts(shape)
