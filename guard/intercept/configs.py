"""Which configuration keys a finished file would change: git's configuration and the settings of agents.

The reading is `guard.core.gitconfig`'s; here only files are told apart by their names.
"""

from __future__ import annotations

import os

from guard.core import gitconfig

_GIT = frozenset(("config", "config.worktree", ".gitconfig", "gitconfig"))


def changed_keys(path: str, old: str, new: str) -> tuple[str, ...] | None:
    """The keys that differ between the two texts, lower case; None where the file is of no kind that can be read here, or unreadable."""
    name = os.path.basename(path)
    if name in _GIT:
        return gitconfig.changed(old, new)
    if name.endswith(".json"):
        return gitconfig.changed_json(old, new)
    if name.endswith(".toml"):
        return gitconfig.changed_toml(old, new)
    return None
