"""The mesh experiment: what it measures, what its page says, and the whole of it at toy size."""

import json
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.student import read_generator
from edgekit.distill.render.views import ring
from edgekit.distill.teachers.views.judge import WORDS, Judge, labels_of
from edgekit.distill.teachers.views.world import parse, split
from edgekit.distill.teachers.views.world import prompts as world_prompts

FOLDER = Path(__file__).parents[2] / "benchmarks" / "mesh"
NAMES = tuple(path.stem for path in FOLDER.glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(FOLDER))
    for name in NAMES:
        sys.modules.pop(name, None)
    yield
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        sys.modules.pop(name, None)


def mesh(prompt: str, r: float, **more: object) -> dict[str, object]:
    facts = {"watertight": True, "vertices": 900, "triangles": 1800, "pieces": 1, "bytes": 40_000}
    eyes = [1, 1] + [0] * 9 + [1]
    seen = prompt not in split()[1]
    parts = {"shape": r, "theme": r, "accessory": r}
    return {"prompt": prompt, "seen": seen, "r": r, "eyes": eyes, **parts, **facts, **more}


def snapshot(arm: str, seed: int, r: float, at_s: float, *, last: bool = True, prompt: str = ""):
    asked = [prompt] if prompt else world_prompts()
    return {
        "arm": f"{arm} {prompt}".strip(),
        "kind": arm,
        "seed": seed,
        "prompt": prompt or None,
        "at_s": at_s,
        "trained": 1 if prompt else 56,
        "last": last,
        "meshes": [mesh(each, r) for each in asked],
    }


def told(text: str, claim: str) -> str:
    """Return the verdict of the line of a claim."""
    return next(line for line in text.splitlines() if claim in line).split("|")[3].strip()


def claims(*rows: dict[str, object]) -> str:
    from table import claims as made

    return "\n".join(made(rows, None))


def one_by_one(*points: tuple[float, float]) -> list[dict[str, object]]:
    from arms import apart

    return [
        snapshot("per-prompt", 0, r, at, last=at == points[-1][0], prompt=prompt)
        for prompt in apart(world_prompts())
        for at, r in points
    ]


@pytest.mark.parametrize(
    ("points", "verdict"),
    [
        (((10.0, 0.2), (40.0, 0.8)), "yes"),
        (((10.0, 0.8), (40.0, 0.9)), "**no**"),
        (((10.0, 0.2), (20.0, 0.4)), "**no**"),
        (((10.0, 0.2), (30.0, 0.4)), "yes"),
    ],
)
def test_the_cost_is_compared_where_one_by_one_is_first_as_good(points, verdict):
    ours = [snapshot("atom", 0, 0.5, 140.0, last=False), snapshot("atom", 0, 0.7, 280.0)]

    assert told(claims(*ours, *one_by_one(*points)), "cheaper a prompt") == verdict


def test_a_precision_that_is_worth_nothing_is_not_compared_in_cost():
    rows = [snapshot("atom", 0, 0.1, 280.0), *one_by_one((300.0, 0.05))]

    text = claims(*rows)

    assert "too low to compare" in text
    assert told(text, "cheaper a prompt") == "**no**"


def test_claims_about_other_arms_need_the_figures_and_are_refused_without():
    good = [snapshot("atom", seed, 0.8, 280.0) for seed in range(3)]
    worse = [snapshot("hyper", 0, 0.5, 280.0), snapshot("stage-two", 0, 0.9, 280.0)]

    text = claims(*good, *worse)

    assert told(text, "times the R-precision of the hypernetwork") == "**no**"
    assert told(text, "stage two alone") == "**no: the reverse**"
    assert told(text, "ASD is better") == "–"
    assert told(text, "unseen prompts") == "yes"
    assert told(claims(*good, snapshot("hyper", 0, 0.3, 280.0)), "hypernetwork") == "yes"


def test_a_mesh_that_could_not_be_made_counts_as_not_recognized():
    from figures import score

    row = snapshot("atom", 0, 1.0, 280.0)
    row["meshes"][0] = {"prompt": world_prompts()[0], "seen": False, "failed": "no surface"}

    unseen = score([row], "atom", seen=False)

    assert unseen == {0: 7 / 8}


