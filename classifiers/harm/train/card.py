"""Writes `card.yaml`: what the model is, what it was made from, how well it does, and the command that says so."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from guard.scoring.canonical import CANONICAL_VERSION
from guard.scoring.values import LABELS

from . import features, fit, measure
from .corpus import GROUPS, Source

_HEADER = "# Written by the training command named below; the tests hold model.onnx to it. Change the training, not this file.\n"
_MISSES = [
    "judges text alone: a harmless-looking command that is harmful here (a script already on disk, a swapped path) is invisible to it",
    "python, sql, network and file harm is mostly generated in training; on unseen sources python and privilege escalation score lowest",
    "supply_chain has five training rows: the label hardly ever wins",
    "container and cloud administration that opens a host (privileged containers, role grants) is close to ordinary work and scores low",
    "language: comments and prose are English; instructions in other languages carry no signal",
    "kind `tool` has no training rows; its scores rest on the other kinds' text",
]


def write(
    folder: Path,
    model: bytes,
    command: str,
    ask_threshold: float,
    calibration: tuple[float, float],
    figures: dict[str, Any],
    sources: list[Source],
) -> None:
    """Write the card of `model` beside it."""
    content = {
        "name": "harm",
        "purpose": "probability that the text of one proposed action is harmful, and the kind of harm",
        "model": {
            "file": "model.onnx",
            "sha256": hashlib.sha256(model).hexdigest(),
            "size_bytes": len(model),
            "canonical_version": CANONICAL_VERSION,
            "ask_threshold": ask_threshold,
            "ask_budget": measure.ASK_BUDGET,
            "labels": list(LABELS),
        },
        "made_by": command,
        "method": {
            "features": f"presence of hashed byte n-grams, 1 to {features.N_MAX}, in {1 << features.BITS} buckets, hashed inside the graph; "
            "divided by the square root of their number",
            "harm_head": f"logistic regression (liblinear, C {fit.INVERSE_PENALTY}, seed {fit.SEED}), rare n-grams penalised less, weights as float16",
            "label_head": "one logistic regression per label over harmful rows, weights as int8; `none` below the ask threshold",
            "calibration": {
                "kind": "Platt, fitted on rows scored by models that never saw their sources; folded into the graph",
                "slope": round(calibration[0], 6),
                "offset": round(calibration[1], 6),
                "prior": "the share of harmful rows among those unseen rows",
            },
            "windows": "windows of the canonical text, and each line of a window alone; the highest probability wins",
        },
        "figures": {
            "leave_source_groups_out": {"groups": [" ".join(group) for group in GROUPS], **figures},
            "note": "generated sources are trained on and never measured on; thresholds are those of the pooled unseen benign rows",
        },
        "known_misses": _MISSES,
        "data": [
            {
                "source": source.name,
                "sha256_of_file": source.sha256,
                "licences": list(source.licences),
                "harmful": source.harmful,
                "benign": source.benign,
            }
            for source in sources
        ],
        "data_note": "weights only are shipped, no text of any source; rows labelled risky are not used",
    }
    text = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    (folder / "card.yaml").write_text(_HEADER + text, encoding="utf-8")
