"""The featuriser, as numpy: hashed byte n-grams, presence only. It is the specification of what the ONNX graph computes.

A text becomes bytes (`guard.scoring.windows.encode`), the bytes become bucket numbers: one per byte n-gram of length 1 to 6.
The harm head weighs the set of them twice: for the whole text (`buckets`) and for each of its lines alone with the kind (`line_keys`),
and the higher margin wins, so that a harmful line keeps its weight among harmless ones. Everything is integer arithmetic below 2**62, so that the graph's int64 gives the same numbers on every machine.
Weights, labels and corpora never enter here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

BITS: Final = 18
"""2**18 buckets: beyond it the figures no longer rise, below it collisions cost recall; also what the dedup table costs to clear."""
N_MAX: Final = 6
"""Longest n-gram in bytes; 6 spans `rm -rf`, longer ones gained nothing on unseen sources."""
STEP: Final = 2_654_435
MIX: Final = 3_266_489
"""Two odd multipliers below 2**22, so that a product with a 40-bit state stays below 2**62."""
STATE_BITS: Final = 40
STATE_MASK: Final = (1 << STATE_BITS) - 1

Buckets = NDArray[np.int64]


def hash_ngrams(data: NDArray[np.uint8]) -> Iterator[Buckets]:
    """Yield, for n = 1 … 6, the buckets of all n-grams of `data` in order (the n-th array has len(data) - n + 1 entries)."""
    symbols = data.astype(np.int64) + 1
    state = np.zeros_like(symbols)
    for n in range(1, N_MAX + 1):
        tail = symbols[n - 1 :]
        state = ((state[: len(tail)] + tail) * STEP) & STATE_MASK
        yield ((state * MIX) & STATE_MASK) >> (STATE_BITS - BITS)


def buckets(data: bytes) -> Buckets:
    """Buckets of one encoded text, all n one after the other, repetitions included (the graph's output of this name)."""
    return np.concatenate(list(hash_ngrams(np.frombuffer(data, dtype=np.uint8))))


def line_keys(data: NDArray[np.uint8]) -> Buckets:
    """Which buckets each line has: sorted distinct `line << BITS | bucket`, lines counted from 0, the first being the kind's.

    A line's n-grams are those between the newline before it and the newline after it, both included; an n-gram of the newline
    alone belongs to no line.
    """
    breaks = (data == ord("\n")).astype(np.int64)
    as_first = np.cumsum(breaks)
    as_last = as_first - breaks
    keys = []
    for n, found in enumerate(hash_ngrams(data), start=1):
        line = as_first[: len(found)]
        keys.append((line << BITS | found)[line == as_last[n - 1 :]])
    ordered = np.sort(np.concatenate(keys))
    distinct: Buckets = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return distinct
