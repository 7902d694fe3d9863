"""A search by optuna: a tree-structured Parzen estimator proposes, a median pruner ends the rest.

The study lies in a journal file beside the trials. Only ranks that fit and were not tried become
trials: a proposal that does not is moved to the nearest one that does. What trial 12 proposes
follows from the seed, the number 12 and the trials before it, so that a search that was killed and
continued makes the trials of one that was not.

The trials minimize the distance to the teacher, and bytes are a bound, not a second objective:
optuna prunes no search of several objectives, and pruning is what makes a search cheap. The trade
between the two is read off the table: its front, and the rule by which the best is chosen.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from edgekit.distill.ranks import GROUPS
from edgekit.distill.search.candidates import Candidates
from edgekit.distill.search.settings import SearchSettings
from edgekit.distill.search.trials import Evaluate, Table

JOURNAL = "journal.log"
STUDY = "ranks"
STARTUP = 8
"""Trials before the estimator is asked: the uniform ranks that fit, then random ones."""
UNPRUNED = 4
"""Complete trials before the pruner compares."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def search_tpe(
    evaluate: Evaluate,
    candidates: Candidates,
    settings: SearchSettings,
    table: Table,
    over: Callable[[], str | None],
    *,
    folder: Path,
    steps: int,
) -> str:
    """Try ranks until `over` gives a reason, or nothing is left to try; return the reason.

    `steps` are those of a trial: none is pruned in its first third.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _opened(folder / JOURNAL, steps)
    for frozen in study.get_trials(states=(TrialState.RUNNING,)):
        if table.find(_ranks(frozen.params, settings)) is None and (reason := over()):
            return reason
        _run(optuna.trial.Trial(study, frozen._trial_id), study, evaluate, settings, table)
    while not (reason := over()):
        if not study.get_trials(states=(TrialState.WAITING,)):
            ranks = _proposed(study, candidates, settings)
            if ranks is None:
                return "exhausted"
            places = {group: settings.choices.index(ranks[group]) for group in GROUPS}
            study.enqueue_trial(places)
        _run(study.ask(_space(settings)), study, evaluate, settings, table)
    return reason


def _opened(journal: Path, steps: int) -> optuna.Study:
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = journal.with_name(journal.name + ".lock")
    lock.unlink(missing_ok=True)  # of a process that was killed: the folder itself is locked
    _mended(journal)
    backend = JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))
    return optuna.create_study(
        storage=JournalStorage(backend),
        study_name=STUDY,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=steps // 3),
        load_if_exists=True,
    )


def _mended(journal: Path) -> None:
    """Cut off a last line that a kill left half written: optuna would append to it."""
    if journal.is_file():
        data = journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(journal, whole)


def _space(settings: SearchSettings) -> dict[str, Any]:
    most = len(settings.choices) - 1
    return {group: optuna.distributions.IntDistribution(0, most) for group in GROUPS}


def _ranks(places: dict[str, Any], settings: SearchSettings) -> dict[str, int]:
    return {group: settings.choices[int(places[group])] for group in GROUPS}


def _proposed(
    study: optuna.Study, candidates: Candidates, settings: SearchSettings
) -> dict[str, int] | None:
    """Return ranks to try next: first uniform ones, then what the estimator proposes."""
    before = study.get_trials(deepcopy=False)
    tried = [_ranks(trial.params, settings) for trial in before]
    for ranks in candidates.uniform():
        if ranks not in tried:
            return ranks
    seed = (settings.seed * 1_000_003 + len(before)) % 2**32
    with warnings.catch_warnings():  # several groups at once are called experimental by optuna 4
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
    memory = optuna.create_study(sampler=sampler, direction="minimize")
    memory.add_trials([trial for trial in before if trial.state in FINISHED])
    asked = memory.ask(_space(settings)).params
    places = tuple(int(asked[group]) for group in GROUPS)
    return candidates.nearest(places, tried, seed=(settings.seed, len(before)))


def _run(
    trial: optuna.Trial,
    study: optuna.Study,
    evaluate: Evaluate,
    settings: SearchSettings,
    table: Table,
) -> None:
    """Make a trial, or take it from the table, and tell the study how it ended."""
    ranks = _ranks(trial.params, settings)
    seen = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def hopeless(step: int, distance: float) -> bool:
        if step not in seen:
            trial.report(distance, step)
        return bool(trial.should_prune())

    found = table.find(ranks)
    if found is None:
        found = evaluate(trial.number, ranks, hopeless)
        table.add(found)
    if found.state == "complete":
        study.tell(trial, found.distance)
    elif found.state == "pruned":
        study.tell(trial, state=TrialState.PRUNED)
    # A trial that the clock stopped stays open: more time continues it.
