"""The ranks of arm D: searched once, on a concept that is neither the base's nor tested."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

from arms import Arm, named
from place import Place, say, settings_of, warm_up
from tasks import SEARCHED_ON, photo_tasks

from edgekit.core.store import read_json, write_json
from edgekit.distill.base import Base
from edgekit.distill.fit_state import FitData
from edgekit.distill.lora import attach
from edgekit.distill.ranks import Ranks
from edgekit.distill.search.run import search_ranks
from edgekit.distill.search.settings import SearchSettings

SEARCH_STEPS = 300
BUDGET_KB = 100.0
"""What the file of a concept may take on the phone."""


def needs_ranks(arm: Arm) -> bool:
    """Tell whether an arm depends on the searched ranks."""
    return arm.adapter in ("searched", "random")


def searched(place: Place, path: Path) -> Ranks:
    """Return the ranks that the search wrote, waiting for it if need be."""
    while not path.is_file() and place.left_s() > 0:
        time.sleep(1)
    return dict(read_json(path)["best"]["ranks"])


def search(place: Place, photos: Path, ranks: Path, base: Base, *, seconds: float) -> None:
    """Search ranks for a concept that is neither the base's nor tested, on validation pairs."""
    task = photo_tasks(
        photos, [SEARCHED_ON], device=place.device, pool=place.pool, judged=place.judged
    )[0]
    arm = named("D")
    warm_up(place, task, arm, attach(deepcopy(base.generator), rank=4, seed=0))
    settings = settings_of(place, replace(arm, steps=SEARCH_STEPS), 0)
    wanted = SearchSettings(
        mode="greedy", choices=(1, 2, 4, 8, 16), budget_s=seconds, budget_kb=BUDGET_KB
    )
    found = search_ranks(
        base.generator,
        FitData(*task.train, *task.val),
        replace(settings, check_every=max(1, settings.steps // 3)),
        wanted,
        folder=place.out / "search",
        prompt=SEARCHED_ON,
        base_sha256=base.sha256,
        context=task.context,
        device=place.device,
    )
    say(place, "searched", trials=len(found.trials), ranks=found.best.ranks, s=found.seconds)
    rows = [asdict(trial) for trial in found.trials]
    write_json(
        ranks,
        {
            "concept": SEARCHED_ON,
            "settings": {**wanted.values(), "steps": settings.steps},
            "seconds": round(found.seconds, 2),
            "stopped": found.stopped,
            "best": asdict(found.best),
            "trials": rows,
        },
    )
