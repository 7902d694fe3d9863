import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

from edgekit.distill.journal import Clock, averaged, learning_rate
from edgekit.distill.teachers import corpus
from edgekit.distill.teachers.card import changed_files, read_card, write_card
from edgekit.distill.teachers.evaluate import edit_table, read_editor
from edgekit.distill.teachers.fit_autoencoder import AutoencoderSettings
from edgekit.distill.teachers.fit_editor import EditorSettings
from edgekit.distill.teachers.networks import TOY, new_scheduler, new_tokenizer, token_ids
from edgekit.distill.teachers.sampling import Editor, sampled_edits
from edgekit.distill.teachers.tasks import plain_task, random_task
from edgekit.distill.teachers.train import TrainSettings, train

BUNDLED = Path(__file__).parents[2] / "assets/edgekit/assets/teacher"


def write_photos(folder: Path, names: list[str]) -> None:
    """Smooth random pictures: the training only has to run, not to learn."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        small = np.random.default_rng(number).integers(0, 255, (5, 7, 3), np.uint8)
        Image.fromarray(small).resize((98, 70), Image.Resampling.BICUBIC).save(folder / name)


def toy_settings(root: Path) -> TrainSettings:
    if not (root / "photos").exists():
        write_photos(root / "photos/train/walls", ["a.png", "b.png"])
        write_photos(root / "photos/test/walls", ["c.png"])
    return TrainSettings(
        photos=root / "photos",
        out=root / "teacher",
        work=root / "work",
        size=TOY,
        resolution=64,
        crops_per_set=4,
        measure_per_set=1,
        device="cpu",
        autoencoder=AutoencoderSettings(
            seconds=1e6, steps=6, batch=4, crop=32, pool=8, fresh=2, compile=False, log_every=0.2
        ),
        editor=EditorSettings(
            seconds=1e6, steps=6, batch=4, pool=8, fresh=2, compile=False, log_every=0.2
        ),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A toy teacher, first trained for a few steps and then, by a second call, for more."""
    settings = toy_settings(tmp_path_factory.mktemp("toy"))
    train(replace(settings, editor=replace(settings.editor, steps=2)))
    logged = len((settings.work / "log.jsonl").read_text().splitlines())
    return train(settings), logged


def test_a_second_call_takes_up_the_training_where_the_first_one_ended(trained):
    done, logged = trained
    lines = (done.folder.parent / "work/log.jsonl").read_text().splitlines()[logged:]
    steps = {}
    for entry in map(json.loads, lines):
        if "step" in entry:
            steps.setdefault(entry["stage"], []).append(entry["step"])

    assert done.finished
    assert set(steps["autoencoder"]) == {6}, "the finished stage is not trained again"
    assert steps["editor"][0] == 2
    assert steps["editor"][-1] == 6


def test_a_call_without_time_exports_what_it_has_and_says_that_it_is_unfinished(tmp_path):
    settings = replace(toy_settings(tmp_path), stop_after=0.0, measure_per_set=1)

    stopped = train(settings)

    assert not stopped.finished
    assert not read_card(stopped.folder)["finished"]
    assert changed_files(stopped.folder) == []


def test_the_result_loads_as_a_plain_diffusers_pipeline_and_edits_a_photo(trained):
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(trained[0].folder)
    pipeline.set_progress_bar_config(disable=True)
    image = Image.new("RGB", (64, 64), (120, 60, 30))

    edit = pipeline("make it night", image=image, num_inference_steps=2).images[0]

    assert edit.size == (64, 64)
    assert {p.dtype for p in pipeline.text_encoder.parameters()} == {torch.float32}


def test_the_batched_sampler_computes_what_the_pipeline_computes(trained):
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(trained[0].folder)
    pipeline.set_progress_bar_config(disable=True)
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    editor = Editor(pipeline.vae, pipeline.unet, pipeline.text_encoder, pipeline.tokenizer)

    for guidance in (1.0, 2.0):
        theirs = pipeline(
            "make it night",
            image=image,
            num_inference_steps=3,
            guidance_scale=guidance,
            image_guidance_scale=1.0,
            generator=torch.Generator().manual_seed(5),
            output_type="np",
        ).images[0]
        ours = sampled_edits(editor, pixels, ["make it night"], steps=3, guidance=guidance, seed=5)

        assert np.abs(ours[0].permute(1, 2, 0).numpy() - theirs).max() < 1e-4


def test_the_card_knows_every_file_and_notices_a_changed_one(trained, tmp_path):
    folder = trained[0].folder
    card = read_card(folder)

    assert changed_files(folder) == []
    assert set(card["metrics"]["autoencoder_psnr_db"]) == {"walls", "all"}
    assert card["parameters"]["total"] == sum(
        card["parameters"][name] for name in ("autoencoder", "unet", "text_encoder")
    )
    (tmp_path / "weights.bin").write_bytes(b"one")
    write_card(tmp_path, {"name": "x"})
    (tmp_path / "weights.bin").write_bytes(b"two")
    assert changed_files(tmp_path) == ["weights.bin"]


