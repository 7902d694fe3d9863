"""The search: optuna suggests settings, a table says how fast they are, short trainings how good.

A setting above the budget is dismissed before any training. One that is trained is pruned as soon
as a setting that is no slower has scored better at the same check: it cannot come onto the front of
latency and quality any more, if early scores rank as late ones do. Everything a trial found is in
the journal, so that an interrupted search goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from edgekit.core.errors import EdgekitError
from edgekit.core.progress import Report, silent
from edgekit.core.store import prepared_folder
from edgekit.distill.architecture.quality import Outcome, Watch
from edgekit.distill.architecture.space import LADDER, chosen_shape, dials_of, shape_name
from edgekit.distill.students.shape import Shape, shape_facts

JOURNAL = "journal.log"
MARGIN = 0.02
"""Share by which a rival must be better at an early check: a score moves by less between seeds."""
DISMISSED_IN_A_ROW = 200
"""Suggestions above the budget in a row after which there is nothing to find."""
RANDOM_TRIALS = 8
"""Trials before the sampler believes what it has seen."""


class Latency(Protocol):
    """Milliseconds of a setting, and whether they were measured."""

    def lookup(self, shape: Shape) -> tuple[float, bool]:
        """Return both; see `edgekit.distill.architecture.latency.LatencyTable`."""
        ...


Train = Callable[[Shape, Watch], Outcome]
"""Trains one setting for a short time, telling the watcher every score."""


@dataclass(frozen=True, slots=True)
class Found:
    """One trained setting; lower is better in both."""

    shape: Shape
    ms: float
    measured: bool
    score: float
    """At the last check that was reached."""
    curve: tuple[tuple[int, float], ...]
    pruned: bool
    seconds: float
    terms: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        rest = {name: value for name, value in asdict(self).items() if name != "shape"}
        return {"name": shape_name(self.shape), "shape": shape_facts(self.shape), **rest}


def found_of(facts: Mapping[str, Any]) -> Found:
    """Read what `Found.facts` wrote."""
    rest = {name: value for name, value in facts.items() if name not in ("name", "shape", "curve")}
    curve = tuple((int(step), float(score)) for step, score in facts["curve"])
    return Found(shape=Shape(**facts["shape"]), curve=curve, **rest)


def search(
    folder: Path,
    *,
    latency: Latency,
    train: Train,
    budget_ms: float,
    trials: int,
    seconds: float = float("inf"),
    context_dim: int = 128,
    seed: int = 0,
    report: Report = silent,
) -> tuple[Found, ...]:
    """Train up to `trials` settings of at most `budget_ms`, or go on with those in `folder`.

    The balanced networks of `LADDER` that fit come first. Ends early after `seconds`, between two
    trials. Raises EdgekitError if no setting fits the budget.
    """
    least = latency.lookup(chosen_shape(lambda _, values: min(values)))[0]
    if least > budget_ms:
        raise EdgekitError(
            f"the smallest setting takes {least:.2f} ms, more than {budget_ms:g}",
            hint="raise --budget-ms",
        )
    study = _study(prepared_folder(folder), seed, budget_ms)
    if not study.trials:
        for shape in LADDER:
            if latency.lookup(shape)[0] <= budget_ms:
                study.enqueue_trial(dials_of(shape))
    ends = time.monotonic() + seconds
    found = found_in(study)
    while len(found) < trials and time.monotonic() < ends:
        _one_trial(study, found, latency, train, budget_ms, context_dim)
        found = found_in(study)
        best = min((row.score for row in found if not row.pruned), default=float("nan"))
        report("search", len(found), trials, f"best {best:.4f}")
    return found


def _study(folder: Path, seed: int, budget_ms: float) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    study = optuna.create_study(
        storage=storage, study_name=f"architecture-{budget_ms:g}ms", load_if_exists=True
    )
    # A sampler does not travel in the journal; a new seed keeps a continued study from repeating.
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), multivariate=True, n_startup_trials=RANDOM_TRIALS
    )
    return study


def _one_trial(
    study: optuna.Study,
    found: Sequence[Found],
    latency: Latency,
    train: Train,
    budget_ms: float,
    context_dim: int,
) -> None:
    names = {shape_name(row.shape) for row in found}
    for _ in range(DISMISSED_IN_A_ROW):
        trial = study.ask()
        shape = chosen_shape(trial.suggest_categorical, context_dim=context_dim)
        ms, measured = latency.lookup(shape)
        if ms <= budget_ms and shape_name(shape) not in names:
            break
        study.tell(trial, state=TrialState.PRUNED)
    else:
        raise EdgekitError(
            f"no new setting of at most {budget_ms:g} ms in {DISMISSED_IN_A_ROW} suggestions",
            hint="raise --budget-ms, or ask for fewer --trials",
        )
    beaten = _beaten_by(found, ms)

    def watch(check: int, score: float) -> bool:
        trial.report(score, check)
        return beaten(check, score)

    outcome = train(shape, watch)
    row = Found(
        shape,
        ms,
        measured,
        outcome.score,
        outcome.curve,
        outcome.stopped,
        outcome.seconds,
        outcome.terms,
    )
    trial.set_user_attr("found", row.facts())
    if outcome.stopped:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome.score)


def _beaten_by(found: Sequence[Found], ms: float) -> Watch:
    rivals = [row for row in found if row.ms <= ms]

    def beaten(check: int, score: float) -> bool:
        there = [row.curve[check][1] for row in rivals if len(row.curve) > check]
        return min(there, default=float("inf")) < score * (1 - MARGIN)

    return beaten


def found_in(study: optuna.Study) -> tuple[Found, ...]:
    """Return the trained settings of a study in their order."""
    trials: Sequence[FrozenTrial] = study.get_trials(deepcopy=False)
    return tuple(
        found_of(trial.user_attrs["found"])
        for trial in trials
        if "found" in trial.user_attrs and trial.state.is_finished()
    )


def front(found: Sequence[Found]) -> tuple[Found, ...]:
    """Return the settings that no other one beats in both, fastest first; pruned ones never are."""
    kept: list[Found] = []
    for row in sorted((row for row in found if not row.pruned), key=lambda r: (r.ms, r.score)):
        if not kept or row.score < kept[-1].score:
            kept.append(row)
    return tuple(kept)
