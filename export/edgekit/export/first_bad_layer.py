"""Where does a converted file leave the student? Bisection over the program's own graph.

The program is cut after its n-th operation; everything still alive at the cut becomes an output,
the cut is converted like the whole was, and its values are compared with PyTorch's. A wrong value
stays alive until it is used, so "some value is wrong" only ever turns from no to yes as n grows,
and about log2(operations) conversions find the operation that turns it. It works for every
format that can be executed, and needs nothing of the converter but its convert function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekit.core.seams import Precision
from edgekit.core.tensors import Batch
from edgekit.export.graph import Node, described, tensor_nodes
from edgekit.export.parity import MAX_ABS, PASS_DB, max_abs, psnr_db
from edgekit.export.program import Feed, Program, prefix, run


def first_bad_layer(
    program: Program,
    feed: Feed,
    precision: Precision,
    execute: Callable[[Program], Mapping[str, Batch]],
) -> str:
    """Return the first operation of `program` whose converted value is wrong, described in words.

    `execute` converts a program, runs it on `feed` and returns its outputs in the ports' layout.
    """
    nodes = tensor_nodes(program.module)
    good, bad = -1, len(nodes) - 1  # the whole is known to be wrong
    while bad - good > 1:
        middle = (good + bad) // 2
        if _is_wrong(program, nodes[middle], feed, precision, execute):
            bad = middle
        else:
            good = middle
    return described(nodes[bad])


def _is_wrong(
    program: Program,
    node: Node,
    feed: Feed,
    precision: Precision,
    execute: Callable[[Program], Mapping[str, Batch]],
) -> bool:
    part = prefix(program, node.name)
    expected = run(part, feed)
    try:
        got = execute(part)
    except Exception:  # a part that cannot be converted or run by itself says nothing
        return False
    return any(_differs(expected[name], got[name], precision) for name in expected)


def _differs(expected: Batch, got: Batch, precision: Precision) -> bool:
    """Inner values have no fixed range, so both bars are relative to the range that is there."""
    low, high = float(np.min(expected)), float(np.max(expected))
    if precision == "fp32":
        return max_abs(expected, got) > MAX_ABS * max(1.0, abs(low), abs(high))
    peak = max(high - low, 1e-6)
    return psnr_db(expected, got, peak=peak) < PASS_DB[precision]