def test_the_evaluation_scores_the_teacher_beside_the_untouched_source(trained):
    editor = read_editor(trained[0].folder, torch.device("cpu"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tasks = {"make it sepia": plain_task("sepia")}

    table = edit_table(editor, images, tasks, steps=1, guidance=1.0, seed=0, ceiling=True)

    assert set(table["make it sepia"]) == {"teacher", "source", "autoencoder"}
    assert table["make it sepia"]["source"]["psnr_db"] > 0


def test_an_interrupted_evaluation_keeps_its_finished_rows(trained, tmp_path):
    editor = read_editor(trained[0].folder, torch.device("cpu"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ledger = tmp_path / "rows.jsonl"
    how = {"steps": 1, "guidance": 1.0, "seed": 0, "ledger": ledger}

    first = edit_table(editor, images, {"make it sepia": plain_task("sepia")}, **how)
    ledger.write_text(ledger.read_text().replace("psnr_db", "kept"))
    again = edit_table(editor, images, {"make it sepia": plain_task("sepia")}, **how)

    assert first["make it sepia"]["teacher"]["psnr_db"] == again["make it sepia"]["teacher"]["kept"]


def test_the_shipped_teacher_is_whole_and_within_its_limits():
    card = read_card(BUNDLED)
    files = [file for file in BUNDLED.rglob("*") if file.is_file()]

    assert changed_files(BUNDLED) == []
    assert card["parameters"]["total"] <= 11_000_000
    assert sum(file.stat().st_size for file in files) <= 22 * 2**20
    assert max(file.stat().st_size for file in files) < 16_000_000
    assert card["metrics"]["autoencoder_psnr_db"]["all"] >= 29


def test_the_shipped_teacher_makes_night_darker_than_the_photo_and_snow_brighter():
    editor = read_editor(BUNDLED, torch.device("cpu"))
    photo = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
    photo = torch.nn.functional.interpolate(photo, size=(128, 128), mode="bicubic").clamp(0, 1)
    prompts = ["make it night", "make it snowy"]

    night, snow = sampled_edits(
        editor, photo.expand(2, -1, -1, -1), prompts, steps=2, guidance=1.0, seed=0
    )

    assert float(night.mean()) < 0.6 * float(photo.mean())
    assert float(snow.mean()) > 1.1 * float(photo.mean())


def test_an_unknown_word_is_spelled_and_not_lost(tmp_path):
    tokenizer = new_tokenizer(["make it night", "make it snowy"], TOY, tmp_path)

    one, other = token_ids(tokenizer, ["zyx ø", "zyw ø"])

    assert not torch.equal(one, other)
    assert tokenizer.decode(one, skip_special_tokens=True).replace(" ", "") == "zyxø"


def test_the_schedule_ends_in_pure_noise():
    assert float(new_scheduler().alphas_cumprod[-1]) == pytest.approx(0, abs=1e-6)


def test_the_rate_warms_up_and_ends_near_zero():
    early, full = (learning_rate(0.0, step, peak=1.0, warmup=10) for step in (0, 9))

    assert early == pytest.approx(0.1)
    assert full == pytest.approx(1.0)
    assert learning_rate(1.0, 1000, peak=1.0) == pytest.approx(0.01)


def test_a_clock_that_has_no_budget_is_over_at_once():
    assert Clock(0.0).over
    assert not Clock(60.0).over
    assert Clock(60.0, spent_before=61.0).over
    assert Clock(60.0, step_budget=3, step=3).over


def test_the_average_follows_at_first_and_then_holds():
    early, late = [torch.zeros(1)], [torch.zeros(1)]

    averaged(early, [torch.ones(1)], step=0)
    averaged(late, [torch.ones(1)], step=100_000)

    assert float(early[0]) == pytest.approx(0.9)
    assert float(late[0]) == pytest.approx(0.001)


def test_random_tasks_are_the_same_for_the_same_seed_and_differ_within_it():
    def tasks(seed):
        generator = torch.Generator().manual_seed(seed)
        return [random_task(generator) for _ in range(60)]

    assert tasks(4) == tasks(4)
    assert len({task.edits for task in tasks(4)}) > 20
    assert {len(task.edits) for task in tasks(4)} == {1, 2}


def test_a_plain_folder_is_split_by_name_and_never_moves(tmp_path):
    write_photos(tmp_path / "photos", [f"{number}.png" for number in range(40)])

    first = corpus.read_corpus(tmp_path / "photos")
    (tmp_path / "photos/0.png").unlink()
    second = corpus.read_corpus(tmp_path / "photos")

    assert 0 < len(first.test["photos"]) < 12
    assert set(first.train["photos"]).isdisjoint(first.test["photos"])
    assert set(second.test["photos"]) <= set(first.test["photos"])


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no photos"):
        corpus.read_corpus(tmp_path)


def test_only_openly_licensed_photos_are_taken_from_the_archives(tmp_path):
    import csv
    import tarfile

    def archive(name, rows):
        write_photos(tmp_path / name, [row["file"] for row in rows])
        with (tmp_path / name / "index.csv").open("w") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            tar.add(tmp_path / name, name)
        return tmp_path / f"{name}.tar"

    common = {"licence": "some", "source": "there"}
    land = [
        {"file": "a.png", "licence_family": "cc0/pd", "title": "A", **common},
        {"file": "b.png", "licence_family": "cc-by-sa", "title": "B", **common},
        {"file": "c.png", "licence_family": "cc-by", "title": "C", **common},
    ]
    face = [
        {"file": "p.png", "licence_family": "pd", "gray": "0", "split": "train", **common},
        {"file": "q.png", "licence_family": "pd", "gray": "1", "split": "train", **common},
        {"file": "r.png", "licence_family": "mixed", "gray": "0", "split": "test", **common},
    ]

    out = corpus.prepared_corpus(archive("land", land), archive("face", face), tmp_path / "out")
    taken = {file.name for file in out.rglob("*.png")}
    summary = json.loads((out / "corpus.json").read_text())

    assert taken == {"a.png", "c.png", "p.png"}
    assert summary["attribution"] == ["C: some (there)"]
