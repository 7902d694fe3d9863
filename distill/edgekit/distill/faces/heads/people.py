"""Who a rendered person is: everything that stays the same from picture to picture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

SKIN_TONES: tuple[tuple[int, int, int], ...] = (
    *((243, 215, 200), (233, 195, 173), (218, 174, 147), (193, 146, 117)),
    *((158, 112, 86), (117, 82, 64), (82, 58, 48)),
)
"""From light to dark, sRGB; people lie between two neighbours."""
HAIR_COLORS = {
    "black": (22, 18, 17),
    "dark": (46, 32, 24),
    "brown": (82, 55, 36),
    "chestnut": (112, 68, 40),
    "red": (146, 72, 36),
    "blond": (172, 140, 98),
    "gray": (150, 148, 146),
    "white": (214, 212, 208),
}
EYE_COLORS = {
    "brown": (92, 58, 34),
    "dark": (52, 34, 24),
    "hazel": (122, 94, 50),
    "green": (106, 122, 78),
    "blue": (100, 136, 168),
    "gray": (126, 138, 144),
}
BEARDS = ("none", "stubble", "mustache", "goatee", "full")
STYLES = ("bald", "cropped", "short", "swept", "bob", "long", "tied")


@dataclass(frozen=True, slots=True)
class Person:
    """Looks of one person; colours are sRGB from 0 to 255, strengths from 0 to 1."""

    seed: int
    shape: np.ndarray
    """Weights of the head model's identity shapes."""
    skin: tuple[float, float, float]
    age: float
    freckles: float
    blush: float
    moles: tuple[tuple[float, float, float], ...]
    """x and y on the face in centimetres, and radius."""
    lips: float
    """How much redder than the skin."""
    brow_thickness: float
    brow_lift: float
    brow_strength: float
    hair: tuple[float, float, float]
    beard_color: tuple[float, float, float]
    style: str
    volume: float
    """Thickness of the hair, in centimetres."""
    fringe: float
    """How far the hairline lies below the usual one, in centimetres; negative: it recedes."""
    parting: float
    """Where the hair parts: -1 right, 0 in the middle, 1 left."""
    curl: float
    beard: str
    eyes: tuple[float, float, float]
    cloth: tuple[float, float, float]
    collar: float


def person_of(seed: int, number: int, *, shapes: int = 100) -> Person:
    """Return person `number` of a population; the same for the same two numbers."""
    digest = hashlib.sha256(f"person/{seed}/{number}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest[:16], np.uint32))
    feminine = rng.random() < 0.5
    tone = rng.beta(1.1, 1.3)
    age = float(rng.beta(1.3, 1.8))
    skin = _between(SKIN_TONES, tone) * rng.normal(1, 0.012, 3) * rng.normal(1, 0.03)
    hair = _hair(rng, tone, age)
    styles = {True: (0.01, 0.04, 0.1, 0.15, 0.24, 0.3, 0.16)}.get(
        feminine, (0.14, 0.24, 0.34, 0.2, 0.03, 0.03, 0.02)
    )
    beards = (1.0, 0.0, 0.0, 0.0, 0.0) if feminine else (0.45, 0.27, 0.07, 0.08, 0.13)
    style = str(rng.choice(STYLES, p=styles))
    bangs = 3.4 * float(rng.random() < 0.3) * float(rng.uniform(0.6, 1)) * feminine
    receding = 0.0 if feminine else rng.beta(1, 3) * (0.6 + 2.4 * age)
    return Person(
        seed=int(rng.integers(1, 2**20)),
        shape=np.clip(rng.normal(0, 1, shapes), -2.2, 2.2).astype(np.float32),
        skin=_color(skin),
        age=age,
        freckles=float(max(0.0, rng.normal(-0.3, 0.6))) * float(tone < 0.55),
        blush=float(rng.beta(2, 3)),
        moles=tuple(
            (float(rng.uniform(-6, 6)), float(rng.uniform(-6, 9)), float(rng.uniform(0.1, 0.24)))
            for _ in range(rng.poisson(1.2))
        ),
        lips=float(np.clip(rng.beta(2, 4) + 0.45 * feminine * rng.random(), 0, 1)),
        brow_thickness=float(np.clip(rng.normal(0.42 if feminine else 0.56, 0.1), 0.25, 0.85)),
        brow_lift=float(rng.normal(0.12 if feminine else -0.05, 0.12)),
        brow_strength=float(rng.uniform(0.75, 1.0)),
        hair=_color(hair),
        beard_color=_color(hair * rng.normal(0.9, 0.1)),
        style=style,
        volume=float(np.clip(rng.normal(1.0, 0.35), 0.35, 2.0)),
        fringe=float(bangs - receding + rng.normal(0, 0.3)),
        parting=float(rng.choice([-1.0, -0.6, 0.0, 0.6, 1.0])),
        curl=float(rng.beta(1.2, 2.5)),
        beard=str(rng.choice(BEARDS, p=beards)),
        eyes=_color(_eyes(rng, tone)),
        cloth=_color(rng.uniform(0, 1) * rng.uniform(30, 235, 3) + rng.uniform(5, 40)),
        collar=float(rng.uniform(-13.5, -9.5)),
    )


def _hair(rng: np.random.Generator, tone: float, age: float) -> np.ndarray:
    names = ["black", "dark", "brown", "chestnut", "red", "blond"]
    light = np.array([0.08, 0.22, 0.26, 0.14, 0.08, 0.22])
    dark = np.array([0.72, 0.22, 0.05, 0.01, 0.0, 0.0])
    share = np.clip((tone - 0.15) / 0.25, 0, 1)
    name = str(rng.choice(names, p=(1 - share) * light + share * dark))
    color = np.array(HAIR_COLORS[name], float) * rng.normal(1, 0.12)
    graying = np.clip((age - 0.55) * 2.6 + rng.normal(0, 0.25), 0, 1)
    old = np.array(HAIR_COLORS["white" if age > 0.85 else "gray"], float)
    mixed: np.ndarray = color * (1 - graying) + old * graying
    return mixed


def _eyes(rng: np.random.Generator, tone: float) -> np.ndarray:
    light = np.array([0.26, 0.08, 0.16, 0.14, 0.24, 0.12])
    dark = np.array([0.45, 0.53, 0.02, 0.0, 0.0, 0.0])
    share = np.clip((tone - 0.2) / 0.3, 0, 1)
    name = str(rng.choice(list(EYE_COLORS), p=(1 - share) * light + share * dark))
    color: np.ndarray = np.array(EYE_COLORS[name], float) * rng.normal(1, 0.1)
    return color


def _between(colors: tuple[tuple[int, int, int], ...], share: float) -> np.ndarray:
    place = min(share, 0.999) * (len(colors) - 1)
    first = int(place)
    low, high = np.array(colors[first], float), np.array(colors[first + 1], float)
    mixed: np.ndarray = low + (high - low) * (place - first)
    return mixed


def _color(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 2, 250).tolist()
    return red, green, blue
