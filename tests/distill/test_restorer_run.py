"""Training a restorer: losses fall, a killed run continues, what is written can be shipped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests import needs
from tests.distill.operators import HOST, Asked
from tests.distill.tiny_faces import tiny_faces
from tests.distill.tiny_pipelines import save_tiny

from edgekit.cli.main import run as edgekit
from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import file_sha256, read_manifest
from edgekit.distill.faces.sets import FaceBatch, load_faces
from edgekit.distill.identity.encoder import fresh_encoder
from edgekit.distill.identity.shape import IdentityShape
from edgekit.distill.identity.student import read_encoder, write_encoder
from edgekit.distill.journal import Clock
from edgekit.distill.learning import learn
from edgekit.distill.program import StudentFacts
from edgekit.distill.restorer.one_step import Form, one_step
from edgekit.distill.restorer.recipe import restorer_recipe
from edgekit.distill.restorer.tasks import RestorerTask
from edgekit.distill.restorer.terms import Terms, TermWeights
from edgekit.distill.restorer.turbo import save_turbo, turbo_restorer, use_turbo
from edgekit.distill.restorer.unet import TOY, fresh_unet
from edgekit.export.bundle import export_student
from edgekit.runtime.sessions import open_session

SIZE = 32
ROOT = Path(__file__).parents[2]


class Blurred:
    """The same two portraits at every step, blurred: something that a few steps can learn."""

    def at(self, step: int, count: int, *, seed: int) -> FaceBatch:
        dice = torch.Generator().manual_seed(0)
        small = torch.rand(2, 3, 8, 8, generator=dice) * 2 - 1
        target = torch.nn.functional.interpolate(small, (SIZE, SIZE), mode="bicubic").clamp(-1, 1)
        points = torch.rand(2, 68, 2, generator=dice) * SIZE
        return FaceBatch(
            target=target,
            degraded=torch.nn.functional.avg_pool2d(target, 9, 1, 4),
            references=target[:, None].expand(-1, 2, -1, -1, -1).contiguous(),
            reference_mask=torch.tensor([[True, True], [True, False]]),
            wrong=torch.zeros(2, dtype=torch.bool),
            target_landmarks=points,
            reference_landmarks=points[:, None].expand(-1, 2, -1, -1).contiguous(),
            identity=torch.arange(2),
            reference_identity=torch.arange(2),
            rows=torch.arange(2),
            reference_rows=torch.arange(2)[:, None].expand(-1, 2),
        )


BARE = TermWeights(perceptual=0, ms_ssim=0, identity=0, adversarial=0, landmark=0.05)


def task() -> RestorerTask:
    network = one_step(TOY, fresh_unet(TOY, seed=0).state_dict(), Form(places=2), seed=0)
    device = torch.device("cpu")
    terms = Terms(BARE, None, SIZE)
    return RestorerTask(network, Blurred(), terms, device, batch=2, seed=0, lr=5e-3)


def trained(folder: Path, steps: int) -> RestorerTask:
    one = task()
    place = {"folder": folder, "device": torch.device("cpu"), "save_every": 0.0}
    learn(one, Clock(1e9, steps), stage="restorer", fingerprint="x", log_every=0, warmup=5, **place)
    return one


def test_training_lowers_every_term(tmp_path):
    trained(tmp_path, 30)

    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first, last = rows[0], rows[-1]
    assert last["step"] == 30
    assert last["l1"] < 0.8 * first["l1"]
    assert last["landmark"] < first["landmark"]


def test_a_step_asks_the_host_for_nothing():
    """So that a CUDA graph can record it."""
    one = task()
    batch = one.batch(0)
    # The optimizer of a GPU keeps its counts there; that of a processor does not.
    one.learners["network"].step = lambda loss: loss.backward()

    with Asked(batch.values()) as asked:
        one.advance(batch, None)

    assert "convolution_backward" in asked.names
    assert not asked.names & HOST


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.distill.test_restorer_run import trained
trained(Path(sys.argv[1]), 4000)
"""


def test_a_run_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment)
    path = tmp_path / "restorer.pt"
    while child.poll() is None and not path.is_file():
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = torch.load(path, weights_only=True)["step"]
    assert 0 < reached < 4000

    # The schedule follows from the number of steps, so both go to the same end.
    resumed, whole = (trained_on(folder, reached + 5) for folder in (tmp_path, undisturbed))

    assert all(torch.equal(one, two) for one, two in zip(resumed, whole, strict=True))


