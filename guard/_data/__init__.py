"""Where the rule packs and the models lie, in every form of installation: wheel, editable, checkout.

A wheel carries them as `guard/_data/policies` and `guard/_data/classifiers`. In a checkout they are the top-level folders
`policies/` and `classifiers/`, which are added to this package's search path. What never enters: what is in the files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_HERE = os.path.dirname(os.path.abspath(__file__))
_CHECKOUT = os.path.dirname(os.path.dirname(_HERE))

if not os.path.isdir(os.path.join(_HERE, "policies")) and os.path.isfile(os.path.join(_CHECKOUT, "pyproject.toml")):
    __path__.append(_CHECKOUT)


def folder(name: str) -> Traversable:
    """The data folder `policies` or `classifiers`; ModuleNotFoundError where the installation lacks it.

    A Traversable rather than a path, because a package may be imported from an archive.
    """
    from importlib.resources import files  # costs 15 ms, and `guard run` with a warm cache never needs it

    return files(f"{__name__}.{name}")
