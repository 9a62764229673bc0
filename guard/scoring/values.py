"""What scoring says, as plain values, and where the shipped model lies. No model, no onnxruntime, no YAML enters here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from guard.core.actions import HARM_LABELS

NO_LABEL: Final = "none"
"""The label of a text whose probability is below the ask threshold."""

LABELS: Final = tuple(label for label in HARM_LABELS if label != NO_LABEL)
"""Harm labels in the order of the model's `labels` output; `none` is not among them."""

KINDS: Final = frozenset({"shell", "python", "sql", "file", "network", "tool"})
"""Kinds of text that the model takes; `tool` has no training rows and is scored as it stands."""


class ModelError(Exception):
    """The model cannot be used; the message says what is wrong and what to do. Nothing may be scored with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The model's opinion of one text."""

    probability: float
    """Calibrated probability of harm, 0 … 1: that of the most suspicious window."""
    label: str
    """One of `LABELS`, or `none` where `probability` is below the ask threshold."""
    windows: int
    """Number of windows scored, at least 1."""
    truncated: bool
    """True where the text was too long to be seen whole: the parts not seen are unknown, which is no sign of harmlessness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unscored:
    """A named refusal: the text has no score, so whoever wanted one must treat it as unknown (at least ask)."""

    reason: str


def default_model_folder() -> Path:
    """The folder of the shipped harm model: inside the installed package, else beside the checkout's `guard` folder.

    Raises ModelError where neither has a card.
    """
    places = [_installed(), Path(__file__).resolve().parents[2] / "classifiers" / "harm"]
    for place in places:
        if place is not None and (place / "card.yaml").is_file():
            return place
    raise ModelError("no harm model is installed: reinstall guardproxy, or name a model folder with `--model`")


def _installed() -> Path | None:
    try:
        package = import_module("guard._data.classifiers")
    except ImportError:
        return None
    return next((Path(folder) / "harm" for folder in package.__path__), None)
