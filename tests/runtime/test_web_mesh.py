"""The web demo's mesh screen in a real browser, against the runtime's own meshes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.runtime.test_web_app import browser_tools, installed_libraries

from edgekit.cli.main import run
from edgekit.core.manifest import read_bundle
from edgekit.distill.mesh.generator import fresh_generator
from edgekit.distill.mesh.shape import TOY
from edgekit.distill.mesh.student import Prompts, write_generator
from edgekit.distill.mesh.words import vocabulary
from edgekit.distill.program import StudentFacts
from edgekit.runtime.apps.web import build_site, server, sources
from edgekit.runtime.mesh.files import read_glb
from edgekit.runtime.mesh.generate import Finish, open_generator

pytestmark = pytest.mark.xdist_group("web")  # one browser, not one a worker
PROMPTS = Prompts(
    train=("a red cone", "a blue cube with a hat"),
    unseen=("a red cube",),
    words=vocabulary(["a red cone", "a blue cube with a hat"]),
)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory) -> Path:
    """The bundle of a toy generator whose untrained shapes are lumpy."""
    folder = tmp_path_factory.mktemp("meshes")
    generator = fresh_generator(TOY, len(PROMPTS.words), seed=1)
    with torch.no_grad():
        generator.table.weight.mul_(5)
        generator.planes.widen[-1].weight.mul_(20)
        generator.head.last.weight.mul_(3)
    facts = StudentFacts(name="things", recipe_sha256="0" * 64)
    write_generator(folder / "run", generator, PROMPTS, facts)
    words = ["export", str(folder / "run"), "--target", "onnx", "--precision", "fp32", "-q"]
    assert run(words) == 0
    return folder / "run" / "bundle"


@pytest.fixture(scope="module")
def seen(meshes, toy_bundle, tmp_path_factory) -> dict[str, Any]:
    """What a browser saw: see web_demo/test/mesh.mjs."""
    chromium, modules = browser_tools()
    folder = tmp_path_factory.mktemp("browser")
    cache = installed_libraries()
    site = build_site([meshes, toy_bundle], folder / "site", engines=["onnx"], cache=cache)
    running = server(site.folder)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_address[1]}/"
    done = subprocess.run(
        ["node", str(sources() / "test" / "mesh.mjs"), url, str(folder), PROMPTS.train[1]],
        env={
            **os.environ,
            "EDGEKIT_NODE_MODULES": str(modules),
            "EDGEKIT_CHROMIUM": chromium,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    running.shutdown()
    running.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    facts.update(url=url, folder=folder)
    return facts


def test_the_saved_file_holds_the_mesh_that_python_makes(seen, meshes):
    wanted = open_generator(meshes, threads=1).mesh(PROMPTS.train[1], finish=Finish(texture_px=0))

    saved = read_glb(seen["folder"] / "saved.glb")
    assert seen["name"] == "a-blue-cube-with-a-hat.glb"
    assert (saved.triangles == wanted.mesh.triangles).all()
    assert np.abs(saved.vertices - wanted.mesh.vertices).max() < 1e-4
    assert saved.colors is not None
    assert wanted.mesh.colors is not None
    assert np.abs(saved.colors - wanted.mesh.colors).max() < 2 / 255
    assert seen["mesh"]["triangles"] == len(saved.triangles)


def test_the_screen_tells_its_parts_and_their_times(seen):
    assert seen["screens"] == [True, False, False, True, False]
    assert all(seen["mesh"][name] > 0 for name in ("planes", "field", "surface", "colors", "total"))
    assert "a blue cube with a hat" in seen["label"]
    assert seen["said"].startswith("Done.")


def test_keys_fingers_and_the_mouse_turn_it_and_home_brings_it_back(seen):
    back = ("home", "again", "back", "restored")

    assert seen["changed"] == {name: name not in back for name in seen["changed"]}


def test_it_turns_by_itself_only_where_motion_is_welcome_and_until_it_is_touched(seen):
    assert seen["still"] == "false"
    assert seen["turned"]
    assert seen["stopped"] == "false"


def test_words_that_are_asked_for_last_win(seen):
    assert seen["last"] == PROMPTS.train[1]


def test_an_unknown_word_is_said_and_the_mesh_stays(seen):
    assert seen["unknown"].startswith("unknown word 'xylophone'")
    assert seen["kept"] == PROMPTS.train[1]


def test_both_files_give_pythons_golden_vectors(seen, meshes):
    assert seen["golden"]["samples"] == read_bundle(meshes).golden.samples
    assert seen["golden"]["max_abs"] <= 1e-4


def test_without_webgl_the_mesh_can_still_be_saved(seen):
    assert "draws no 3D" in seen["plain"]["said"]
    assert seen["plain"]["saves"]
    assert not seen["plain"]["turns"]


def test_no_width_scrolls_axe_finds_nothing_and_no_request_leaves_the_site(seen):
    others = [u for u in seen["requests"] if not u.startswith((seen["url"], "blob:", "data:"))]

    assert seen["wide"] == [0, 0, 0]
    assert seen["violations"] == []
    assert seen["errors"] == others == []
