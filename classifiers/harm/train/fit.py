"""Fits the two linear heads and judges them on sources they never saw. Arrays in, arrays and figures out; no files here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array
from sklearn.linear_model import LogisticRegression

from guard.scoring.values import LABELS
from guard.scoring.windows import windows

from . import features
from .corpus import Row

INVERSE_PENALTY: Final = 10.0
"""liblinear's C; 1 lost a fifth of the recall at 0.5 %, 30 gained nothing."""
REAL_HARM_WEIGHT: Final = 10.0
"""Real harmful rows are outnumbered 8 to 1 by generated ones; 3 to 30 give the same figures."""
TWIN_WEIGHT: Final = 0.15
"""Chosen for recall at 0.1 % and hand-written cases; the card's `tried` has the figures."""
SEED: Final = 20_240
_TOLERANCE: Final = 0.01
_RARITY_EXPONENT: Final = 1.5

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Every line of every window, the lines that name a kind included."""

    presence: csr_matrix
    """One row per line: 1 for each bucket in it."""
    kind: NDArray[np.int64]
    """Per line: which line names its window's kind."""
    norm: Floats
    """Per line: square root of the number of buckets in it and in its kind's line."""
    owner: NDArray[np.int64]
    """Per line: index of the row that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows cut into windows and their lines."""

    rows: Sequence[Row]
    windows: csr_matrix
    window_owner: NDArray[np.int64]
    """Index of the row that a window belongs to."""
    lines: Lines
    """Judged, not learned from: lines of a harmful script may be harmless, and learning harmless ones changed no figure."""
    harmful: Flags
    """Per row."""
    source: NDArray[np.str_]
    """Per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What was learned: one weight a bucket for harm, one a bucket and label for the label."""

    weights: NDArray[np.float32]
    bias: float
    label_weights: NDArray[np.float32]
    label_bias: NDArray[np.float32]


def tabulate(rows: Sequence[Row]) -> Table:
    """Cut and hash all rows."""
    cuts = [windows(row.kind, row.text).pieces for row in rows]
    owner = np.repeat(np.arange(len(rows)), [len(pieces) for pieces in cuts])
    pieces = [piece for pieces in cuts for piece in pieces]
    return Table(
        rows=rows,
        windows=_window_matrix(pieces),
        window_owner=owner,
        lines=_lines(pieces, owner),
        harmful=np.array([row.harmful for row in rows]),
        source=np.array([row.source for row in rows]),
    )


def _window_matrix(pieces: Sequence[bytes]) -> csr_matrix:
    """One row per window: the set of `features.buckets`, each with the value 1/sqrt(number of them)."""
    data = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    owner = np.repeat(np.arange(len(pieces), dtype=np.int64), [len(piece) for piece in pieces])
    keys = []
    for n, found in enumerate(features.hash_ngrams(data), start=1):
        inside = owner[: len(found)] == owner[n - 1 :]
        keys.append((owner[: len(found)] << features.BITS | found)[inside])
    ordered = np.sort(np.concatenate(keys))
    present = _presence(ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])], len(pieces))
    present.data /= np.repeat(np.sqrt(np.diff(present.indptr)), np.diff(present.indptr)).astype(np.float32)
    return present


def _lines(pieces: Sequence[bytes], owner: NDArray[np.int64]) -> Lines:
    """`features.line_keys` of all windows at once; the line that names a window's kind goes into every line of it."""
    data = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    keys = features.line_keys(data)
    starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
    kind_line = np.cumsum(data == ord("\n"))[starts]  # the newline that ends a window opens the next window's kind line
    present = _presence(keys, int(keys[-1] >> features.BITS) + 1)
    sizes = np.diff(present.indptr).astype(np.float64)
    window = np.searchsorted(kind_line, np.arange(present.shape[0]), side="right") - 1
    return Lines(
        presence=present, kind=kind_line[window], norm=np.sqrt(sizes + sizes[kind_line[window]]), owner=owner[window]
    )


def _presence(keys: NDArray[np.int64], count: int) -> csr_matrix:
    """A matrix of ones from sorted distinct `row << BITS | bucket`."""
    rows, columns = keys >> features.BITS, keys & ((1 << features.BITS) - 1)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    return csr_matrix(
        (np.ones(len(keys), dtype=np.float32), columns.astype(np.int32), starts), shape=(count, 1 << features.BITS)
    )


def fit(table: Table, allowed: Flags) -> Heads:
    """Learn both heads from the rows marked in `allowed`. The same input gives the same weights."""
    seen = np.flatnonzero(allowed[table.window_owner])
    target = table.harmful[table.window_owner[seen]]
    rarity = _rarity(table.windows[seen])
    weights, bias = _regress(table.windows[seen] @ diags_array(rarity), target, _weights(table, seen))
    label_weights, label_bias = _fit_labels(table, seen[target])
    return Heads(
        weights=(weights * rarity).astype(np.float32), bias=bias, label_weights=label_weights, label_bias=label_bias
    )


