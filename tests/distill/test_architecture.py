"""The search for a size: what is predicted, trained, pruned, dismissed, and continued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.students import smooth_photos, tiny_context

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.architecture.latency import (
    LEAST_MEASURED,
    TERMS,
    LatencyTable,
    terms_of,
)
from edgekit.distill.architecture.lessons import lessons_of_pairs, one_concept
from edgekit.distill.architecture.quality import (
    Lessons,
    Outcome,
    ShortSettings,
    short_distillation,
)
from edgekit.distill.architecture.space import (
    CHOICES,
    LADDER,
    chosen_shape,
    dials_of,
    drawn_shapes,
    shape_name,
    shape_named,
)
from edgekit.distill.architecture.study import Found, found_of, front, search
from edgekit.distill.students.cost import count_macs
from edgekit.distill.students.gan import fresh_generator, specialized
from edgekit.distill.students.shape import Shape

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TINY = Shape(width=16, context_dim=16)


def lessons(concepts: int = 2, count: int = 6, size_px: int = 32) -> Lessons:
    """Concept 0 is the negative, concept 1 leaves the photo darker."""
    photos = smooth_photos(count + 3, size_px)
    sources = torch.from_numpy(photos.transpose(0, 3, 1, 2).copy())
    edits = torch.stack([255 - sources, sources // 2])[:concepts]
    both = sources[None].expand(concepts, -1, -1, -1, -1)
    contexts = torch.stack([tiny_context(seed=number) for number in range(concepts)])
    return Lessons(both[:, :count], edits[:, :count], both[:, count:], edits[:, count:], contexts)


class Costs:
    """A latency that is the number of multiply-adds."""

    def lookup(self, shape: Shape) -> tuple[float, bool]:
        return sum(terms_of(shape, size_px=128)[:5]) / 100, False


def test_the_ladder_lies_within_the_choices_and_holds_the_shipped_size():
    assert Shape() in LADDER
    for shape in LADDER:
        dials = dials_of(shape)
        again = chosen_shape(lambda name, _, dials=dials: dials[name])
        assert again.levels == shape.levels
        assert shape_name(again) == shape_name(shape)


def test_a_shape_outside_the_choices_cannot_start_a_study():
    with pytest.raises(KeyError, match="width = 16"):
        dials_of(Shape(width=16))


@pytest.mark.parametrize("shape", [*LADDER, *drawn_shapes(5, seed=2)], ids=shape_name)
def test_a_name_is_enough_to_build_a_setting_again(shape):
    again = shape_named(shape_name(shape))

    assert shape_name(again) == shape_name(shape)
    assert again.levels == shape.levels


def test_another_word_names_no_setting():
    with pytest.raises(EdgekitError, match="names no setting"):
        shape_named("w64")


def test_drawn_settings_differ_and_follow_from_the_seed():
    names = [shape_name(shape) for shape in drawn_shapes(20, seed=3)]

    assert len(set(names)) == 20
    assert names[:5] == [shape_name(shape) for shape in drawn_shapes(5, seed=3)]
    assert names != [shape_name(shape) for shape in drawn_shapes(20, seed=4)]


@pytest.mark.parametrize("shape", [*LADDER[:3], *drawn_shapes(4, seed=1)], ids=shape_name)
def test_the_terms_of_a_prediction_add_up_to_the_counted_products(shape):
    student = specialized(fresh_generator(shape, seed=0), torch.zeros(16, 128), size_px=128)
    counted = count_macs(student.to("meta"), torch.zeros(1, 3, 128, 128, device="meta"))

    assert sum(terms_of(shape, size_px=128)[:5]) * 1e6 == pytest.approx(counted)
    assert len(terms_of(shape, size_px=128)) == len(TERMS)


def made_up_table(count: int) -> LatencyTable:
    """Latencies that follow a rule of the predictor's form, with 1 % of noise."""
    draw = np.random.default_rng(0)
    shapes = {shape_name(shape): shape for shape in drawn_shapes(count, seed=0)}
    costs = draw.uniform(0.5, 2, len(TERMS)) * (np.arange(len(TERMS)) % 3 > 0)
    ms = {
        name: float(np.dot(costs, terms_of(shape, size_px=64)) * draw.normal(1, 0.01))
        for name, shape in shapes.items()
    }
    return LatencyTable(64, ms, shapes)