def test_the_page_names_every_run_that_is_not_there(tmp_path):
    from arms import ARMS
    from table import page

    nothing = page(tmp_path)
    (tmp_path / "runs.jsonl").write_text(
        json.dumps({"arm": "atom", "kind": "atom", "seed": 1, "prompt": None, "device": "cpu"})
        + '\n{"arm": "hyp'
    )
    one = page(tmp_path)

    assert all(f"{arm}/{seed}" in nothing for arm in ARMS for seed in range(3))
    assert "atom/1," not in one.split("* not scored")[0].split("What is missing")[1]
    assert "* not scored: atom/1" in one


def test_the_committed_page_is_the_one_that_its_lines_give():
    from table import PAGE, RESULTS, page

    assert PAGE.read_text(encoding="utf-8") == page(RESULTS)


def test_the_prompts_that_all_arms_learn_are_seen_and_name_every_shape_and_theme_once():
    from arms import apart

    chosen = apart(world_prompts())

    assert set(chosen) <= set(split()[0])
    assert len({parse(p).shape for p in chosen}) == len({parse(p).theme for p in chosen}) == 8


@pytest.fixture(scope="module")
def box_file(tmp_path_factory):
    box = trimesh.creation.box((1.0, 1.4, 0.6))
    box.visual.vertex_colors = np.where(box.vertices[:, :1] > 0, [[255, 0, 0, 255]], 255)
    path = tmp_path_factory.mktemp("glb") / "box.glb"
    box.export(path)
    return path


def test_a_file_is_closed_or_not_and_its_right_side_is_right(box_file, tmp_path):
    from measures import pictures, read_solid

    solid = read_solid(box_file)
    open_box = trimesh.load(box_file, force="mesh")
    open_box.update_faces(np.arange(len(open_box.faces)) > 0)
    open_box.export(tmp_path / "open.glb")

    front, right, _, left = pictures(solid, ring(4), 32)

    assert solid.watertight
    assert not read_solid(tmp_path / "open.glb").watertight
    assert right[0].mean() > right[1].mean() + 0.1  # red
    assert (left[0] - left[1]).abs().max() < 1e-6
    assert front[0, 16, 20] > front[1, 16, 20]
    assert (front[:, 0, 0] - 0.5).abs().max() < 1e-6


def test_a_texture_is_seen_where_its_uvs_say(tmp_path):
    from measures import pictures, read_solid
    from PIL import Image

    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16, :16] = (0, 255, 0)  # its upper left quarter
    uvs = corners[:, :2] + 0.5
    visual = trimesh.visual.TextureVisuals(
        uvs, material=trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(picture))
    )
    flat = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)
    flat.export(tmp_path / "flat.glb")

    seen = pictures(read_solid(tmp_path / "flat.glb"), ring(1, pitch_deg=0.0), 64)[0]

    assert seen[1, 27, 27] > 0.5
    assert seen[1, 27, 37] < 0.1
    assert seen[1, 37, 27] < 0.1


class Knowing:
    """A judge that says of every picture what it was told."""

    def __init__(self, prompt):
        self.right = {kind: int(numbers[0]) for kind, numbers in labels_of([prompt]).items()}

    def log_probs(self, images):
        found = {kind: torch.full((len(images), len(words)), -9.0) for kind, words in WORDS.items()}
        for kind, number in self.right.items():
            found[kind][:, number] = 0.0
        found["eyes"][:, 0] = -1.0
        found["eyes"][::6, 1] = 0.0
        return found


def test_precision_is_one_for_the_prompt_that_is_seen_and_zero_for_any_other():
    from figures import fronts
    from measures import judged_cameras, verdict

    prompts = world_prompts()
    images = torch.zeros(len(judged_cameras()), 3, 16, 16)

    right = verdict(Knowing(prompts[9]), images, prompts, own=9)
    wrong = verdict(Knowing(prompts[9]), images, prompts, own=10)

    assert (right["r"], right["r_mesh"], right["shape"]) == (1.0, 1, 1.0)
    assert (wrong["r"], wrong["r_mesh"]) == (0.0, 0)
    assert fronts(right["eyes"]) == 2  # eyes in views 0 and 6 of the ring: two faces


