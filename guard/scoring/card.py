"""The model's card: what a model folder claims about itself. The only file of scoring that reads YAML.

Only the claims that decide whether the model may be used are read here; figures and prose are for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from guard.scoring.canonical import CANONICAL_VERSION
from guard.scoring.values import ModelError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it was built in, saves 30 ms of the start

_REPAIR = "reinstall guardproxy, or train it again with `python -m classifiers.harm.train`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The claims of `card.yaml` that the runtime holds the model to."""

    sha256: str
    """Lower-case hexadecimal digest of the model file's bytes."""
    ask_threshold: float
    """Probability, 0 … 1, from which a score alone asks."""
    file: Path
    """The model file."""


def read_card(folder: Path) -> Card:
    """Read and check `folder`/card.yaml. Raises ModelError where it is missing, unreadable, or of another canonical form."""
    path = folder / "card.yaml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        model = content["model"]
        claims = {name: model[name] for name in ("file", "sha256", "canonical_version", "ask_threshold")}
    except FileNotFoundError:
        raise ModelError(f"`{path}` is missing: {_REPAIR}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as problem:
        raise ModelError(
            f"`{path}` is no model card ({type(problem).__name__}: {' '.join(str(problem).split())}): {_REPAIR}"
        ) from problem
    return _checked(path, claims)


def _checked(path: Path, claims: dict[str, Any]) -> Card:
    if claims["canonical_version"] != CANONICAL_VERSION:
        raise ModelError(
            f"`{path}` was made for canonical form {claims['canonical_version']}, this guard has {CANONICAL_VERSION}: {_REPAIR}"
        )
    threshold, digest, name = claims["ask_threshold"], claims["sha256"], claims["file"]
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise ModelError(f"`{path}`: `ask_threshold` must be a number between 0 and 1, not `{threshold}`: {_REPAIR}")
    if not isinstance(digest, str) or not isinstance(name, str) or Path(name).name != name:
        raise ModelError(f"`{path}`: `sha256` and `file` must be a digest and a plain file name: {_REPAIR}")
    return Card(sha256=digest, ask_threshold=threshold, file=path.parent / name)
