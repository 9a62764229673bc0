"""`python -m classifiers.harm.train --corpora DIR`: corpora in, `model.onnx` and `card.yaml` out. Same corpora, same bytes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import card, corpus, everyday, fit, graph, measure, twins

EVERYDAY_ROWS = 8_000
"""Generated everyday actions; twice as many change no figure."""
TWIN_ROWS = 8_000
"""Generated pairs, before equal ones are dropped."""


def train(
    rows: list[corpus.Row],
    sources: list[corpus.Source],
    out: Path,
    command: str,
    groups: Sequence[tuple[str, ...]] = corpus.GROUPS,
) -> None:
    """Measure on unseen `groups` of sources, fit on everything, and write both files into the existing folder `out`."""
    table = fit.tabulate(rows)
    unseen = fit.leave_groups_out(table, groups)
    measured = ~np.isnan(unseen.margins)
    slope, offset = measure.calibrate(unseen.margins[measured], table.harmful[measured])
    ask_margin = measure.threshold_at(unseen.margins[measured & ~table.harmful], measure.ASK_BUDGET)
    ask_threshold = round(float(measure.probability(np.array([ask_margin]), slope, offset)[0]), 4)
    figures = {"groups": [" ".join(group) for group in groups], **measure.unseen_figures(table, unseen, ask_margin)}
    heads = fit.fit(table, np.ones(len(rows), dtype=bool))
    model = _graph(heads, slope, offset)
    (out / "model.onnx").write_bytes(model)
    card.write(out, model, command, ask_threshold, (slope, offset), figures, sources)
    print(f"auc {figures['auc']} recall {figures['recall_at']} ask from {ask_threshold}; {len(model)} bytes")


def _graph(heads: fit.Heads, slope: float, offset: float) -> bytes:
    quantised, scale = _int8(heads.label_weights)
    return graph.build(
        weights=heads.weights.astype(np.float16),
        label_weights=quantised,
        label_scale=scale,
        label_bias=heads.label_bias,
        slope=slope,
        offset=offset + slope * heads.bias,
        metadata={"made_by": "classifiers.harm.train"},
    )


def _int8(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric quantisation per label; a label without weights keeps a scale of 1."""
    largest = np.abs(weights).max(axis=0)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale


def main(arguments: list[str]) -> int:
    """Read the arguments, train, give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m classifiers.harm.train", description="Train the harm model.")
    parser.add_argument("--corpora", type=Path, required=True, metavar="DIR", help="folder of *.jsonl.gz corpora")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1], metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        rows, sources = corpus.read(options.corpora)
    except FileNotFoundError as problem:
        print(problem, file=sys.stderr)
        return 2
    rows += everyday.generate(EVERYDAY_ROWS, fit.SEED) + twins.generate(TWIN_ROWS, fit.SEED)
    train(rows, sources, options.out, "python -m classifiers.harm.train --corpora DIR")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