def _regress(matrix: csr_matrix, target: Flags, weights: Floats) -> tuple[NDArray[np.float32], float]:
    """Logistic regression over the columns that occur (the time of liblinear grows with all of them); others get 0."""
    present = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
    place = np.zeros(matrix.shape[1], dtype=np.int32)
    place[present] = np.arange(len(present))
    narrow = csr_matrix((matrix.data, place[matrix.indices], matrix.indptr), shape=(matrix.shape[0], len(present)))
    model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear", tol=_TOLERANCE, random_state=SEED)
    model.fit(narrow, target, sample_weight=weights)
    result = np.zeros(matrix.shape[1], dtype=np.float32)
    result[present] = model.coef_[0]
    return result, float(model.intercept_[0])


def _rarity(windows_seen: csr_matrix) -> Floats:
    """Per bucket: how freely its weight may move, from its inverse document frequency; 1 for one window in 55, 2.7 for one in 2,400.

    A bucket scaled up in training is penalised less; the scale is then folded into the weight, so that the graph knows nothing of
    it. The card's `tried` has the figures.
    """
    documents = np.bincount(windows_seen.indices, minlength=windows_seen.shape[1])
    rarity: Floats = (np.log((windows_seen.shape[0] + 1) / (documents + 1)) / 4) ** _RARITY_EXPONENT
    return rarity


def _weights(table: Table, seen: NDArray[np.int64]) -> Floats:
    """A row counts once however many windows it has; real harmful rows count more than generated ones, twins less."""
    owner = table.window_owner[seen]
    windows_of = np.bincount(owner, minlength=len(table.rows))
    weights: Floats = 1.0 / windows_of[owner]
    real = table.harmful & ~np.isin(table.source, ("synthetic-templates", "twins"))
    weights[real[owner]] *= REAL_HARM_WEIGHT
    weights[(table.source == "twins")[owner]] *= TWIN_WEIGHT
    return weights


def _fit_labels(table: Table, seen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One label against the rest; a label without rows gets weights of zero and a bias that never wins."""
    present = np.array([table.rows[row].label for row in table.window_owner[seen]])
    weights = np.zeros((table.windows.shape[1], len(LABELS)), dtype=np.float32)
    bias = np.full(len(LABELS), -30.0, dtype=np.float32)
    inside, sample_weight = table.windows[seen], _weights(table, seen)
    for column, label in enumerate(LABELS):
        target = present == label
        if target.any() and not target.all():
            weights[:, column], bias[column] = _regress(inside, target, sample_weight)
    return weights, bias


def margins(table: Table, heads: Heads, rows: Flags) -> Floats:
    """Per row (nan where not in `rows`): the largest margin of its windows and of their lines, as the graph takes it."""
    result = np.full(len(table.rows), -np.inf)
    weights = heads.weights.astype(np.float64)
    seen = np.flatnonzero(rows[table.window_owner])
    np.maximum.at(result, table.window_owner[seen], table.windows[seen] @ weights + heads.bias)
    totals = table.lines.presence @ weights
    by_line = (totals + totals[table.lines.kind]) / table.lines.norm + heads.bias
    seen = np.flatnonzero(rows[table.lines.owner] & (table.lines.kind != np.arange(len(totals))))
    np.maximum.at(result, table.lines.owner[seen], by_line[seen])
    result[~rows] = np.nan
    return result


def labels(table: Table, heads: Heads, rows: Flags) -> NDArray[np.int64]:
    """Per row (-1 where not in `rows`): the winning label of its first window."""
    first = np.flatnonzero(np.concatenate([[True], table.window_owner[1:] != table.window_owner[:-1]]))
    result = np.full(len(table.rows), -1, dtype=np.int64)
    chosen = first[rows]
    result[rows] = np.argmax(table.windows[chosen] @ heads.label_weights + heads.label_bias, axis=1)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Every measurable row scored by a model that never saw its group of sources."""

    margins: Floats
    """Per row; nan for rows of generated sources, which are never measured on."""
    labels: NDArray[np.int64]
    """Per row; -1 likewise."""


def leave_groups_out(table: Table, groups: Sequence[tuple[str, ...]]) -> Unseen:
    """Fit once per group of sources without it, and score it."""
    scores = np.full(len(table.rows), np.nan)
    named = np.full(len(table.rows), -1, dtype=np.int64)
    for group in groups:
        held = np.isin(table.source, group)
        if held.any() and not held.all():
            heads = fit(table, ~held)
            scores[held] = margins(table, heads, held)[held]
            named[held] = labels(table, heads, held)[held]
    return Unseen(margins=scores, labels=named)
