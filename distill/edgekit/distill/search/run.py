"""A search from a base and pairs to the ranks that deserve a full training.

search.json      every trial: ranks, bytes, scores, seconds, how it ended
search/          journal of optuna, clock, checkpoints of trials that were not finished
"""

from __future__ import annotations

import copy
import hashlib
import math
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from edgekit.core.errors import DependencyMissing
from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder, read_json, value_sha256, write_json
from edgekit.distill.fit_gan import fit_gan
from edgekit.distill.fit_state import FitData, FitSettings
from edgekit.distill.lora import attach
from edgekit.distill.ranks import GROUPS, Ranks
from edgekit.distill.search.candidates import Candidates
from edgekit.distill.search.greedy import first_ranks, search_greedy
from edgekit.distill.search.judge import PROTOCOL, Judge, Scores, distance, judge_of, scored
from edgekit.distill.search.settings import SearchSettings
from edgekit.distill.search.sizes import file_sizes
from edgekit.distill.search.trials import (
    TABLE,
    Evaluate,
    Stop,
    Table,
    Trial,
    best_trial,
    opened_table,
)

WORK = "search"
CHECKS = 5
"""Checks of a trial: as often its curve is compared with the others'."""
SHARE = 4
"""A trial makes one step for so many of the final training."""
CURVE = "curve.json"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found and what it cost."""

    best: Trial
    trials: tuple[Trial, ...]
    seconds: float
    """Wall time of the search over all continuations, scoring included."""
    stopped: str
    """"budget", "trials", "exhausted" or "nothing gains"."""

    def facts(self, settings: SearchSettings) -> dict[str, Any]:
        """Return what the student's manifest says about its search."""
        states = [trial.state for trial in self.trials]
        return {
            "path": TABLE,
            "mode": settings.mode,
            "seconds": round(self.seconds, 2),
            "trials": len(states),
            "complete": states.count("complete"),
            "pruned": states.count("pruned"),
            "stopped": self.stopped,
            "budget_kb": settings.values()["budget_kb"],
            "ranks": dict(self.best.ranks),
            "bytes": self.best.bytes,
            "distance": self.best.distance,
        }


