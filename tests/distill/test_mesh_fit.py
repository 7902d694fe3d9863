"""Training by what a guide says of pictures: shapes and colours appear, nothing else gets in."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.distill.mesh_guides import ExactGuide, box, of_mesh
from tests.distill.operators import HOST, Asked

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.journal import Clock
from edgekit.distill.mesh import fit
from edgekit.distill.mesh.fit import fit_mesh
from edgekit.distill.mesh.generator import fresh_generator
from edgekit.distill.mesh.recipe import MeshRecipe, mesh_recipe, read_mesh_recipe
from edgekit.distill.mesh.run import distill_mesh, prompts_of, solid
from edgekit.distill.mesh.shape import TOY
from edgekit.distill.mesh.stages import meshes
from edgekit.distill.mesh.student import Prompts, read_generator
from edgekit.distill.mesh.words import tokens, vocabulary
from edgekit.distill.render.views import ring
from edgekit.distill.teachers.views.guide import ViewsGuide
from edgekit.distill.teachers.views.networks import TINY, fresh_networks

ROOT = Path(__file__).parents[2]
BOXES = {
    "a red plate": ((0.55, 0.3, 0.55), (0.9, 0.1, 0.1)),
    "a blue tower": ((0.3, 0.75, 0.3), (0.1, 0.2, 0.9)),
}
PROMPTS = Prompts(train=tuple(BOXES), unseen=("a red tower",), words=vocabulary(BOXES))
GUIDE = ExactGuide({name: of_mesh(box(*said)) for name, said in BOXES.items()}, size_px=16)
EVERY_STEP = (0.0, 0.0)


def recipe(**values) -> MeshRecipe:
    small = {"seconds": 0.0, "volume_px": 16, "mesh_px": 16, "coarse": 12, "fine": 8, "lr": 1e-2}
    return MeshRecipe(**{**small, "guidance": 1.0, "mesh_lr": 2.5e-3, **values})


def codes(network, *prompts: str) -> torch.Tensor:
    return network.codes(tokens(prompts, PROMPTS.words, network.shape.length))


def likeness(network, prompt: str, to: str | None = None) -> tuple[float, float]:
    """How much of two outlines, the mesh's and a box's, is common, and how far colours are off.

    Six views of 32 pixels a side; over black and over white, so that a mesh gives its cover away.
    """
    cameras, look = ring(6, pitch_deg=20), meshes(recipe(steps=1, mesh_px=32))
    with torch.no_grad():
        code = codes(network, prompt).expand(6, -1, -1, -1)
        black, white = (
            look(network, code, cameras, torch.full((6, 3), level)).pictures for level in (0.0, 1.0)
        )
    cover, true = 1 - (white - black).mean(1), GUIDE.things[to or prompt](cameras, 32)
    common = torch.minimum(cover, true[:, 3]).sum() / torch.maximum(cover, true[:, 3]).sum()
    inside = ((cover > 0.99) & (true[:, 3] > 0.99))[:, None].expand_as(black)
    return float(common), float((black - true[:, :3])[inside].abs().mean())


def weights(network) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize(("loss", "stage_one"), [("sds", 0.75), ("asd", 1.0)])
def test_shape_and_colour_of_each_prompt_come_from_the_guide_alone(tmp_path, loss, stage_one):
    fresh = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    asked = recipe(steps=150, loss=loss, stage_one=stage_one)

    made = fit_mesh(asked, GUIDE, PROMPTS, tmp_path)

    # Of a shape that is the same for both prompts, "matched" and "swapped" would be equal.
    plate, tower = BOXES
    matched = [likeness(made, prompt) for prompt in BOXES]
    swapped = [likeness(made, plate, to=tower), likeness(made, tower, to=plate)]
    assert max(likeness(fresh, prompt)[0] for prompt in BOXES) < 0.57
    assert min(common for common, _ in matched) > 0.58
    assert max(off for _, off in matched) < 0.15
    assert sum(common for common, _ in matched) - sum(common for common, _ in swapped) > 0.2


class Stops(ExactGuide):
    """A guide that gives up at a call, as a machine that is switched off does."""

    calls, last = 0, 0

    def noise(self, noisy, step, text, cameras):
        self.calls += 1
        if self.calls == self.last:
            raise KeyboardInterrupt
        return super().noise(noisy, step, text, cameras)


@pytest.mark.parametrize("last", [3, 6])
def test_a_killed_training_continues_to_the_same_weights(tmp_path, last):
    tiny = recipe(steps=6, stage_one=0.5, batch=2, coarse=6, fine=4)
    whole = fit_mesh(tiny, GUIDE, PROMPTS, tmp_path / "whole", every_s=EVERY_STEP)
    stops = Stops(GUIDE.things, size_px=16)
    stops.last = last

    with pytest.raises(KeyboardInterrupt):
        fit_mesh(tiny, stops, PROMPTS, tmp_path / "cut", every_s=EVERY_STEP)
    again = fit_mesh(tiny, stops, PROMPTS, tmp_path / "cut", every_s=EVERY_STEP)

    assert stops.calls == 7
    assert torch.equal(weights(whole), weights(again))


def test_a_training_ends_in_time_and_goes_on_when_called_again(tmp_path):
    short = recipe(seconds=3.0, steps=0, batch=1, coarse=6, fine=4)

    assert fit_mesh(short, GUIDE, PROMPTS, tmp_path, stop_at=0.0) is None
    made = fit_mesh(short, GUIDE, PROMPTS, tmp_path)

    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    last = {row["stage"]: row["seconds"] for row in rows if "seconds" in row}
    assert made is not None
    assert set(last) == {"1-volumes", "2-meshes"}
    assert sum(last.values()) < 3.0 + 2.0


def test_another_guide_or_prompt_does_not_continue_a_checkpoint(tmp_path):
    tiny = recipe(steps=2, stage_one=1.0, batch=1, coarse=6, fine=0)
    fit_mesh(tiny, GUIDE, PROMPTS, tmp_path, of="one")
    counted = Stops(GUIDE.things, size_px=16)

    fit_mesh(tiny, counted, PROMPTS, tmp_path, of="one")
    same = counted.calls
    fit_mesh(tiny, counted, PROMPTS, tmp_path, of="two")

    assert (same, counted.calls) == (0, 2)


def test_every_prompt_is_shown_once_before_any_is_shown_twice(tmp_path):
    names = tuple(f"{a} {b}" for a in ("red", "blue") for b in ("plate", "tower", "ball"))
    asked = Prompts(train=names, words=vocabulary(names))
    stage = fit.stages(recipe(steps=9))[0]
    guide = ExactGuide(dict.fromkeys(names, GUIDE.things["a red plate"]), size_px=16)
    network = fresh_generator(TOY, len(asked.words), seed=0)
    task = fit.MeshTask(
        network, guide, asked, recipe(steps=9, batch=4), stage, fit.Clock(1.0), torch.device("cpu")
    )

    rows = [row for step in range(9) for row in task.batch(step)["rows"].tolist()]

    turns = [rows[first : first + 6] for first in range(0, 36, 6)]
    assert all(sorted(turn) == list(range(6)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert torch.equal(task.batch(4)["noise"], task.batch(4)["noise"])
    assert not torch.equal(task.batch(4)["noise"], task.batch(5)["noise"])


class Sealed:
    """All that the trainer may see of a teacher; anything else that it asks for is an error."""

    def __init__(self, guide: ExactGuide) -> None:
        self.given = []
        answers = {"encode": guide.encode, "noise": guide.noise, "latents": guide.latents}
        self._known = {**answers, "alphas": guide.alphas, "size_px": guide.size_px}

    def __getattr__(self, name):
        known = self.__dict__["_known"]
        if name not in known:
            raise AssertionError(f"the trainer asked the guide for {name}")
        if not callable(known[name]):
            return known[name]

        def noted(*args):
            answer = known[name](*args)
            self.given.append((name, tuple(answer.shape)))
            return answer

        return noted


def test_no_shape_reaches_the_generator(tmp_path, monkeypatch):
    for name in ("world", "solids", "meshes", "bank", "renders"):
        monkeypatch.setitem(sys.modules, f"edgekit.distill.teachers.views.{name}", None)
    guide = Sealed(GUIDE)

    fit_mesh(recipe(steps=4, batch=3), guide, PROMPTS, tmp_path, previews=tmp_path)

    pictures = {shape for name, shape in guide.given if name in ("noise", "latents")}
    texts = {shape for name, shape in guide.given if name == "encode"}
    assert {shape[1:] for shape in pictures} == {(3, 16, 16)}
    assert texts == {(2, 1, 1), (1, 1, 1)}


def test_the_generator_imports_nothing_that_holds_a_shape():
    folder = ROOT / "distill/edgekit/distill/mesh"
    found = {}
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and "teachers.views" in (node.module or ""):
                found[file.name, node.module] = [name.name for name in node.names]

    # Which prompts there are; strings.
    assert found == {("run.py", "edgekit.distill.teachers.views.world"): ["split"]}


def test_a_shape_that_has_vanished_comes_back(tmp_path):
    network = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    with torch.no_grad():
        network.head.last.bias[0] = 1.0
    assert solid(network, PROMPTS)["train"]["empty"] == 2

    made = fit_mesh(
        recipe(steps=25, stage_one=0.0, lr=3e-2), GUIDE, PROMPTS, tmp_path, network=network
    )

    found = solid(made, PROMPTS)["train"]
    assert found["empty"] == 0
    assert 0.002 < found["filled"] < 0.5


def test_an_empty_mesh_shows_its_background_and_has_slopes():
    network = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    with torch.no_grad():
        network.head.last.bias[0] = 1.0

    seen = meshes(recipe(steps=1))(
        network, codes(network, "a red plate"), ring(1), torch.ones(1, 3)
    )
    seen.terms["empty"].backward()

    assert torch.equal(seen.pictures, torch.ones(1, 3, 16, 16))
    assert float(network.head.last.bias.grad[0]) > 0


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of a few steps; not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "things"
    distill_mesh(recipe(steps=4), GUIDE, PROMPTS, folder, teacher="exact")
    return folder


def test_a_run_leaves_a_student_its_turntables_and_its_recipe(run):
    network, prompts, manifest = read_generator(run)
    sheet, film = Image.open(run / "preview.png"), Image.open(run / "preview.gif")

    assert prompts == PROMPTS
    assert manifest["teacher"] == "exact"
    assert manifest["quality"]["mesh"]["unseen"]["prompts"] == 1
    assert manifest["seconds"] > 0
    assert (sheet.width, sheet.height) == (8 * 20 - 4, 3 * 20 - 4)
    assert (film.n_frames, film.size) == (8, (3 * 16, 16))
    assert read_mesh_recipe(run / "recipe.toml") == recipe(steps=4)
    assert torch.isfinite(weights(network)).all()


def test_a_finished_run_is_left_as_it_is_and_another_is_refused(run):
    before = (run / "manifest.json").stat().st_mtime_ns

    distill_mesh(recipe(steps=4), GUIDE, PROMPTS, run, teacher="exact")
    with pytest.raises(EdgekitError, match="made otherwise"):
        distill_mesh(recipe(steps=5), GUIDE, PROMPTS, run, teacher="exact")

    assert (run / "manifest.json").stat().st_mtime_ns == before


def test_a_run_that_must_end_says_how_to_go_on(tmp_path):
    with pytest.raises(EdgekitError, match="time is over") as caught:
        distill_mesh(recipe(steps=4), GUIDE, PROMPTS, tmp_path, teacher="exact", stop_at=0.0)

    assert "same command" in caught.value.hint
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"loss": "vsd"}, "unknown loss 'vsd'"),
        ({"seconds": 0.0}, "no end"),
        ({"batch": 0}, "batch = 0"),
        ({"stage_one": 1.5}, "stage_one = 1.5"),
        ({"name": "A thing"}, "name = 'A thing'"),
        ({"profile": "tpu"}, "unknown profile"),
    ],
)
def test_a_recipe_that_could_only_fail_later_is_refused(values, said):
    with pytest.raises(EdgekitError, match=said):
        mesh_recipe(**values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bacth = 3", "unknown key"),
        ("batch = 2.5", "write a int"),
        ("toy = 1", "write a bool"),
        ("loss = 3", "write a str"),
        ("batch =", "not TOML"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_refused(tmp_path, text, said):
    (tmp_path / "r.toml").write_text(text)

    with pytest.raises(EdgekitError) as caught:
        read_mesh_recipe(tmp_path / "r.toml")

    assert said in f"{caught.value.what} {caught.value.hint}"


def test_what_is_asked_on_the_line_wins_over_the_file(tmp_path):
    (tmp_path / "r.toml").write_text('profile = "gpu"\nbatch = 5\nlr = 1\n')

    found = read_mesh_recipe(tmp_path / "r.toml", batch=7, lr=None)

    assert (found.batch, found.lr, found.mesh_px, found.toy) == (7, 1, 128, False)


def test_the_worlds_prompts_are_the_default_and_the_diagonal_is_unseen():
    prompts = prompts_of(None, None)

    words = {word for prompt in prompts.unseen for word in prompt.split()}
    assert (len(prompts.train), len(prompts.unseen)) == (56, 8)
    assert not set(prompts.train) & set(prompts.unseen)
    assert words <= set(prompts.words)


@pytest.mark.parametrize(
    ("train", "unseen", "said"),
    [
        ("", None, "holds no prompt"),
        ("a red cone\n123\n", None, "has no word"),
        ("a red cone\n", "a green cone\n", "'green' in 'a green cone'"),
        ("a red cone\n", "a red cone\n", "is in"),
    ],
)
def test_files_of_prompts_that_cannot_be_used_are_refused(tmp_path, train, unseen, said):
    (tmp_path / "train.txt").write_text(train)
    if unseen is not None:
        (tmp_path / "unseen.txt").write_text(unseen)

    with pytest.raises(BadInput, match=said):
        prompts_of(tmp_path / "train.txt", None if unseen is None else tmp_path / "unseen.txt")


def test_a_step_of_volumes_with_a_teacher_of_views_can_be_a_cuda_graph(tmp_path):
    """On a processor: nothing in it, forwards or backwards, waits for the device or the host."""
    cpu, one = torch.device("cpu"), recipe(steps=4, batch=2)
    guide = ViewsGuide(fresh_networks(TINY, list(BOXES), tmp_path, 0), identity="tiny")
    network = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    stage = fit.stages(one)[0]
    task = fit.MeshTask(network, guide, PROMPTS, one, stage, Clock(1.0, step_budget=4), cpu)
    batch = task.batch(0)
    # The optimizer of a GPU keeps its counts there; that of a processor does not.
    task.learners["generator"].step = lambda loss: loss.backward()

    with Asked(batch.values()) as asked:
        task.advance(batch, None)

    assert "convolution_backward" in asked.names
    assert not asked.names & HOST


def test_a_step_of_meshes_sorts_nothing_on_its_way_back(tmp_path):
    """Half of the pixels see nothing: a sum of sorted places would add them up one by one."""
    network = fresh_generator(TOY, len(PROMPTS.words), seed=0)
    stage = fit.stages(recipe(steps=4))[1]
    seen = stage.look(network, codes(network, *BOXES), ring(2), torch.ones(2, 3))

    with Asked() as asked:
        (seen.pictures.square().mean() + sum(seen.terms.values())).backward()

    assert any("index_add" in name for name in asked.names)
    assert "sorted sum" not in asked.names


def test_larger_lattices_and_other_seeds_make_other_weights():
    base = recipe(steps=4)

    hashes = {base.sha256, replace(base, seed=1).sha256, replace(base, loss="asd").sha256}

    assert len(hashes) == 3
    assert np.isfinite(base.seconds)