class Inline:
    """An executor that does its work at once, in this process."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, do, *words):
        done = Future()
        done.set_result(do(*words))
        return done

    def shutdown(self, **_):
        pass


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    from edgekit.distill.teachers.views.fit import ViewsSettings, fit_views
    from edgekit.distill.teachers.views.networks import TINY

    folder = tmp_path_factory.mktemp("views")
    settings = ViewsSettings(size=TINY, steps=1, batch=4, seeds=1, views=1)
    assert fit_views(settings, folder, device=torch.device("cpu"))
    return folder


def test_arms_train_their_files_are_scored_and_nothing_is_done_twice(
    teacher, tmp_path, monkeypatch
):
    import experiment
    import score
    import student
    from table import page

    from edgekit.benchmarks.runs import lines

    words = ["x", "--small", "--teacher", str(teacher), "--out", str(tmp_path), "--seeds", "0"]
    words += ["--arms", "atom", "hyper", "per-prompt", "--alone", "1", "--seconds", "300"]
    words += ["--arm-s", "1.5", "--prompt-s", "1.5"]
    monkeypatch.setattr(sys, "argv", words)
    experiment.main()
    first = (tmp_path / "runs.jsonl").read_text()
    experiment.main()
    monkeypatch.setattr(score, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(score, "_judge", lambda: Judge(4).eval())
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--judge", "none", "--small"])
    score.main()

    runs, scores = lines(tmp_path / "runs.jsonl"), lines(tmp_path / "scores.jsonl")
    assert (tmp_path / "runs.jsonl").read_text() == first
    assert [row["kind"] for row in runs] == ["atom", "hyper", "per-prompt"]
    assert all(row["snapshots"][-1] == "at-100.safetensors" for row in runs)
    last = {row["kind"]: row for row in scores if row["last"]}
    assert set(last) == {"atom", "hyper", "per-prompt", "truth", "untrained"}
    assert all((tmp_path / m["file"]).is_file() for row in last.values() for m in row["meshes"])
    assert [m["prompt"] for m in last["per-prompt"]["meshes"]] == [runs[2]["prompt"]]
    assert {m["seen"] for m in last["atom"]["meshes"]} == {True, False}
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--out", str(tmp_path / "things")])
    student.main()
    generator, prompts, manifest = read_generator(tmp_path / "things")
    assert (len(prompts.train), len(prompts.unseen)) == (56, 8)
    assert set(manifest["quality"]["r_precision"]) == {"seen", "unseen"}
    assert generator.shape == MeshRecipe(**runs[0]["recipe"]).shape
    text = page(tmp_path)
    assert "| hyper | hypernetwork over shared grids | 1 |" in text
    assert "atom/0," not in text


def test_a_run_that_has_no_time_left_no_line_and_goes_on_later(teacher, tmp_path, monkeypatch):
    import experiment

    from edgekit.benchmarks.runs import lines

    words = ["x", "--small", "--teacher", str(teacher), "--out", str(tmp_path), "--seeds", "0"]
    words += ["--arms", "atom", "--arm-s", "2.5"]
    for seconds in ("7.5", "300"):
        monkeypatch.setattr(sys, "argv", [*words, "--seconds", seconds])
        experiment.main()
        if seconds == "7.5":
            early = lines(tmp_path / "runs.jsonl")

    log = lines(tmp_path / "work" / "atom-0" / "log.jsonl")
    assert not early
    assert any("resumed_at_s" in row for row in log)
    assert len(lines(tmp_path / "runs.jsonl")) == 1


def test_a_true_mesh_looks_through_its_file_as_the_judge_has_learned_it(tmp_path):
    from measures import BACKGROUND, pictures, read_solid
    from score import write_true

    from edgekit.distill.teachers.views.renders import cutouts
    from edgekit.distill.teachers.views.world import world_mesh

    prompt = "an orange zigzag donut with a ring"
    write_true(prompt, 5, tmp_path / "true.glb")

    ours = pictures(read_solid(tmp_path / "true.glb"), ring(3), 64)

    cut = cutouts(world_mesh(prompt, 5), ring(3), 64)
    learned = cut[:, :3] + (1 - cut[:, 3:]) * BACKGROUND
    assert (ours - learned).abs().mean() < 0.004
