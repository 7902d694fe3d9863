"""Train the bundled teacher: autoencoder, then editor, then measurements and the card.

The work folder keeps the state of both stages; the same call takes up where an interrupted one
ended. The finished teacher is a diffusers folder with a `card.json` that is written last.
"""

import json
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch._dynamo
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from edgekit.distill.fit_state import use_fast_products
from edgekit.distill.journal import Journal
from edgekit.distill.teachers import measure
from edgekit.distill.teachers.card import CARD, write_card
from edgekit.distill.teachers.corpus import Bank, Corpus, read_corpus, test_bank, train_bank
from edgekit.distill.teachers.fit_autoencoder import AutoencoderSettings, fit_autoencoder
from edgekit.distill.teachers.fit_editor import EditorSettings, fit_editor
from edgekit.distill.teachers.networks import (
    Size,
    new_autoencoder,
    new_text_encoder,
    new_tokenizer,
    new_unet,
    parameters_of,
    save_teacher,
    token_ids,
)
from edgekit.distill.teachers.sampling import Editor
from edgekit.distill.teachers.tasks import training_prompts
from edgekit.distill.teachers.vocabulary import BASE_CONCEPTS, EDITS, NEW_CONCEPTS

MEASURED_PAIRS = (("snow", "night"), ("autumn", "watercolor"), ("sunset", "oil"), ("fog", "sketch"))