def trained_on(folder: Path, steps: int) -> list[torch.Tensor]:
    """Continue as a run of 4000 steps that ends early."""
    one = task()
    clock = Clock(1e9, 4000)
    advance = one.advance

    def counted(batch, phase):
        if clock.step >= steps - 1:
            clock.stop_at = 0.0
        return advance(batch, phase)

    one.advance = counted
    place = {"folder": folder, "device": torch.device("cpu")}
    learn(one, clock, stage="restorer", fingerprint="x", log_every=1e9, warmup=5, **place)
    assert clock.step == steps
    return [value.detach().clone() for value in one.learners["network"].trained]


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return tiny_faces(tmp_path_factory.mktemp("restorer") / "faces", people=5, photos=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory, faces):
    out = tmp_path_factory.mktemp("run") / "portraits"
    line = f"distill --student restorer --faces {faces} --steps 2 --minutes 60 --places 1"
    assert edgekit([*line.split(), "--out", str(out)]) == 0
    return out


@needs.KORNIA
def test_the_command_writes_students_that_name_every_port(made):
    restorer, enroller = (read_manifest(made / name, kind="student") for name in ("", "enroller"))

    names = [port["name"] for port in restorer["inputs"]]
    assert names == ["image", "memory_4", "memory_8", "memory_16", "reference_mask"]
    assert [port["name"] for port in enroller["outputs"]] == names[1:-1]
    held = sum(
        2 * int(torch.tensor(port["shape"]).prod())
        for port in restorer["inputs"]
        if port["name"].startswith("memory")
    )
    assert restorer["references"]["memory_bytes_per_reference"] == held
    assert {"psnr_db", "perceptual", "trained_identity"} <= set(restorer["quality"]["student"])
    assert (made / "preview.png").is_file()


@needs.KORNIA
def test_the_same_command_again_does_nothing(made, faces):
    before = (made / "manifest.json").stat().st_mtime_ns
    line = f"distill --student restorer --faces {faces} --steps 2 --minutes 60 --places 1"

    assert edgekit([*line.split(), "--out", str(made)]) == 0

    assert (made / "manifest.json").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def encoder(faces, tmp_path_factory):
    """An identity encoder with random weights."""
    place = tmp_path_factory.mktemp("identity")
    shape = IdentityShape(size_px=32, layers=1, refine=0, expand=1)
    small = load_faces(faces, size_px=32)
    facts = StudentFacts(name="identity", recipe_sha256="0" * 64)
    write_encoder(place, fresh_encoder(shape, seed=0), small, small, facts)
    return place


@needs.KORNIA
def test_the_network_for_phones_is_trained_without_a_larger_one(faces, encoder, tmp_path):
    line = f"distill --student restorer --form phone --faces {faces} --steps 2 --minutes 60"

    status = edgekit([*line.split(), "--encoder", str(encoder), "--out", f"{tmp_path}/run"])

    assert status == 0
    manifest = read_manifest(tmp_path / "run", kind="student")
    assert [port["name"] for port in manifest["inputs"]] == ["image", "code"]
    assert manifest["references"]["form"] == "phone"
    assert manifest["teacher"] == "none"
    assert not (tmp_path / "run" / "base").exists()
    assert (
        "threshold"
        in read_manifest(tmp_path / "run" / "identity", kind="student")["quality"]["identity"]
    )
    before, _ = read_encoder(encoder)
    after, _ = read_encoder(tmp_path / "run" / "identity")  # trained on, in two steps
    pairs = list(zip(before.parameters(), after.parameters(), strict=True))
    assert any(not torch.equal(one, two) for one, two in pairs)
    assert all((one - two).abs().max() < 0.02 for one, two in pairs)
    program = tmp_path / "run" / "identity" / "student.pt2"
    assert manifest["references"]["encoder_sha256"] == file_sha256(program)
    log = (tmp_path / "run" / "checkpoint" / "log.jsonl").read_text()
    assert {json.loads(row)["stage"] for row in log.splitlines()} == {"recognizer", "phone"}


@needs.KORNIA
def test_a_frozen_encoder_ships_as_it_was(faces, encoder, tmp_path):
    line = f"distill --student restorer --form phone --frozen-encoder --faces {faces} --steps 1"
    places = ["--encoder", str(encoder), "-o", f"{tmp_path}/run"]

    status = edgekit([*line.split(), *places])

    assert status == 0
    program = (encoder / "student.pt2").read_bytes()
    assert (tmp_path / "run" / "identity" / "student.pt2").read_bytes() == program
    assert "tuned = false" in (tmp_path / "run" / "recipe.toml").read_text()


