"""The featuriser, as numpy: hashed byte n-grams, presence only. It is the specification of what the ONNX graph computes.

A text becomes bytes (`encode`), the bytes become a set of bucket numbers (`buckets`): one bucket per byte n-gram of length
1 to 6. Everything is integer arithmetic below 2**62, so that the graph's int64 gives the same numbers on every machine.
Weights, labels and corpora never enter here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

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


def matrix(texts: Sequence[bytes]) -> csr_matrix:
    """One row per encoded text; each bucket present in it has the value 1/sqrt(number of distinct buckets)."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    owner = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    keys = []
    for n, found in enumerate(hash_ngrams(data), start=1):
        inside = owner[: len(found)] == owner[n - 1 :]
        keys.append((owner[: len(found)] << BITS | found)[inside])
    present = np.sort(np.concatenate(keys))
    present = present[np.concatenate([[True], present[1:] != present[:-1]])]
    rows, columns = present >> BITS, present & ((1 << BITS) - 1)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(texts)))])
    values = (1.0 / np.sqrt(np.diff(starts)))[rows].astype(np.float32)
    return csr_matrix((values, columns.astype(np.int32), starts), shape=(len(texts), 1 << BITS))
