"""Reads the corpora folder: rows as values, hashes and licences for the card. Rows are text and never leave as text.

A row is never executed, never resolved, never written anywhere: only weights learned from it are.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GENERATED: Final = frozenset({"synthetic-templates", "sensitive-paths", "oss-file-ops", "everyday", "twins"})
"""Sources made from templates: they fill holes in training, and nothing is ever measured on them."""

GROUPS: Final = (
    ("arsenal", "red-teaming-ttps", "payloads-all-the-things", "tldr-pages"),
    ("atomic-red-team", "caldera-stockpile", "nl2bash", "bash-oneliner"),
    ("cowrie-honeypot", "termigen-dockerfiles"),
    ("gtfobins", "cheat-cheatsheets"),
    ("reverse-shell-generator", "slp", "intercode-trajectories"),
    ("guarddog-tests", "oss-devops"),
    ("openagentsafety", "derived-network", "swe-agent-demos"),
)
"""Groups left out together: each pairs harmful sources of one style with benign ones, so that both sides are unseen."""

_LABELS: Final = {"discovery": "credential_access", "fraud_or_policy": "exfiltration"}
"""Corpus categories that the contract's labels do not have, and where they belong (discovery here is password guessing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One labelled action."""

    source: str
    kind: str
    text: str
    harmful: bool
    label: str
    """Contract label; `none` for benign rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One corpus file, for the card."""

    name: str
    sha256: str
    licences: tuple[str, ...]
    harmful: int
    benign: int


def read(folder: Path) -> tuple[list[Row], list[Source]]:
    """Rows labelled harmful or benign of every file of `folder`, in a fixed order; `risky` rows are left out by policy.

    Raises FileNotFoundError where the folder holds no corpus file.
    """
    rows: list[Row] = []
    sources: list[Source] = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        if name == "openagentsafety-trajectories":  # one run a line, labelled as a run: no labelled actions
            continue
        packed = path.read_bytes()
        records = [json.loads(line) for line in gzip.decompress(packed).decode("utf-8").splitlines()]
        found = list(_rows(name, records))
        rows += found
        sources.append(
            Source(
                name=name,
                sha256=hashlib.sha256(packed).hexdigest(),
                licences=tuple(sorted({str(record["licence"]) for record in records})),
                harmful=sum(row.harmful for row in found),
                benign=sum(not row.harmful for row in found),
            )
        )
    if not rows:
        raise FileNotFoundError(f"no `*.jsonl.gz` in `{folder}`: name the corpora folder with `--corpora`")
    return rows, sources


def _rows(source: str, records: Iterable[dict[str, str]]) -> Iterable[Row]:
    for record in records:
        if record["label"] in ("harmful", "benign"):
            harmful = record["label"] == "harmful"
            category = _LABELS.get(record["category"], record["category"])
            yield Row(
                source=source,
                kind=record["kind"],
                text=record["text"],
                harmful=harmful,
                label=category if harmful else "none",
            )
