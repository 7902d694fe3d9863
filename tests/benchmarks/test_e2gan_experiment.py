"""The E2GAN experiment's own logic: draws, shares, goals, and a page that is what was measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.distill.base import load_base
from edgekit.distill.ranks import as_ranks

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "e2gan"


def loaded(name):
    """Return a script of the experiment as a module."""
    spec = importlib.util.spec_from_file_location(f"e2gan_{name}", FOLDER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


arms, table = loaded("arms"), loaded("table")


def run_of(arm, seconds, *scores, seed=0, size=1000):
    """Return a line whose curve reaches one value of all scores after another."""
    curve = [
        {"seconds": at, "l1": value, "perceptual": value, "frechet": value}
        for at, value in zip(seconds, scores, strict=True)
    ]
    return {
        "arm": arm,
        "prompt": "make it blue",
        "seed": seed,
        "seconds": seconds[-1],
        "bytes": size,
        "curve": curve,
        "final": {"l1": scores[-1], "perceptual": scores[-1], "frechet": scores[-1]},
    }


@pytest.fixture(scope="module")
def base():
    return load_base().generator


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_ranks_have_no_fewer_weights_than_the_searched_ones(base, seed):
    least = arms.weights_of(base, as_ranks(4))

    drawn = arms.weights_of(base, arms.random_ranks(base, least=least, seed=seed))

    assert least <= drawn <= 1.3 * least


def test_the_random_base_shares_no_weight_of_the_base_and_the_other_arms_all(base):
    searched = as_ranks(2)
    kept = arms.frozen_sha256(arms.built(arms.named("F"), base, searched, seed=0).network)
    again = arms.frozen_sha256(arms.built(arms.named("F"), base, searched, seed=1).network)
    control = arms.frozen_sha256(arms.built(arms.named("G"), base, searched, seed=0).network)

    assert kept == again
    assert control != kept


def test_an_arm_can_be_named_with_another_rate_and_other_steps():
    arm = arms.named("A@0.001*200")

    assert (arm.network, arm.lr, arm.steps) == ("resnet9", 0.001, 200)


def test_a_claim_that_is_kept_in_time_is_said_to_hold():
    rows = [
        run_of("A", [10.0, 48.0], 0.4, 0.2, size=120_000),
        run_of("D", [5.0, 9.0], 0.3, 0.19, size=1000),
    ]

    assert "**The claim holds.**" in table.claim(rows, "D", "the adapter")


@pytest.mark.parametrize(
    ("seconds", "last", "size"),
    [([5.0, 11.0], 0.19, 1000), ([5.0, 9.0], 0.21, 1000), ([5.0, 9.0], 0.19, 1001)],
)
def test_too_late_too_bad_or_too_large_does_not_hold(seconds, last, size):
    rows = [
        run_of("A", [10.0, 48.0], 0.4, 0.2, size=120_000),
        run_of("D", seconds, 0.3, last, size=size),
    ]

    assert "does not hold" in table.claim(rows, "D", "the adapter")


def test_a_bootstrap_interval_lies_around_the_mean():
    text = table.interval(np.log([1.1, 1.2, 1.3]))

    mean, low, high = (float(part.strip("(),")) for part in text.replace("to", "").split())
    assert low < mean < high


def test_the_page_of_evidence_is_made_of_the_committed_lines():
    folder = ROOT / "benchmarks" / "results" / "e2gan"
    ranks = json.loads((folder / "ranks.json").read_text())
    base = json.loads((folder / "base_card.json").read_text())
    rows, rates = (table.lines(folder / name) for name in ("runs_128px.jsonl", "rates_128px.jsonl"))

    page = table.page(rows, rates, ranks, base)

    assert not {row["prompt"] for row in rows} & set(base["concepts"])
    assert page == (ROOT / "docs" / "evidence" / "e2gan.md").read_text(encoding="utf-8")
