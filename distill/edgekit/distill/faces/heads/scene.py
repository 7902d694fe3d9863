"""What changes from picture to picture of a person: face, pose, camera, light, background."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

MAX_YAW = 50.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of somebody; angles in degrees."""

    seed: int
    expression: np.ndarray
    """Weights of the head model's expressions."""
    yaw: float
    pitch: float
    roll: float
    distance: float
    """Of the camera, in centimetres."""
    jitter: tuple[float, float, float]
    """Right, down and larger by these shares: a detector is not exact."""
    key: tuple[float, float, float]
    """Direction to the main light."""
    key_color: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    shadow: float
    """How dark the main light's shadows are."""
    background: tuple[tuple[float, float, float], ...]
    exposure: float
    contrast: float


def scene_of(seed: int, person: int, picture: int, names: tuple[str, ...]) -> Scene:
    """Return picture number `picture` of a person; the same for the same numbers."""
    digest = hashlib.sha256(f"scene/{seed}/{person}/{picture}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest[:16], np.uint32))
    warm = float(rng.normal(0, 0.09))
    strength = float(rng.uniform(0.5, 1.0))
    side, height = rng.normal(0, 0.75), rng.uniform(0.0, 1.1)
    key = np.array([np.sin(side), height, np.cos(side)])
    ambient = float(rng.uniform(0.3, 0.62))
    tint = rng.normal(1, 0.06, 3)
    return Scene(
        seed=int(rng.integers(1, 2**20)),
        expression=_expression(rng, names),
        yaw=float(np.clip(rng.normal(0, 17), -MAX_YAW, MAX_YAW)),
        pitch=float(np.clip(rng.normal(0, 7), -22, 22)),
        roll=float(np.clip(rng.normal(0, 5), -15, 15)),
        distance=float(rng.uniform(60, 140)),
        jitter=tuple(rng.normal(0, 0.008, 3).tolist()),
        key=tuple((key / np.linalg.norm(key)).tolist()),
        key_color=tuple((strength * np.array([1 + warm, 1.0, 1 - warm])).tolist()),
        sky=tuple((ambient * tint * np.array([0.97, 1.0, 1.05])).tolist()),
        ground=tuple((ambient * 0.55 * rng.normal(1, 0.1, 3)).tolist()),
        shadow=float(rng.uniform(0.35, 1.0)),
        background=tuple(tuple(c) for c in _backdrop(rng).tolist()),
        exposure=float(rng.normal(1.0, 0.07)),
        contrast=float(rng.normal(1.0, 0.06)),
    )


def _expression(rng: np.random.Generator, names: tuple[str, ...]) -> np.ndarray:
    """Draw a face: smiles often, open mouths sometimes, lids and eyes nearly always."""
    weights = dict.fromkeys(names, 0.0)

    def one(name: str, amount: float) -> None:
        if name in weights:  # a model may have fewer
            weights[name] += amount

    def both(name: str, amount: float, uneven: float = 0.12) -> None:
        for side in ("_L", "_R"):
            one(name + side, amount * float(1 + rng.normal(0, uneven)))

    if rng.random() < 0.55:
        smile = float(rng.beta(2, 2.2))
        both("mouthSmile", smile)
        both("cheekSquint", 0.6 * smile)
        both("eyeSquint", 0.35 * smile)
        if rng.random() < 0.6:
            both("mouthUpperUp", 0.35 * smile)
            both("mouthLowerDown", 0.25 * smile)
    elif rng.random() < 0.3:
        both("mouthFrown", float(rng.beta(2, 4)))
        both("browDown", float(rng.beta(2, 3)))
    if rng.random() < 0.25:
        one("jawOpen", float(rng.beta(1.5, 4)) * 0.7)
    if rng.random() < 0.12:
        one("mouthPucker", float(rng.beta(2, 3)) * 0.7)
    if rng.random() < 0.2:
        both("mouthPress", float(rng.beta(2, 3)) * 0.6)
    if rng.random() < 0.3:
        both("browInnerUp", float(rng.beta(1.5, 3)))
        both("browOuterUp", float(rng.beta(1.5, 3)))
    if rng.random() < 0.15:
        both("noseSneer", float(rng.beta(1.5, 4)))
    both("eyeBlink", float(rng.beta(1.2, 9)) if rng.random() < 0.95 else float(rng.uniform(0.5, 1)))
    aside, above = float(rng.normal(0, 0.2)), float(rng.normal(0, 0.15))
    _gaze(weights, aside, above)
    found = np.array([weights[name] for name in names], np.float32)
    clipped: np.ndarray = np.clip(found, 0, 1)
    return clipped


def _gaze(weights: dict[str, float], aside: float, above: float) -> None:
    inner, outer = ("L", "R") if aside < 0 else ("R", "L")
    for name, amount in (
        (f"eyeLookIn_{inner}", abs(aside)),
        (f"eyeLookOut_{outer}", abs(aside)),
        ("eyeLookUp_L", max(0.0, above)),
        ("eyeLookUp_R", max(0.0, above)),
        ("eyeLookDown_L", max(0.0, -above)),
        ("eyeLookDown_R", max(0.0, -above)),
    ):
        if name in weights:
            weights[name] += amount


def _backdrop(rng: np.random.Generator) -> np.ndarray:
    """Draw three linear colours: mostly muted, sometimes white, dark or blue as in studios."""
    kind = rng.random()
    if kind < 0.2:
        base = np.full(3, rng.uniform(0.45, 0.9))
    elif kind < 0.4:
        base = np.array([0.1, 0.18, 0.4]) * rng.uniform(0.3, 1.4)
    elif kind < 0.5:
        base = np.full(3, rng.uniform(0.01, 0.08))
    else:
        gray = rng.uniform(0.05, 0.5)
        base = gray + (rng.uniform(0, 1, 3) - 0.5) * gray * rng.uniform(0.1, 0.9)
    bright = np.exp(rng.normal(0, rng.choice([0.08, 0.3, 0.6]), (3, 1)))
    tint = np.exp(rng.normal(0, 0.08, (3, 3)))
    colors: np.ndarray = np.clip(base * bright * tint, 0.004, 1.0)
    return colors
