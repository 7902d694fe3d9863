"""What the page says of the generator that ships, from shipped.json and its teacher's scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import Row, score, spread

SHIPPED = "shipped"
WHAT = "the generator that ships: both stages, SDS"
APART = {
    "mesh": "its mesh",
    "same name": "another toy of the same name",
    "next prompt": "the mesh of the next prompt",
}


def read(path: Path) -> dict[str, Any] | None:
    """Return the facts of a file; None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def shown(
    facts: Mapping[str, Any] | None,
    teacher: Mapping[str, Any] | None,
    rounded: Mapping[str, Any] | None,
) -> list[str]:
    """Return the first section of the page."""
    if facts is None:
        return []
    rows, asset = facts["scores"], facts["asset"]
    training, trained = asset["training"], next(r["trained"] for r in rows if r["kind"] == SHIPPED)
    seen, unseen = (percent(rows, seen) for seen in (True, False))
    seconds = training["seconds"]
    mine = [mesh for row in rows if row["kind"] == SHIPPED for mesh in row["meshes"]]
    told = [
        "## What ships",
        "",
        f"One generator, one seed, {asset['bytes'] / 2**20:.2f} MiB. **R-precision {seen} of its "
        f"{trained} trained prompts and {unseen} of the {len(mine) - trained} unseen ones**, read "
        f"back from GLB files; meshes of the world itself get {percent(rows, 'all', 'truth')}. It "
        f"was trained on one {training['device']} for {seconds:.0f} s, {seconds / trained:.1f} s a "
        "prompt, its teacher not counted.",
        "",
    ]
    if rounded:
        seen, unseen = (percent(rounded["scores"], seen) for seen in (True, False))
        told += [f"With the phone's file `{rounded['file']}`: {seen} and {unseen}.", ""]
    return [*told, *taught(teacher, facts["judge"]), *apart(rows), *one_by_one(rows)]


def percent(rows: Sequence[Row], seen: bool | str, arm: str = SHIPPED) -> str:
    """Return the mean R-precision."""
    return spread(list(score(rows, arm, seen).values()), percent=True)


def taught(teacher: Mapping[str, Any] | None, judge: Mapping[str, Any]) -> list[str]:
    """Say how teacher and judge were trained and how good they are."""
    told = (
        f"The judge gives {judge['accuracy']['prompt']:.1%} of views of new toys to their prompt."
    )
    if teacher is None:
        return [told, ""]
    own, arms, protocol = teacher["teacher"], teacher["arms"], teacher["protocol"]
    drawn = arms["guidance 1"]
    said = (
        f"The teacher: {own['parameters'] / 1e6:.1f} M parameters, {own['steps']:,} steps of "
        f"{own['batch']} pictures in {own['seconds']:.0f} s of one {own['device']}. Of its own "
        f"drawings ({protocol['prompts']} prompts, {protocol['views']} views each, asked as the "
        f"generator asks it) the same judge gives {drawn['prompt']:.1%} to the right prompt, and "
        f"{drawn['camera']:.1%} are seen from the right side. It has "
        "seen pictures of all 320 toys, those of the unseen prompts too: unseen is what the "
        "*generator* was never asked for in training."
    )
    return [f"{said} {told}", ""]


def apart(rows: Sequence[Row]) -> list[str]:
    """Return how far the pictures of meshes are from true ones, with both controls."""
    mine = [m for row in rows if row["kind"] == SHIPPED for m in row["meshes"] if "apart" in m]
    if not mine:
        return []
    told = [
        "A judge of words stops at 100 %: it takes a blurred pattern for the pattern. Stricter is "
        "the mean difference from pictures of the world's own mesh (12 views, levels of 255, where "
        "either shows a thing). Two toys of one name differ too, in proportions and shades.",
        "",
        "| levels from the world's mesh | seen | unseen |",
        "|---|---|---|",
    ]
    for name, words in APART.items():
        cells = [
            f"{np.mean([m['apart'][name] for m in mine if m['seen'] is seen]):.1f}"
            for seen in (True, False)
        ]
        told.append(f"| {words} | {' | '.join(cells)} |")
    near, far = (
        np.mean([m["apart"]["mesh"] for m in mine if m["seen"] is seen]) for seen in (True, False)
    )
    same = np.mean([m["apart"]["same name"] for m in mine])
    told += [
        "",
        f"Seen prompts are {'nearer than' if near < same else 'not as near as'} another toy of "
        f"their name; unseen ones are {far / near:.1f} times as far as seen ones. The sheets below "
        "show in what: look at the patterns.",
        "",
    ]
    return told


def one_by_one(rows: Sequence[Row]) -> list[str]:
    """Return the unseen prompts, then every seen one that some view does not show right."""
    mine = [mesh for row in rows if row["kind"] == SHIPPED for mesh in row["meshes"]]
    told = [
        "| unseen prompt | R-precision | shape | theme | accessory | levels |",
        "|---|---|---|---|---|---|",
    ]
    for mesh in mine:
        if not mesh["seen"]:
            told.append(f"| {mesh['prompt']} | {cells(mesh)} |")
    wrong = [mesh for mesh in mine if mesh["seen"] and mesh.get("r", 0.0) < 1]
    failed = [mesh["prompt"] for mesh in mine if "failed" in mesh]
    names = ", ".join(f"{mesh['prompt']} ({mesh.get('r', 0.0):.0%})" for mesh in wrong)
    return [
        *told,
        "",
        f"Seen prompts below 100 %: {names or 'none'}. Meshes that could not be made: "
        f"{', '.join(failed) or 'none'}.",
        "",
    ]


def cells(mesh: Row) -> str:
    """Return the figures of one mesh."""
    parts = [f"{mesh.get(name, 0.0):.0%}" for name in ("r", "shape", "theme", "accessory")]
    distance = mesh.get("apart", {}).get("mesh")
    return " | ".join([*parts, "–" if distance is None else f"{distance:.0f}"])