def trial_settings(settings: FitSettings, search: SearchSettings) -> FitSettings:
    """Return what one trial trains with, made from the `settings` of the final training."""
    steps = search.steps or max(1, settings.steps // SHARE)
    every = max(1, math.ceil(steps / CHECKS))
    return replace(settings, steps=steps, check_every=every, minutes=math.inf)


def check_search(
    generator: nn.Module, search: SearchSettings, *, prompt: str, base_sha256: str
) -> None:
    """Raise, before any pair is made, what `search_ranks` would raise for lack of bytes or optuna.

    EdgekitError if no ranks fit the budget of bytes, DependencyMissing without optuna.
    """
    if search.mode == "tpe" and find_spec("optuna") is None:
        raise DependencyMissing("optuna", extra="distill")
    sizes = file_sizes(generator, prompt=prompt, base_sha256=base_sha256)
    found = Candidates(search.choices, sizes, search.budget_kb * 1000)
    if search.mode == "greedy":
        first_ranks(found)


def search_ranks(
    generator: nn.Module,
    data: FitData,
    settings: FitSettings,
    search: SearchSettings,
    *,
    folder: Path,
    prompt: str,
    base_sha256: str,
    context: Tensor | None = None,
    device: str = "cpu",
    report: Report = silent,
) -> SearchResult:
    """Search the ranks of `generator`'s adapter on `data` and return the best and every trial.

    `generator` is a frozen base with ``adapter_groups`` and ``painted``; it is copied for each
    trial. `data` must hold training pairs only, its validation part (`judge.split`) scores the
    trials; `settings` are those of one trial (`trial_settings`). `prompt` and `base_sha256` are
    what the adapter's file will say, which decides its bytes. A search in `folder` with the same
    arguments is continued, also with another limit of time or trials.

    Raises EdgekitError if no ranks fit the bytes, BadInput for too few validation pairs.
    """
    sizes = file_sizes(generator, prompt=prompt, base_sha256=base_sha256)
    candidates = Candidates(search.choices, sizes, search.budget_kb * 1000)
    fingerprint = _fingerprint(data, settings, search, context, prompt, base_sha256)
    work = prepared_folder(folder) / WORK
    _cleared_unless(folder, fingerprint)
    prepared_folder(work)
    judge = judge_of(data, context=context, device=device)
    facts = {
        "protocol": PROTOCOL,
        "validation_pairs": len(data.val_sources),
        "settings": {**search.values(), "steps": settings.steps},
        "untouched": asdict(judge.untouched),
    }
    table = opened_table(folder, work, fingerprint, facts, gain=search.gain)
    report("search", *_progress(table, search), "")

    def evaluate(number: int, ranks: Ranks, stop: Stop) -> Trial:
        network = attach(copy.deepcopy(generator), rank=ranks, seed=settings.seed)
        place = work / "trials" / f"{number:04d}"
        found = _tried(
            network,
            data,
            settings,
            search,
            Trial(number=number, ranks=dict(ranks), bytes=sizes(ranks)),
            judge,
            table,
            stop,
            place,
            fingerprint=fingerprint,
            context=context,
            device=device,
            report=report,
        )
        if found.state != "stopped":
            shutil.rmtree(place)
        return found

    stopped = _searched(evaluate, candidates, search, table, work, settings.steps)
    table.tick()
    table.write(stopped)
    best = best_trial(table.trials, gain=search.gain)
    assert best is not None, "the first trial always ends"
    total = _progress(table, search)[1]
    report("search", total, total, f"{len(table.trials)} trials")
    return SearchResult(best, tuple(table.trials), table.spent_s, stopped)


def _searched(
    evaluate: Evaluate,
    candidates: Candidates,
    search: SearchSettings,
    table: Table,
    work: Path,
    steps: int,
) -> str:
    def over() -> str | None:
        return _over(table, search)

    if search.mode == "greedy":
        return search_greedy(evaluate, candidates, search, table, over, steps=steps)
    from edgekit.distill.search.tpe import search_tpe  # optuna, for this mode only

    return search_tpe(evaluate, candidates, search, table, over, folder=work, steps=steps)


def _over(table: Table, search: SearchSettings) -> str | None:
    """Return why no further trial should start, None if one may."""
    complete = [trial.seconds for trial in table.trials if trial.state == "complete"]
    if search.trials and len(table.trials) >= search.trials and complete:
        return "trials"
    # A trial that could hardly end in time is not begun; the first one is, or there were no result.
    if complete and search.budget_s - table.tick() < statistics.median(complete):
        return "budget"
    return None


def _tried(
    network: nn.Module,
    data: FitData,
    settings: FitSettings,
    search: SearchSettings,
    trial: Trial,
    judge: Judge,
    table: Table,
    stop: Stop,
    place: Path,
    *,
    fingerprint: str,
    context: Tensor | None,
    device: str,
    report: Report,
) -> Trial:
    """Train one trial, or go on with it, and return how it ended."""
    kept = _begun(place / CURVE, fingerprint)
    curve: list[tuple[int, float]] = [(int(step), float(q)) for step, q in kept["curve"]]
    state, scores = kept["state"], kept["scores"]
    may_stop = any(other.state == "complete" for other in table.trials)

    def watch(watched: nn.Module, step: int, seconds: float) -> bool:
        nonlocal state, scores
        values = scored(judge, watched)
        found = round(distance(judge, values), 6)
        scores = rounded(values)
        curve[:] = [*(point for point in curve if point[0] < step), (step, found)]
        spent = table.tick(trial.number)
        report("search", *_progress(table, search), _note(trial, step, settings.steps, found))
        if step < settings.steps:
            state = "complete"
            if stop(step, found):
                state = "pruned"
            elif may_stop and spent > search.budget_s:
                state = "stopped"
        write_json(
            place / CURVE,
            {"fingerprint": fingerprint, "curve": curve, "state": state, "scores": scores},
        )
        return state != "complete" and step < settings.steps

    if state != "pruned":
        state = "complete"
        fit_gan(
            network,
            data,
            settings,
            folder=place,
            context=context,
            device=device,
            fingerprint=f"{fingerprint}/{trial.number}",
            watch=watch,
        )
    value = curve[-1][1] if curve else math.nan
    if state == "complete":
        values = scored(judge, network)
        value, scores = round(distance(judge, values), 6), rounded(values)
    table.tick(trial.number)
    return replace(
        trial,
        state=state,
        distance=value,
        scores=scores,
        curve=tuple(curve),
        steps=curve[-1][0] if curve else 0,
        seconds=round(table.trial_seconds(trial.number), 3),
    )


def rounded(scores: Scores) -> dict[str, float]:
    """Return scores as JSON values of six digits."""
    return {name: round(value, 6) for name, value in asdict(scores).items()}


def _begun(path: Path, fingerprint: str) -> dict[str, Any]:
    found = read_json(path) if path.is_file() else {}
    if found.get("fingerprint") == fingerprint:
        return dict(found)
    return {"curve": [], "state": "complete", "scores": {}}


def _fingerprint(
    data: FitData,
    settings: FitSettings,
    search: SearchSettings,
    context: Tensor | None,
    prompt: str,
    base_sha256: str,
) -> str:
    """Hash everything that decides what the trials are; limits of time and number do not."""
    digest = hashlib.sha256()
    for array in (data.sources, data.edits, data.val_sources, data.val_edits):
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    if context is not None:
        digest.update(context.detach().cpu().numpy().tobytes())
    values: Mapping[str, Any] = {
        "search": search.identity(),
        "training": {name: str(value) for name, value in asdict(settings).items()},
        "data": digest.hexdigest(),
        "prompt": prompt,
        "base": base_sha256,
        "groups": list(GROUPS),
    }
    return value_sha256(values)


def _cleared_unless(folder: Path, fingerprint: str) -> None:
    """Remove what another search left in `folder`."""
    clock = folder / WORK / "clock.json"
    found = read_json(clock) if clock.is_file() else {}
    if found.get("fingerprint") != fingerprint:
        shutil.rmtree(folder / WORK, ignore_errors=True)
        (folder / TABLE).unlink(missing_ok=True)


def _progress(table: Table, search: SearchSettings) -> tuple[int, int]:
    """Return what is done of the time (or, without a limit of time, of the trials), never all."""
    if math.isinf(search.budget_s):
        return min(len(table.trials), search.trials - 1), search.trials
    total = max(1, math.ceil(search.budget_s))
    return min(int(table.spent_s), total - 1), total


def _note(trial: Trial, step: int, steps: int, found: float) -> str:
    ranks = "/".join(str(trial.ranks[group]) for group in GROUPS)
    return f"trial {trial.number} ranks {ranks} step {step}/{steps} distance {found:.3f}"
