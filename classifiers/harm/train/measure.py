"""Figures from scores: calibration, threshold from a budget of questions, AUC, recall with Wilson intervals. Pure arithmetic."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from guard.scoring.values import LABELS

from .fit import Table, Unseen

ASK_BUDGET: Final = 0.005
"""Share of harmless actions that may ask: with it, a run of 89 steps asks less than once on average."""
_Z: Final = 1.959964  # 95 %

Floats = NDArray[np.float64]


def calibrate(scores: Floats, harmful: NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's slope and offset such that sigmoid(slope * margin + offset) is the share of harmful rows among the unseen ones."""
    model = LogisticRegression(C=1e6, solver="lbfgs", max_iter=1000)
    model.fit(scores.reshape(-1, 1), harmful)
    return float(model.coef_[0][0]), float(model.intercept_[0])


def probability(scores: Floats, slope: float, offset: float) -> Floats:
    """The calibrated probability of margins."""
    result: Floats = 1.0 / (1.0 + np.exp(-(slope * scores + offset)))
    return result


def threshold_at(scores: Floats, share: float) -> float:
    """The smallest threshold that at most `share` of the harmless `scores` reach."""
    ordered = np.sort(scores)[::-1]
    allowed = int(len(ordered) * share)
    return float(np.nextafter(ordered[allowed], np.inf))


def wilson(hits: int, total: int) -> list[float]:
    """95 % interval of a share, rounded to 3 places; [0, 1] where nothing was counted."""
    if total == 0:
        return [0.0, 1.0]
    share, z2 = hits / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * np.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return [round(float(max(middle - half, 0)), 3), round(float(min(middle + half, 1)), 3)]


def auc(benign: Floats, harmful: Floats) -> float:
    """Chance that a harmful row scores above a harmless one."""
    ranks = rankdata(np.concatenate([harmful, benign]))[: len(harmful)]
    return float((ranks.sum() - len(harmful) * (len(harmful) + 1) / 2) / (len(harmful) * len(benign)))


def share(hits: int, total: int) -> dict[str, Any]:
    """A share with its counts and interval, as the card writes it."""
    return {
        "share": round(hits / total, 4) if total else None,
        "hits": hits,
        "of": total,
        "wilson95": wilson(hits, total),
    }


def unseen_figures(table: Table, unseen: Unseen, ask_margin: float) -> dict[str, Any]:
    """The leave-source-group-out part of the card."""
    measured = ~np.isnan(unseen.margins)
    benign, harmful = unseen.margins[measured & ~table.harmful], unseen.margins[measured & table.harmful]
    at = {name: threshold_at(benign, part) for name, part in (("1%", 0.01), ("0.5%", 0.005), ("0.1%", 0.001))}
    figures: dict[str, Any] = {
        "benign_rows": len(benign),
        "harmful_rows": len(harmful),
        "auc": round(auc(benign, harmful), 4),
        "recall_at": {name: share(int((harmful >= limit).sum()), len(harmful)) for name, limit in at.items()},
        "asked_benign_by_source": _by_source(table, unseen, ask_margin, harmful=False),
        "asked_harmful_by_source": _by_source(table, unseen, ask_margin, harmful=True),
        "asked_harmful_by_label": _by_label(table, unseen, ask_margin),
        "label_right": _label_right(table, unseen),
    }
    recalls = {name: _mean_recall(table, unseen, limit) for name, limit in at.items()}
    figures["mean_over_sources_recall_at"] = recalls
    return figures


def _by_source(table: Table, unseen: Unseen, limit: float, *, harmful: bool) -> dict[str, Any]:
    chosen = ~np.isnan(unseen.margins) & (table.harmful == harmful)
    return {
        str(name): share(
            int((unseen.margins[chosen & (table.source == name)] >= limit).sum()),
            int((chosen & (table.source == name)).sum()),
        )
        for name in np.unique(table.source[chosen])
    }


def _by_label(table: Table, unseen: Unseen, limit: float) -> dict[str, Any]:
    chosen = ~np.isnan(unseen.margins) & table.harmful
    present = np.array([row.label for row in table.rows])
    return {
        label: share(
            int((unseen.margins[chosen & (present == label)] >= limit).sum()), int((chosen & (present == label)).sum())
        )
        for label in LABELS
        if (chosen & (present == label)).any()
    }


def _label_right(table: Table, unseen: Unseen) -> dict[str, Any]:
    chosen = np.flatnonzero((unseen.labels >= 0) & table.harmful)
    right = sum(LABELS[unseen.labels[row]] == table.rows[int(row)].label for row in chosen)
    return share(right, len(chosen))


def _mean_recall(table: Table, unseen: Unseen, limit: float) -> float:
    by_source = _by_source(table, unseen, limit, harmful=True).values()
    return round(float(np.mean([entry["share"] for entry in by_source])), 4)