SAMPLING = MappingProxyType(
    {"steps": 8, "guidance": 1.0, "image_guidance": 1.0, "sizes_px": [128, 256]}
)
"""How the card says that a teacher is to be used: one U-Net pass a step is enough, because what
is asked for is a function of the photo (measured: guidance 1.5 is not closer to the operators)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that decides a teacher."""

    photos: Path
    """A folder of photos; see `corpus`."""
    out: Path
    """Where the finished diffusers folder goes."""
    work: Path
    """Where the state of an unfinished training is kept."""
    seed: int = 0
    size: Size = field(default_factory=Size)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    editor: EditorSettings = field(default_factory=EditorSettings)
    start: Path | None = None
    """A finished teacher whose weights are the starting point."""
    resolution: int = 256
    crops_per_set: int = 4500
    stop_after: float = float("inf")
    """Seconds after which this call saves its state and exports what it has."""
    reserve: float = 25
    """Of these, the seconds kept for export and measurement."""
    measure_per_set: int = 12
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")
    notes: dict[str, Any] = field(default_factory=dict)
    """Further facts for the card."""

    def __post_init__(self) -> None:
        """Reject what could only fail after minutes of training."""
        if self.resolution % 64:
            raise ValueError(f"resolution must be a multiple of 64, got {self.resolution}")
        if self.autoencoder.crop > self.resolution:
            raise ValueError("autoencoder.crop must not exceed resolution")


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of one call."""

    folder: Path
    finished: bool
    """False if `stop_after` came first: the same call continues."""


def train(settings: TrainSettings) -> Trained:
    """Train, export and measure; returns the folder of the teacher.

    A call that is stopped by `stop_after` exports the averaged weights that it has.
    """
    begun = time.monotonic()
    stop_at = begun + settings.stop_after - settings.reserve
    settings.work.mkdir(parents=True, exist_ok=True)
    journal = Journal(settings.work)
    device = torch.device(settings.device)
    use_fast_products(device)
    if device.type == "cuda":
        torch._dynamo.config.suppress_errors = True  # a failed compile falls back to eager
    prompts = training_prompts()
    tokenizer = _tokenizer(settings, prompts)
    model, unet, text = _networks(settings, len(tokenizer), device)
    corpus = read_corpus(settings.photos)
    bank = train_bank(
        corpus,
        size=settings.resolution,
        per_set=settings.crops_per_set,
        seed=settings.seed,
        device=device,
    )
    journal.write("photos", {name: len(squares) for name, squares in bank.sets.items()})
    done = fit_autoencoder(
        model,
        bank,
        settings=settings.autoencoder,
        seed=settings.seed,
        folder=settings.work,
        journal=journal,
        stop_at=stop_at,
    )
    rows = {prompt: row for row, prompt in reversed(list(enumerate(prompts)))}
    if done:
        done = fit_editor(
            unet,
            text,
            model,
            bank,
            prompts=rows,
            ids_PK=token_ids(tokenizer, prompts),
            settings=settings.editor,
            seed=settings.seed,
            folder=settings.work,
            journal=journal,
            stop_at=stop_at,
        )
    save_teacher(
        settings.out,
        autoencoder=model,
        unet=unet,
        text_encoder=text,
        tokenizer_folder=settings.work / "tokenizer",
    )
    editor = Editor(model.eval(), unet.eval(), text.eval(), tokenizer)
    measured = _measured(editor, corpus, settings, device)
    journal.write("measured", measured["autoencoder_psnr_db"])
    spent = _added_seconds(settings.work, time.monotonic() - begun)
    write_card(settings.out, _facts(settings, bank, editor, measured, spent, done))
    return Trained(settings.out, done)


def _tokenizer(settings: TrainSettings, prompts: list[str]) -> CLIPTokenizer:
    folder = settings.work / "tokenizer"
    if (folder / "special_tokens_map.json").exists():
        return CLIPTokenizer.from_pretrained(folder)
    return new_tokenizer(prompts, settings.size, folder)


def _networks(
    settings: TrainSettings, tokens: int, device: torch.device
) -> tuple[AutoencoderTiny, UNet2DConditionModel, CLIPTextModel]:
    with torch.random.fork_rng(devices=[]):  # the constructors know no generator
        torch.manual_seed(settings.seed)
        model, unet = new_autoencoder(settings.size), new_unet(settings.size)
        text = new_text_encoder(settings.size, tokens)
    if settings.start is not None:
        parts = (
            (AutoencoderTiny, "vae", model),
            (UNet2DConditionModel, "unet", unet),
            (CLIPTextModel, "text_encoder", text),
        )
        for kind, name, module in parts:
            module.load_state_dict(kind.from_pretrained(settings.start / name).float().state_dict())
    return model.to(device), unet.to(device), text.to(device)


def _measured(
    editor: Editor, corpus: Corpus, settings: TrainSettings, device: torch.device
) -> dict[str, Any]:
    if not corpus.test:
        return {"autoencoder_psnr_db": {}, "edits_psnr_db": {}}
    bank = test_bank(corpus, size=settings.resolution, device=device)
    images = measure.held_out(bank, settings.measure_per_set)
    tasks = measure.measured_tasks(MEASURED_PAIRS)
    scores = {
        guidance: measure.edit_scores(
            editor, images, tasks, steps=8, guidance=guidance, seed=settings.seed
        )
        for guidance in (1.0, 1.5)
    }
    means = {str(g): sum(s.values()) / len(s) for g, s in scores.items()}
    return {
        "protocol": {
            "photos": len(images),
            "size": settings.resolution,
            "seed": settings.seed,
            "steps": 8,
        },
        "autoencoder_psnr_db": measure.reconstruction(editor, bank),
        "autoencoder_on_edits_psnr_db": measure.edited_reconstruction(editor, images),
        "edits_psnr_db": scores[1.0],
        "mean_psnr_db_by_guidance": means,
    }


def _added_seconds(work: Path, seconds: float) -> float:
    ledger = work / "seconds.json"
    before = float(json.loads(ledger.read_text())) if ledger.exists() else 0.0
    ledger.write_text(json.dumps(before + seconds))
    return before + seconds


def _facts(
    settings: TrainSettings,
    bank: Bank,
    editor: Editor,
    measured: dict[str, Any],
    spent: float,
    finished: bool,
) -> dict[str, Any]:
    listing = settings.photos / "corpus.json"
    parameters = {
        "autoencoder": parameters_of(editor.autoencoder),
        "unet": parameters_of(editor.unet),
        "text_encoder": parameters_of(editor.text_encoder),
    }
    gpu = torch.cuda.get_device_name() if settings.device.startswith("cuda") else None
    return {
        "name": "edgekit bundled teacher",
        "what": "a small text-conditioned latent diffusion editor that stands in for SD or FLUX",
        "licence": "Apache-2.0",
        "finished": finished,
        "parameters": {**parameters, "total": sum(parameters.values())},
        "sampling": dict(SAMPLING),
        "edits": sorted(EDITS),
        "base_concepts": list(BASE_CONCEPTS),
        "new_concepts": list(NEW_CONCEPTS),
        "data": json.loads(listing.read_text())
        if listing.exists()
        else {"sets": {name: len(squares) for name, squares in bank.sets.items()}},
        "seed": settings.seed,
        "settings": {
            "size": asdict(settings.size),
            "autoencoder": asdict(settings.autoencoder),
            "editor": asdict(settings.editor),
            "resolution": settings.resolution,
        },
        "training": {
            "seconds": round(spent, 1),
            "device": gpu or platform.processor() or "cpu",
            "steps": _steps(settings.work),
        },
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
        "metrics": measured,
        **settings.notes,
    }


def _steps(work: Path) -> dict[str, int]:
    steps: dict[str, int] = {}
    for line in (work / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "step" in entry:
            steps[entry["stage"]] = int(entry["step"])
    return steps


def is_finished(folder: Path) -> bool:
    """Whether `folder` holds a teacher whose training reached the end of its budget."""
    card = folder / CARD
    return card.exists() and bool(json.loads(card.read_text()).get("finished"))
