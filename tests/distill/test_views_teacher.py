import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.distill.operators import HOST, Asked
from tests.distill.test_views_world import write_meshes
from transformers import CLIPTokenizer

from edgekit.core.errors import BadInput
from edgekit.distill.mesh.guide import Guide
from edgekit.distill.render.views import cameras_at, random_cameras
from edgekit.distill.teachers.networks import token_ids
from edgekit.distill.teachers.views import judge as judges
from edgekit.distill.teachers.views import score
from edgekit.distill.teachers.views.bank import Bank, mesh_bank, world_bank
from edgekit.distill.teachers.views.fit import ViewsSettings, ViewsTask, fit_views
from edgekit.distill.teachers.views.guide import ViewsGuide, load_guide, load_views
from edgekit.distill.teachers.views.meshes import Entry, read_index
from edgekit.distill.teachers.views.networks import TINY, ViewSize, fresh_networks
from edgekit.distill.teachers.views.sampling import drawn, write_sheet
from edgekit.distill.teachers.views.world import parse, split

CPU = torch.device("cpu")
FEW = ("a yellow ball", "a rainbow fish", "a red striped cone with a hat", "a blue dotted cube")


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def bank() -> Bank:
    return world_bank(split()[0], seeds=[3], views=1, size_px=64, generator=dice(), device=CPU)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny teacher of toys and captioned meshes; its first call had no time for a step."""
    root = tmp_path_factory.mktemp("views")
    meshes = write_meshes(root / "meshes", ["post", "pole"])
    settings = ViewsSettings(
        size=TINY,
        toys=FEW,
        seconds=1e6,
        steps=80,
        batch=8,
        peak_rate=1e-2,
        seeds=1,
        views=1,
        meshes=meshes,
        log_every=0,
    )
    first = fit_views(settings, root / "teacher", device=CPU, stop_at=time.monotonic())
    facts = fit_views(settings, root / "teacher", device=CPU)
    return root / "teacher", settings, first, facts


def test_a_bank_shows_what_its_words_say(bank):
    everywhere = torch.arange(len(bank))

    over_blue = bank.pictures(everywhere, torch.tensor([[0.0, 0.0, 1.0]]).expand(len(bank), 3))

    assert len(bank) == len(bank.prompts) == 56
    assert over_blue[:, 2, 0, 0].min() == 1
    for place, number in enumerate(bank.prompt_N.tolist()):
        if parse(bank.prompts[number]).theme == "yellow":
            red, _, blue, share = bank.cutouts_N[place].float().mean((1, 2)).tolist()
            assert red > 0.4 * share
            assert blue < 0.7 * red
    assert 0.2 < bank.eyes_N.float().mean() < 0.7


def test_captions_that_are_all_held_out_are_refused(tmp_path):
    entries = [Entry(tmp_path, f"thing {n}") for n in range(40)]
    meshes = write_meshes(tmp_path / "m", [next(e.caption for e in entries if e.held_out)])
    settings = ViewsSettings(size=TINY, toys=FEW, steps=1, seeds=1, views=1, meshes=meshes)

    with pytest.raises(BadInput, match="held-out captions only"):
        fit_views(settings, tmp_path / "out", device=CPU)


def test_a_bank_of_meshes_has_their_captions(tmp_path):
    entries = read_index(write_meshes(tmp_path, ["b", "a", "b"]))

    made = mesh_bank(entries, views=2, size_px=16, generator=dice(), device=CPU)

    assert [made.prompts[n] for n in made.prompt_N.tolist()] == ["b", "b", "a", "a", "b", "b"]
    assert made.cutouts_N[:, 3].float().mean((1, 2)).min() > 5


def test_training_stops_on_time_continues_and_is_left_alone_when_done(trained):
    folder, settings, first, facts = trained
    stamp = (folder / "unet").stat().st_mtime_ns

    again = fit_views(settings, folder, device=CPU)

    assert first is None
    assert facts["steps"] == 80
    assert facts["prompts"] == {"toys": 4, "captions": 2}
    assert again == facts
    assert (folder / "unet").stat().st_mtime_ns == stamp
    assert Image.open(folder / "preview.png").size == (4 * 16, 8 * 16)


def test_the_loss_falls(trained):
    lines = [json.loads(line) for line in (trained[0] / "work/log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]

    assert len(losses) >= 78
    assert sum(losses[-16:]) < 0.8 * sum(losses[:16])


@pytest.mark.parametrize("half", [False, True])
def test_a_step_can_be_a_cuda_graph_and_moves_every_weight_in_float32(tmp_path, half):
    """On a processor: nothing in it, forwards or backwards, waits for the device or the host."""
    settings = ViewsSettings(size=TINY, toys=FEW, batch=4, seeds=1, views=2)
    bank = world_bank(FEW, seeds=[0], views=2, size_px=16, generator=dice(), device=CPU)
    networks = fresh_networks(TINY, ["", *FEW], tmp_path, 0)
    task = ViewsTask(networks, [bank], settings, CPU, half=half)
    batch = task.batch(0)
    # The optimizer of a GPU keeps its counts there; that of a processor does not.
    task.learners["teacher"].step = lambda loss: loss.backward()
    given = [*batch.values(), task.alphas, *networks.text_encoder.buffers()]

    with Asked(given) as asked:
        task.advance(batch, None)

    grads = [value.grad for value in networks.unet.parameters()]
    assert "convolution_backward" in asked.names
    assert not asked.names & HOST
    assert {grad.dtype for grad in grads} == {torch.float32}
    assert sum(bool(grad.any()) for grad in grads) > 0.5 * len(grads)


def test_rounding_the_network_changes_its_gradients_little(tmp_path):
    settings = ViewsSettings(size=TINY, toys=FEW, batch=8, seeds=1, views=4)
    bank = world_bank(FEW, seeds=[0], views=4, size_px=16, generator=dice(), device=CPU)
    slopes = []
    for half in (False, True):
        networks = fresh_networks(TINY, ["", *FEW], tmp_path, 0)
        task = ViewsTask(networks, [bank], settings, CPU, half=half)
        task.loss(task.batch(3)).backward()
        slopes.append(torch.cat([value.grad.flatten() for value in networks.unet.parameters()]))

    assert torch.cosine_similarity(*slopes, dim=0) > 0.99


def test_the_same_step_has_the_same_batch_whichever_came_before(tmp_path):
    settings = ViewsSettings(size=TINY, toys=FEW, batch=4, seeds=1, views=2)
    bank = world_bank(FEW, seeds=[0], views=2, size_px=16, generator=dice(), device=CPU)
    networks = fresh_networks(TINY, ["", *FEW], tmp_path, 0)
    task = ViewsTask(networks, [bank], settings, CPU, half=False)

    first, other, again = task.batch(5), task.batch(6), task.batch(5)

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["noise"], other["noise"])


def test_words_are_spelled_alike_before_and_after_saving(trained):
    texts = ["a red striped cone with a hat", "post", "zygote", ""]

    before = CLIPTokenizer.from_pretrained(trained[0] / "work" / "tokenizer")

    saved = load_views(trained[0]).networks.tokenizer
    assert torch.equal(token_ids(before, texts), token_ids(saved, texts))


def test_more_steps_continue_from_the_old_ones_and_other_settings_do_not(trained):
    folder, settings, _, _ = trained

    with pytest.raises(BadInput, match="other settings"):
        fit_views(replace(settings, seed=1, steps=81), folder, device=CPU)

    log = (folder / "work" / "log.jsonl").read_text()
    longer = fit_views(replace(settings, steps=81), folder, device=CPU)
    added = (folder / "work" / "log.jsonl").read_text()[len(log) :]
    assert longer["steps"] == 81
    assert added.count('"loss"') <= 1


def test_the_guide_of_a_folder_keeps_the_protocol_and_hears_text_and_camera(trained):
    guide = load_guide(str(trained[0]))
    text = guide.encode(["a rainbow fish", "", "an orange zigzag ball with wings"])
    step = torch.full((3,), 400)
    noisy = torch.randn(3, 3, 16, 16, generator=dice())
    where = random_cameras(3, dice())

    told = guide.noise(noisy, step, text, where)

    assert isinstance(guide, Guide)
    assert guide.size_px == 16
    assert guide.alphas[0] > 0.99
    assert guide.alphas[-1] < 0.01
    assert torch.equal(told, guide.noise(noisy, step, text, where))
    assert not torch.equal(told, guide.noise(noisy, step, text.flip(0), where))
    other = cameras_at(where.yaw + 1, where.pitch)
    assert not torch.equal(told, guide.noise(noisy, step, text, other))
    assert guide.latents(noisy) is noisy
    assert not told.requires_grad


class KnowsThePicture:
    """Networks that know the clean pictures."""

    size = ViewSize(size_px=16, unet=(8, 16))

    def __init__(self, pictures):
        self.pictures = pictures

    def clean(self, noisy, step, text, cameras):
        return self.pictures


@pytest.fixture
def oracle(trained):
    """A guide that knows what it has to draw: two colors."""
    guide = load_views(trained[0])
    pictures = torch.tensor([[-0.5, 0.0, 0.8], [0.9, -0.9, 0.1]])[:, :, None, None]
    known = KnowsThePicture(pictures.expand(2, 3, 16, 16))
    known.tokenizer, known.text_encoder = guide.networks.tokenizer, guide.networks.text_encoder
    known.unet = guide.networks.unet
    return ViewsGuide(known, identity="oracle")


def test_noise_is_what_a_picture_is_without_its_clean_self(oracle):
    noise = torch.randn(2, 3, 16, 16, generator=dice())
    step = torch.tensor([100, 900])
    share = oracle.alphas[step][:, None, None, None]
    noisy = share.sqrt() * oracle.networks.pictures + (1 - share).sqrt() * noise

    found = oracle.noise(noisy, step, torch.zeros(2, 1, 1), random_cameras(2, dice()))

    assert torch.allclose(found, noise, atol=1e-3)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_sampling_arrives_at_the_picture_that_the_networks_mean(oracle, guidance):
    made = drawn(oracle, ["a", "b"], random_cameras(2, dice()), steps=5, guidance=guidance)

    assert torch.allclose(made, (oracle.networks.pictures + 1) / 2, atol=1e-3)


def test_a_sheet_has_a_row_a_prompt_and_a_column_a_view(trained, tmp_path):
    write_sheet(load_views(trained[0]), ["a rainbow fish"] * 2, tmp_path / "s.png", views=3)

    assert Image.open(tmp_path / "s.png").size == (48, 32)


def test_patches_are_put_back_where_they_were_taken(tmp_path):
    settings = ViewsSettings(
        size=replace(TINY, patch=2), toys=FEW, steps=1, batch=2, seeds=1, views=1, save_every=1e9
    )
    fit_views(settings, tmp_path, device=CPU)
    guide = load_views(tmp_path)
    text, where = guide.encode([""]), random_cameras(1, dice())
    noisy = torch.randn(1, 3, 16, 16, generator=dice())
    near = noisy.clone()
    near[..., :2, :2] += 5

    change = guide.noise(near, torch.tensor([500]), text, where)
    change = (change - guide.noise(noisy, torch.tensor([500]), text, where)).abs().sum((0, 1))

    assert change.shape == (16, 16)
    assert change[:2, :2].mean() > 3 * change[8:, 8:].mean()


@pytest.mark.parametrize("damage", ["manifest.json", "unet/config.json", "tokenizer"])
def test_a_damaged_teacher_is_refused(trained, tmp_path, damage):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    gone = folder / damage
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

    with pytest.raises(BadInput):
        load_views(folder)


def test_sizes_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="cannot be halved"):
        ViewSize(size_px=36)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    settings = judges.JudgeSettings(
        width=12, toys=FEW, seconds=1e6, steps=60, batch=16, seeds=2, views=8, peak_rate=4e-3
    )
    return folder, settings, judges.fit_judge(settings, folder, device=CPU)


def test_a_judge_learns_what_toys_have_on_other_toys_and_views(judged):
    folder, settings, accuracy = judged

    assert accuracy["theme"] > 0.6
    assert accuracy["shape"] > 0.6
    assert accuracy["accessory"] > 0.8
    assert judges.fit_judge(settings, folder, device=CPU) == accuracy


def test_the_judge_of_a_folder_answers_with_probabilities(judged, bank):
    judge = judges.load_judge(judged[0])
    pictures = bank.pictures(torch.arange(6), torch.full((6, 3), 0.5))

    answers = judge.log_probs(pictures)

    assert {name: len(words) for name, words in judge.words.items()} == {
        name: found.shape[1] for name, found in answers.items()
    }
    for found in answers.values():
        assert torch.allclose(found.exp().sum(1), torch.ones(6))
    large = pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)
    again = judge.log_probs(large)
    assert torch.allclose(again["theme"].exp(), answers["theme"].exp(), atol=0.1)


def test_the_score_of_a_prompt_is_the_sum_of_what_it_asks_for(judged, bank):
    judge = judges.load_judge(judged[0])
    pictures = bank.pictures(torch.arange(4), torch.full((4, 3), 0.5))
    answers = judge.log_probs(pictures)

    scores = judge.scores(pictures, ["a yellow star", "a rainbow fish with a hat"])

    theme, shape = judge.words["theme"].index("rainbow"), judge.words["shape"].index("fish")
    hat = judge.words["accessory"].index("hat")
    wanted = answers["theme"][:, theme] + answers["shape"][:, shape] + answers["accessory"][:, hat]
    assert torch.allclose(scores[:, 1], wanted)
    assert scores.shape == (4, 2)


def test_disturbed_pictures_are_others_within_range_and_the_same_for_the_same_dice(bank):
    pictures = bank.pictures(torch.arange(8), torch.full((8, 3), 0.5))

    made = judges.disturbed(pictures, dice(1))

    assert torch.equal(made, judges.disturbed(pictures, dice(1)))
    assert 0 <= made.min() <= made.max() <= 1
    change = (made - pictures).abs().mean((1, 2, 3))
    assert change.min() > 0.01
    assert change.max() < 0.4
    assert np.isfinite(float(made.sum()))
    assert math.isfinite(float(change.sum()))


def test_pictures_are_scored_by_what_they_show_and_from_where(judged):
    judge = judges.load_judge(judged[0])
    asked = ["a rainbow heart", "a black and white fish", "a yellow star"] * 4
    cameras = random_cameras(12, dice(5))
    backgrounds = torch.rand(12, 3, generator=dice(6))
    real = score.renders(asked, cameras, 32, backgrounds, seed=7)
    turned = cameras_at(cameras.yaw + math.pi / 2, cameras.pitch)

    right = score.scored(judge, real, asked, score.eyes_expected(asked, cameras))

    wrong = score.scored(judge, real, asked[1:] + asked[:1], score.eyes_expected(asked, cameras))
    assert right["prompt"] > wrong["prompt"] + 0.3
    assert right["eyes"] == wrong["eyes"]
    assert score.from_where(real, asked, cameras) > 0.8
    assert score.from_where(real, asked, turned) < 0.5
