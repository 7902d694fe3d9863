"""Budgets of seconds and steps."""

import time

import pytest

from edgekit.distill.journal import Clock


def test_forgiven_seconds_are_not_spent():
    clock = Clock(budget=10.0, started=time.monotonic() - 12.0)
    assert clock.over

    clock.forgive(7.0)

    assert clock.spent == pytest.approx(5.0, abs=0.5)
    assert not clock.over