@needs.KORNIA
def test_with_references_as_ports_an_onnx_file_is_the_same_function(made, tmp_path):
    bundle = export_student(
        made,
        ["onnx"],
        tmp_path / "bundle",
        open_session=open_session,
        precisions=["fp32"],
        isolated=False,
    )

    (model,) = bundle.models
    assert model.parity is not None
    assert model.parity.worst_psnr_db > 100


@needs.KORNIA
def test_a_run_out_of_time_says_so_and_the_same_call_goes_on(faces, tmp_path):
    from edgekit.distill.restorer.run import distill_restorer

    recipe = restorer_recipe(conditioning="none", steps=1, minutes=60.0, identity=0.0)
    with pytest.raises(EdgekitError, match="the time is over"):
        distill_restorer(recipe, [faces], tmp_path / "run", stop_at=time.monotonic() - 1)

    manifest = distill_restorer(recipe, [faces], tmp_path / "run")

    assert manifest["references"]["form"] == "none"


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("--faces nowhere", 4, "nowhere does not exist"),
        ("--form code --faces nowhere", 2, "an identity code needs an encoder"),
        ("--form phone --faces nowhere", 2, "an identity code needs an encoder"),
        ("--form phone --base stabilityai/sd-turbo", 2, "starts from no base"),
        ("--form none", 2, "no faces are given"),
        ("--faces nowhere --concept night", 2, "--concept is not for a restorer"),
        ("--faces nowhere --severity horrible", 2, "unknown severity 'horrible'"),
    ],
)
def test_bad_input_is_told_in_one_sentence(line, status, told, capsys):
    found = edgekit(["distill", "--student", "restorer", *line.split(), "--out", "unwritten"])

    assert found == status
    assert told in capsys.readouterr().err
    assert not Path("unwritten").exists()


def test_options_of_a_restorer_are_refused_for_a_concept(capsys):
    assert edgekit(["distill", "--concept", "make it night", "--form", "none"]) == 2

    assert "--form is for a restorer" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("turbo") / "tiny-turbo"
    return save_tiny("StableDiffusionPipeline", place, turbo=True)


def test_a_turbo_pipeline_trains_its_factors_and_ignores_masked_references(pipeline, tmp_path):
    network, _ = turbo_restorer(str(pipeline), Form(), rank=2, seed=0)
    frozen = {n: p.clone() for n, p in network.named_parameters() if not p.requires_grad}
    device, weights = torch.device("cpu"), TermWeights(identity=0, perceptual=0, adversarial=0)
    one = RestorerTask(network, Blurred(), Terms(weights, None, SIZE), device, batch=2, seed=0)
    learn(one, Clock(1e9, 8), stage="turbo", folder=tmp_path, fingerprint="x", device=device)
    batch = Blurred().at(0, 2, seed=0)
    other = batch.references.clone()
    other[1, 1] = 3.0

    with torch.no_grad():
        first, second = (
            network.restored(batch.degraded, network.given(references, batch.reference_mask))
            for references in (batch.references, other)
        )

    assert torch.equal(first, second)
    now = dict(network.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert any(value.abs().max() > 0 for name, value in now.items() if "lora_B" in name)


def test_what_a_turbo_pipeline_learned_is_read_back(pipeline, tmp_path):
    one, two = (turbo_restorer(str(pipeline), Form(), rank=2, seed=s)[0].eval() for s in (0, 1))
    batch = Blurred().at(0, 2, seed=0)

    use_turbo(save_turbo(tmp_path, one, {}), two)

    with torch.no_grad():
        pictures = [
            network.restored(batch.degraded, network.given(batch.references, batch.reference_mask))
            for network in (one, two)
        ]
    assert torch.allclose(*pictures, atol=1e-2)
    other = turbo_restorer(str(pipeline), Form(), rank=3, seed=0)[0]
    with pytest.raises(BadInput, match="was not trained on this base"):
        use_turbo(tmp_path / "adapter.safetensors", other)


def test_a_pipeline_that_cannot_be_a_restorer_is_refused(tmp_path):
    folder = save_tiny("StableDiffusionInstructPix2PixPipeline", tmp_path / "pix2pix")

    with pytest.raises(EdgekitError, match="takes a picture's latents alone"):
        turbo_restorer(str(folder), Form(), rank=2, seed=0)
