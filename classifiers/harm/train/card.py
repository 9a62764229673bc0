"""Writes `card.yaml`: what the model is, what it was made from, how well it does, and the command that says so."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from guard.scoring.canonical import CANONICAL_VERSION
from guard.scoring.values import LABELS

from . import features, fit, measure
from .corpus import Source

_HEADER = "# Written by the training command named below; the tests hold model.onnx to it. Change the training, not this file.\n"
_MISSES = [
    "judges text alone: a harmless-looking command that is harmful here (a script already on disk, a swapped path) is invisible to it",
    "python, sql, network and file harm is mostly generated in training; on unseen sources python and privilege escalation score lowest",
    "supply_chain has five real training rows, the others are generated: trust the label little",
    "`find` with -delete or -exec over whole folders stays just below the threshold: cleaning up looks the same",
    "container and cloud administration that opens a host (privileged containers, role grants) is close to ordinary work and scores low",
    "language: comments and prose are English; instructions in other languages carry no signal",
    "kind `tool` has no training rows; its scores rest on the other kinds' text",
]

_TRIED = {
    "columns": "leave-source-groups-out AUC; recall where 1 %, 0.5 %, 0.1 % of harmless rows ask",
    "whole windows only, corpora only": {
        "presence of n-grams": [0.948, 0.506, 0.414, 0.236],
        "rare n-grams penalised less, exponent 1": [0.952, 0.544, 0.443, 0.268],
        "rare n-grams penalised less, exponent 1.5": [0.951, 0.550, 0.471, 0.268],
        "rare n-grams penalised less, exponent 2": [0.948, 0.552, 0.479, 0.283],
        "counts over their sum to the power 0.7": [0.950, 0.492, 0.395, 0.199],
        "tf-idf of unit length": [0.952, 0.522, 0.424, 0.231],
    },
    "with everyday rows, before rarity": {
        "whole windows only": [0.950, 0.509, 0.410, 0.222],
        "and lines alone, so that padding does not hide a line": [0.954, 0.520, 0.416, 0.231],
    },
    "lines and rarity, by weight of generated twins": {
        "0": [0.959, 0.577, 0.489, 0.175],
        "0.1": [0.956, 0.564, 0.454, 0.280],
        "0.15 (73 of 78 hand-written harmful cases noticed)": [0.956, 0.565, 0.443, 0.278],
        "0.3": [0.955, 0.562, 0.439, 0.277],
        "1 (74 of 78)": [0.952, 0.545, 0.427, 0.255],
    },
    "with simple commands as windows of their own, twins at 0.15": {
        "judged only": [0.955, 0.563, 0.450, 0.276],
        "judged and learned from (shipped; 72 of 78)": [0.950, 0.578, 0.494, 0.269],
    },
}


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
            "windows": "windows of the canonical text, the simple commands of its shell lines, and each line alone; the highest probability wins",
        },
        "figures": {
            "leave_source_groups_out": {**figures},
            "note": "generated sources are trained on and never measured on; thresholds are those of the pooled unseen benign rows",
        },
        "known_misses": _MISSES,
        "tried": _TRIED,
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
