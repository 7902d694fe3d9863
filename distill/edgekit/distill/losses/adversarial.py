"""The least-squares adversarial game.

Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks" (arXiv:1611.04076),
equation 9 with a = 0, b = c = 1.
"""

from __future__ import annotations

from torch import Tensor


def discriminator_loss(real_scores: Tensor, made_scores: Tensor) -> Tensor:
    """Small when the teacher's patches score 1 and the student's 0."""
    return ((real_scores - 1) ** 2).mean() / 2 + (made_scores**2).mean() / 2


def generator_loss(made_scores: Tensor) -> Tensor:
    """Small when the student's patches pass for the teacher's."""
    return ((made_scores - 1) ** 2).mean()
