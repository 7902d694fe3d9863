"""What a converter's exception says, in one line: the first of its message, and of its cause."""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 300


def in_one_line(error: BaseException) -> str:
    """Return the first line of `error` and, if it has one, of the exception at the root of it.

    An exporter wraps what went wrong in advice; the operator that it lacks stands at the root.

    >>> try:
    ...     try:
    ...         raise KeyError("no rule for aten.sinc")
    ...     except KeyError as error:
    ...         raise RuntimeError("Failed. Next steps:") from error
    ... except RuntimeError as error:
    ...     print(in_one_line(error))
    Failed. Next steps: ('no rule for aten.sinc')
    """
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    line = _first(error)
    if root is not error and _first(root) not in line:
        line = f"{line} ({_first(root)})"
    return line[: 2 * _LONGEST]


def _first(error: BaseException) -> str:
    text = _COLOURS.sub("", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:_LONGEST]
