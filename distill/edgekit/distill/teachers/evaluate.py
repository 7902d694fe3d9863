"""Score a finished teacher edit by edit: `python -m edgekit.distill.teachers.evaluate --help`.

Every edit is compared with its operator on held-out photos, beside two yardsticks: the untouched
source (what doing nothing scores) and the operator's picture sent through the autoencoder (what a
perfect editor could score).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from edgekit.core.tensors import Photos
from edgekit.distill.metrics import mean_compared
from edgekit.distill.teachers import measure
from edgekit.distill.teachers.card import file_facts
from edgekit.distill.teachers.corpus import read_corpus, test_bank
from edgekit.distill.teachers.sampling import Editor, sampled_edits
from edgekit.distill.teachers.tasks import Task, performed
from edgekit.distill.teachers.train import MEASURED_PAIRS

PROTOCOL = "teacher-1"
"""Held-out photos, square crops, uint8 at every comparison, means over photos."""


def read_editor(folder: Path, device: torch.device) -> Editor:
    """Load the networks of a bundled-type teacher in float32."""
    return Editor(
        AutoencoderTiny.from_pretrained(folder / "vae").to(device).eval(),
        UNet2DConditionModel.from_pretrained(folder / "unet").to(device).eval(),
        CLIPTextModel.from_pretrained(folder / "text_encoder").to(device).eval(),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    )


def _bytes(images: Tensor) -> Photos:
    scaled = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


@torch.no_grad()
def edit_table(
    editor: Editor,
    images: Tensor,
    tasks: Mapping[str, Task],
    *,
    steps: int,
    guidance: float,
    seed: int,
    ceiling: bool = False,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """Score every prompt of `tasks` against its operator, over `images` (n, 3, h, w) in [0, 1].

    Each row also scores the untouched source and, with `ceiling`, the autoencoder alone. Finished
    rows are appended to `ledger`, and those that it already holds are not computed again.
    """
    table: dict[str, Any] = _finished(ledger)
    for prompt, task in tasks.items():
        if prompt in table:
            continue
        wanted = performed(task, images)
        prompts = [prompt] * len(images)
        made = sampled_edits(editor, images, prompts, steps=steps, guidance=guidance, seed=seed)
        print(prompt, file=sys.stderr, flush=True)
        row: dict[str, Any] = {
            "teacher": mean_compared(_bytes(wanted), _bytes(made)),
            "source": mean_compared(_bytes(wanted), _bytes(images)),
        }
        if ceiling:
            rebuilt = editor.autoencoder.decoder(editor.autoencoder.encoder(wanted * 2 - 1))
            row["autoencoder"] = mean_compared(_bytes(wanted), _bytes((rebuilt + 1) / 2))
        table[prompt] = row
        if ledger is not None:
            with ledger.open("a") as lines:
                lines.write(json.dumps([prompt, row]) + "\n")
    return {prompt: table[prompt] for prompt in tasks}


def _finished(ledger: Path | None) -> dict[str, Any]:
    if ledger is None or not ledger.exists():
        return {}
    return dict(json.loads(line) for line in ledger.read_text().splitlines())


def table_mean(table: Mapping[str, Any], who: str = "teacher") -> dict[str, float]:
    """Mean of each metric over the rows of a table, leaving out what is not defined."""
    rows = [row[who] for row in table.values()]
    return {
        name: round(sum(row[name] for row in rows) / len(rows), 5)
        for name in rows[0]
        if all(row[name] is not None for row in rows)
    }


def evaluated(
    folder: Path,
    photos: Path,
    *,
    size: int = 256,
    per_set: int = 8,
    steps: int = 8,
    guidance: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    other_steps: Sequence[int] = (),
    other_guidance: Sequence[float] = (),
    ceiling: bool = False,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """All scores of the teacher in `folder` on the held-out photos of `photos`, ready for JSON.

    `ledger` keeps the rows of the main table; it belongs to one call with the same arguments.
    The other numbers of steps and guidance scales are tried on every fifth edit.
    """
    place = torch.device(device)
    editor = read_editor(folder, place)
    bank = test_bank(read_corpus(photos), size=size, device=place)
    images = measure.held_out(bank, per_set)
    tasks = measure.measured_tasks(MEASURED_PAIRS)
    weights = file_facts(folder)["unet/diffusion_pytorch_model.safetensors"]["sha256"]
    table = edit_table(
        editor,
        images,
        tasks,
        steps=steps,
        guidance=guidance,
        seed=seed,
        ceiling=ceiling,
        ledger=ledger,
    )
    few = dict(list(tasks.items())[::5])
    sampling = {"steps": steps, "guidance": guidance}
    variants = [
        *({"steps": number, "guidance": guidance} for number in other_steps),
        *({"steps": steps, "guidance": scale} for scale in other_guidance),
    ]
    return {
        "protocol": f"{PROTOCOL}/{size}px/n={len(images)}/seed={seed}",
        "unet_sha256": weights,
        "photos": {name: min(per_set, len(squares)) for name, squares in bank.sets.items()},
        "host": {"machine": platform.machine(), "torch": torch.__version__, "device": device},
        "sampling": sampling,
        "mean": {who: table_mean(table, who) for who in next(iter(table.values()))},
        "variants_on": list(few),
        "variants": [
            {**sampling, "mean": table_mean({prompt: table[prompt] for prompt in few})},
            *(
                {
                    **variant,
                    "mean": table_mean(
                        edit_table(
                            editor,
                            images,
                            few,
                            steps=int(variant["steps"]),
                            guidance=float(variant["guidance"]),
                            seed=seed,
                        )
                    ),
                }
                for variant in variants
            ),
        ],
        "edits": table,
    }


def main() -> None:
    """Read the command line, write one JSON file."""
    parser = argparse.ArgumentParser(description="Score a teacher on held-out photos.")
    parser.add_argument("teacher", type=Path)
    parser.add_argument("photos", type=Path, help="a corpus; see edgekit.distill.teachers.corpus")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--per-set", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--other-steps", type=int, nargs="*", default=[])
    parser.add_argument("--other-guidance", type=float, nargs="*", default=[])
    parser.add_argument("--ceiling", action="store_true", help="also score the autoencoder alone")
    parser.add_argument("--ledger", type=Path, help="keeps finished rows, so that a run resumes")
    parser.add_argument("--device", default="cpu")
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    scores = evaluated(asked.pop("teacher"), asked.pop("photos"), **asked)
    out.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