def test_what_was_measured_is_looked_up_and_the_rest_predicted():
    table = made_up_table(LEAST_MEASURED + 12)
    name = next(iter(table.shapes))
    less = LatencyTable(64, {n: v for n, v in table.measured.items() if n != name}, table.shapes)

    known, unknown = table.lookup(table.shapes[name]), less.lookup(table.shapes[name])

    assert known == (table.measured[name], True)
    assert unknown == (pytest.approx(known[0], rel=0.1), False)
    assert table.check().mean_error < 0.05


def test_too_few_measurements_are_no_prediction():
    table = made_up_table(3)

    with pytest.raises(LookupError, match="only 3 others"):
        table.lookup(Shape())


@pytest.mark.parametrize("kind", ["onnx.int8", "onnx.fp32", "tflite.int8", "tflite.fp32"])
def test_the_committed_table_predicts_what_it_has_not_seen(kind):
    facts = json.loads((RESULTS / "architecture_latency.json").read_text())
    rows = facts["rows"]
    table = LatencyTable(
        facts["size_px"],
        {row["name"]: row["files"][kind]["cpu_p50_ms"] for row in rows},
        {row["name"]: Shape(**row["shape"]) for row in rows},
    )

    found = table.check()

    assert found.settings >= 40
    assert found.mean_error < 0.08
    assert found.rank_correlation > 0.95


def test_a_short_distillation_learns_all_concepts_and_leaves_the_average_in_the_network():
    network, data = fresh_generator(TINY, seed=0), lessons()
    settings = ShortSettings(steps=30, batch=4, checks=3, lr=5e-3, perceptual=0.0)
    sources, edits = (bank.float() / 255 for bank in (data.held_sources, data.held_edits))
    untouched = float((sources - edits).abs().mean())

    outcome = short_distillation(network, data, settings)
    again = short_distillation(fresh_generator(TINY, seed=0), data, settings)
    with torch.no_grad():
        made = network(sources[0] * 2 - 1, data.contexts[:1].expand(3, -1, -1))
        other = network(sources[1] * 2 - 1, data.contexts[1:].expand(3, -1, -1))

    assert not network.training
    assert [step for step, _ in outcome.curve] == [10, 20, 30]
    assert outcome.score == outcome.terms["l1"] < 0.8 * untouched
    assert again.score == outcome.score
    mine = torch.cat((made - edits[0] * 2 + 1, other - edits[1] * 2 + 1)).abs().mean() / 2
    assert float(mine) == pytest.approx(outcome.score, rel=1e-4)


def test_a_watcher_ends_a_short_distillation_at_a_check():
    outcome = short_distillation(
        fresh_generator(TINY, seed=0),
        lessons(),
        ShortSettings(steps=9, batch=2, checks=3),
        watch=lambda check, score: check == 1,
    )

    assert (outcome.stopped, outcome.steps, len(outcome.curve)) == (True, 6, 2)


def test_one_concept_alone_is_that_concept():
    alone = one_concept(lessons(), 1)

    assert torch.equal(alone.edits[0], lessons().edits[1])
    assert torch.equal(alone.contexts[0], lessons().contexts[1])


def trained(score_of=lambda shape: 1 / shape.width):
    """A stand-in for training whose scores are known, with a check after each of 4 steps."""

    def train(shape: Shape, watch) -> Outcome:
        curve, score = [], score_of(shape)
        for check in range(4):
            curve.append((check + 1, score * (2 - check / 4)))
            if watch(check, curve[-1][1]):
                break
        stopped = len(curve) < 4
        return Outcome(curve[-1][1], {"psnr_db": 1.0}, tuple(curve), len(curve), 0.0, stopped)

    return train


