"""Write the student folder of a generator that the experiment trained and scored.

    python benchmarks/mesh/student.py runs/mesh --arm atom --seed 0 --out runs/things
    edgekit export runs/things --target onnx
    edgekit mesh "a red striped cone with legs" --run runs/things -o cone.glb

The weights are those of the last snapshot, which is what the scores are of.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from figures import score
from safetensors.torch import load_file

from edgekit.benchmarks.runs import lines
from edgekit.distill.mesh.generator import fresh_generator
from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.student import Prompts, write_generator
from edgekit.distill.mesh.words import vocabulary
from edgekit.distill.program import StudentFacts
from edgekit.distill.teachers.views.world import split


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of experiment.py")
    parser.add_argument("--arm", default="atom")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="things")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = lines(given.runs / "runs.jsonl")
    row = next(row for row in rows if (row["arm"], row["seed"]) == (given.arm, given.seed))
    scores = [s for s in lines(given.runs / "scores.jsonl") if s["seed"] == given.seed]
    train, unseen = split()
    words = vocabulary([*train, *unseen])
    recipe = MeshRecipe(**row["recipe"])
    generator = fresh_generator(recipe.shape, len(words), seed=given.seed)
    folder = given.runs / "work" / f"{given.arm}-{given.seed}"
    weights = load_file(folder / row["snapshots"][-1])
    generator.load_state_dict({name: value.float() for name, value in weights.items()})
    precision = {
        name: score(scores, given.arm, seen=seen).get(given.seed)
        for name, seen in (("seen", True), ("unseen", False))
    }
    facts = StudentFacts(
        name=given.name,
        recipe_sha256=recipe.sha256,
        teacher="views",
        seed=given.seed,
        quality={"r_precision": precision},
        seconds=recipe.seconds,
    )
    prompts = Prompts(train=tuple(train), unseen=tuple(unseen), words=words)
    manifest = write_generator(given.out, generator, prompts, facts)
    print(json.dumps({"out": str(given.out), "r_precision": precision, **manifest["lattice"]}))


if __name__ == "__main__":
    main()
