"""Candidates in an order that is useful at any time, then what an estimator proposes.

First the float files, against which all others are compared; then the plans that the measured
sensitivity ranks highest, and between them whole recipes of the back ends; then optuna (a
tree-structured Parzen estimator over the choices of all layers, several objectives) until the time
is over. Every row is written before the next candidate is made; a search that was killed goes on
behind the last row, and a candidate that ended its process is not tried again.

Source: Bergstra et al. 2011, section 4; Ozaki et al. 2022 for several objectives.
"""

from __future__ import annotations

import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from edgekit.core.errors import EdgekitError, OutputError
from edgekit.core.store import write_bytes
from edgekit.export.optimize.front import Row, as_json, from_json
from edgekit.export.optimize.judge import Judge
from edgekit.export.optimize.plan import LAYERS, Plan
from edgekit.export.optimize.space import Space

FLOAT = ("fp32", "fp16")
FIRST_PLANS = 6
"""Plans by layer before the first whole recipe."""
STALE = 40
"""Proposals in a row that were measured before, after which nothing new is expected."""
_log = logging.getLogger(__name__)


class Table:
    """The rows of a search in a file with one line each; a cut last line does not count."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._path = path
        self.rows: list[Row] = []
        if path.is_file():
            whole = path.read_bytes()
            kept = whole[: whole.rfind(b"\n") + 1]
            if kept != whole:
                path.write_bytes(kept)
            self.rows = [from_json(json.loads(line)) for line in kept.splitlines()]

    def find(self, plan: Plan) -> Row | None:
        """Return the row of a plan."""
        return next((row for row in self.rows if row.plan.key == plan.key), None)

    def add(self, row: Row) -> None:
        """Keep a row on the disk before anything else happens."""
        import os

        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(row)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def replace(self, changed: Sequence[Row]) -> None:
        """Put rows in the place of those with the same numbers."""
        numbers = {row.number: row for row in changed}
        self.rows = [numbers.get(row.number, row) for row in self.rows]
        lines = "".join(json.dumps(as_json(row)) + "\n" for row in self.rows)
        write_bytes(self._path, lines.encode())


def in_order(warm: Sequence[Plan], presets: Sequence[Plan]) -> list[Plan]:
    """Return the candidates that are known beforehand, the most useful first."""
    floats = [plan for plan in presets if plan.back_end in FLOAT]
    others = iter([plan for plan in presets if plan.back_end not in FLOAT])
    ordered = [*floats, *warm[:FIRST_PLANS]]
    for plan in warm[FIRST_PLANS:]:
        ordered += [entry for entry in [next(others, None)] if entry is not None]
        ordered.append(plan)
    return [*ordered, *others]


def evaluate(plan: Plan, table: Table, space: Space, judge: Judge, files: Path) -> Row:
    """Make the file of a plan, measure it and keep the row; a plan that was measured is looked up.

    Whatever a converter raises becomes the row's problem.
    """
    known = table.find(plan)
    if known is not None:
        return known
    suffix = judge.place.form
    path = files / f"{plan.key}.{suffix}"
    attempt = files / f"{plan.key}.attempt"
    start = time.monotonic()
    words, measured, problem = "", None, ""
    if attempt.exists():
        problem = "the process ended while this file was made or run"
    else:
        attempt.touch()
        try:
            words = space.write(plan, path)
            measured = judge.measure(path)
        except (EdgekitError, OSError) as error:
            attempt.unlink(missing_ok=True)
            if isinstance(error, OutputError | OSError):
                raise
            problem = error.what
        except Exception as error:  # converters raise anything
            _log.exception("%s cannot be made", plan.back_end)
            problem = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    attempt.unlink(missing_ok=True)
    row = Row(len(table.rows), plan, words, measured, time.monotonic() - start, problem)
    table.add(row)
    return row


class Proposer:
    """optuna over the choices of all layers; its journal lies beside the table."""

    def __init__(self, journal: Path, space: Space, *, timed: bool, seed: int) -> None:
        """Open the study, or go on with it."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._timed, self._seed = timed, seed
        names = {layer.name: space.choices(layer) for layer in space.layers}
        self._space: dict[str, Any] = {
            f"layer {name}": CategoricalDistribution(choices) for name, choices in names.items()
        }
        self._space |= {
            f"option {name}": CategoricalDistribution(values)
            for name, values in space.options().items()
        }
        self._usual = {name: values[0] for name, values in space.options().items()}
        lock = journal.with_name(journal.name + ".lock")
        lock.unlink(missing_ok=True)  # of a process that was killed: the folder itself is locked
        if journal.is_file():
            data = journal.read_bytes()
            journal.write_bytes(data[: data.rfind(b"\n") + 1])
        backend = JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))
        directions = ["minimize", "maximize", *(["minimize"] if timed else [])]
        self._study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name="precision",
            directions=directions,
            load_if_exists=True,
        )

    def learn(self, row: Row) -> None:
        """Tell the study about a plan by layer that it did not propose."""
        if row.plan.back_end != LAYERS or row.measured is None:
            return
        params = {f"layer {name}": choice for name, choice in row.plan.layers.items()}
        params |= {f"option {k}": v for k, v in {**self._usual, **row.plan.options}.items()}
        if params.keys() != self._space.keys():
            return
        known = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if any(trial.params == params for trial in known):
            return
        self._study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=self._space, values=self._values(row)
            )
        )

    def proposals(self, table: Table) -> Iterator[Plan]:
        """Yield plans that were not measured yet, until none comes any more."""
        for frozen in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(frozen.number, state=TrialState.FAIL)
        stale = 0
        while stale < STALE:
            number = len(self._study.get_trials(deepcopy=False))
            self._study.sampler = self._sampler(number)
            trial = self._study.ask(self._space)
            plan = self._plan(trial.params)
            known = table.find(plan)
            if known is None:
                stale = 0
                yield plan
                known = table.find(plan)
            else:
                stale += 1
            if known is not None and known.measured is not None:
                self._study.tell(trial, self._values(known))
            else:
                self._study.tell(trial, state=TrialState.FAIL)

    def _sampler(self, number: int) -> Any:
        # What trial 12 proposes follows from the seed, the number and the trials before it.
        seed = (self._seed * 1_000_003 + number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)

    def _plan(self, params: dict[str, str]) -> Plan:
        layers = {k.removeprefix("layer "): v for k, v in params.items() if k.startswith("layer ")}
        options = {
            k.removeprefix("option "): v for k, v in params.items() if k.startswith("option ")
        }
        kept = {name: value for name, value in options.items() if value != self._usual[name]}
        return Plan(LAYERS, layers, kept)

    def _values(self, row: Row) -> list[float]:
        assert row.measured is not None
        values = [math.log2(row.measured.bytes), row.measured.db]
        return [*values, 1 / row.measured.speed] if self._timed else values


def search(
    known: Sequence[Plan],
    proposer: Proposer,
    table: Table,
    evaluate_one: Callable[[Plan], Row],
    over: Callable[[], str | None],
    saved: Callable[[], None],
) -> str:
    """Evaluate until `over` gives a reason or nothing is left; return the reason."""

    def taken(plan: Plan) -> None:
        fresh = table.find(plan) is None
        row = evaluate_one(plan)
        if fresh:
            proposer.learn(row)
            saved()

    for plan in known:
        if table.find(plan) is not None:
            proposer.learn(evaluate_one(plan))
            continue
        if reason := over():
            return reason
        taken(plan)
    proposals = proposer.proposals(table)
    while not (reason := over()):
        proposal = next(proposals, None)
        if proposal is None:
            return "nothing new was proposed any more"
        evaluate_one(proposal)
        saved()
    return reason