def test_a_search_keeps_the_budget_starts_with_the_ladder_and_prunes_what_is_beaten(tmp_path):
    found = search(tmp_path, latency=Costs(), train=trained(), budget_ms=9.0, trials=14, seed=1)

    best = front(found)

    assert [row.shape.width for row in found[:4]] == [32, 48, 64, 80]
    assert max(row.ms for row in found) <= 9.0
    assert len({shape_name(row.shape) for row in found}) == 14
    assert any(row.pruned for row in found)
    for row in found:
        beaten = [
            other
            for other in found[: found.index(row)]
            if other.ms <= row.ms and 1 / other.shape.width < 0.97 / row.shape.width
        ]
        assert row.pruned == bool(beaten)
    assert [row.ms for row in best] == sorted(row.ms for row in best)
    assert [row.score for row in best] == sorted((row.score for row in best), reverse=True)


def test_a_search_that_was_interrupted_goes_on(tmp_path):
    first = search(tmp_path, latency=Costs(), train=trained(), budget_ms=9.0, trials=5)

    def fails(shape, watch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, latency=Costs(), train=fails, budget_ms=9.0, trials=6)
    whole = search(tmp_path, latency=Costs(), train=trained(), budget_ms=9.0, trials=8)

    assert whole[:5] == first
    assert len(whole) == 8
    assert search(tmp_path, latency=Costs(), train=fails, budget_ms=9.0, trials=8) == whole


def test_a_budget_below_every_setting_is_one_sentence(tmp_path):
    with pytest.raises(EdgekitError, match=r"smallest setting takes .* more than 0\.01") as caught:
        search(tmp_path, latency=Costs(), train=trained(), budget_ms=0.01, trials=2)

    assert "raise --budget-ms" in caught.value.hint


def test_a_front_holds_neither_pruned_nor_beaten_settings():
    def row(ms: float, score: float, pruned: bool = False) -> Found:
        return Found(Shape(), ms, True, score, ((1, score),), pruned, 0.0, {"psnr_db": 20.0})

    found = [row(3, 1.0), row(1, 3.0), row(2, 3.5), row(2, 0.5, pruned=True), row(4, 1.0)]

    assert [(one.ms, one.score) for one in front(found)] == [(1, 3.0), (3, 1.0)]
    assert [found_of(json.loads(json.dumps(one.facts()))) for one in found] == found


def test_a_real_search_trains_on_real_lessons(tmp_path):
    data = lessons(size_px=64)
    data = replace(data, contexts=torch.randn(2, 16, 128, generator=torch.Generator()))
    settings = ShortSettings(steps=4, batch=2, checks=2)

    found = search(
        tmp_path,
        latency=Costs(),
        train=lambda shape, watch: short_distillation(
            fresh_generator(shape, seed=0), data, settings, watch=watch
        ),
        budget_ms=1.5,
        trials=2,
    )

    assert len(found) == 2
    assert all(0 < row.terms["l1"] < 1 and row.terms["psnr_db"] > 3 for row in found)


def test_pairs_of_a_folder_become_lessons_and_a_folder_without_them_is_refused(tmp_path):
    from edgekit.distill.pairs.make import make_pairs
    from edgekit.distill.pairs.settings import PairSettings

    class Dim:
        identity = "dim@0"

        def edit(self, images, prompt, *, seed):
            return images // 2

    settings = PairSettings(prompt="make it night", count=12, size_px=64, variation=0.0)
    made = make_pairs(settings, Dim(), tmp_path / "pairs")

    found = lessons_of_pairs(tmp_path / "pairs", size_px=32)

    assert found.sources.shape[0] == 1
    assert found.sources.shape[1] + found.held_sources.shape[1] == made.manifest["pairs"]
    assert found.sources.shape[2:] == (3, 32, 32)
    assert found.contexts.shape == (1, 16, 128)
    with pytest.raises(BadInput):
        lessons_of_pairs(tmp_path, size_px=32)


def test_every_choice_of_every_dial_can_be_built():
    for name, values in CHOICES.items():
        for value in values:
            Shape(**{**dials_of(Shape()), name: value})
