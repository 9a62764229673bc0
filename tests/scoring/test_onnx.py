"""Loading refuses what is not its card's; scoring takes any text."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guard.scoring.onnx import Scorer
from guard.scoring.values import ModelError, Score, Unscored, default_model_folder
from guard.scoring.windows import REFUSED


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.load(default_model_folder())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.onnx", "card.yaml"):
        shutil.copy(default_model_folder() / name, tmp_path)
    return tmp_path


def edit_card(folder: Path, **claims: object) -> None:
    path = folder / "card.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["model"] |= claims
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_whole_folder_loads(folder: Path) -> None:
    """The folder may lie anywhere."""
    assert Scorer.load(folder).model_id.startswith("sha256:")


def test_a_changed_model_is_refused(folder: Path) -> None:
    """One flipped bit anywhere is another model."""
    path = folder / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not the one of its card"):
        Scorer.load(folder)


@pytest.mark.parametrize("name", ["model.onnx", "card.yaml"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """The message names the file and says what to do."""
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name}.*reinstall"):
        Scorer.load(folder)


@pytest.mark.parametrize(
    ("claim", "value", "message"),
    [
        ("sha256", "0" * 64, "is not the one of its card"),
        ("sha256", None, "must be a digest"),
        ("file", "../model.onnx", "plain file name"),
        ("canonical_version", 0, "canonical form 0"),
        ("ask_threshold", 0.0, "between 0 and 1"),
        ("ask_threshold", "high", "between 0 and 1"),
        ("ask_threshold", float("nan"), "between 0 and 1"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, claim: str, value: object, message: str) -> None:
    """A claim that is wrong, or of the wrong type, keeps the model from loading."""
    edit_card(folder, **{claim: value})
    with pytest.raises(ModelError, match=message):
        Scorer.load(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "model: 7", "model: {file: model.onnx}", "\tx: [", "a: !!python/object:x {}"]
)
def test_what_is_no_card_is_refused(folder: Path, text: str) -> None:
    """Empty, foreign and broken YAML give one message, not a traceback."""
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="is no model card"):
        Scorer.load(folder)


def test_a_file_that_is_no_model_is_refused(folder: Path) -> None:
    """Even where the card agrees with its digest."""
    (folder / "model.onnx").write_bytes(b"not a model")
    edit_card(folder, sha256=hashlib.sha256(b"not a model").hexdigest())
    with pytest.raises(ModelError, match="cannot load"):
        Scorer.load(folder)


def test_a_model_of_another_shape_is_refused(folder: Path) -> None:
    """A valid model with other inputs and outputs is not run, whatever its card says."""
    onnx = pytest.importorskip("onnx", reason="needs the extra `train`")
    model = onnx.load(folder / "model.onnx")
    del model.graph.output[3]
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    edit_card(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="other inputs or outputs"):
        Scorer.load(folder)


@given(st.sampled_from(["shell", "python", "sql", "file", "network", "tool"]), st.text(max_size=300))
def test_any_text_has_a_score(scorer: Scorer, kind: str, text: str) -> None:
    """Empty, NUL, surrogates, bidi: a probability and a label that agrees with the threshold."""
    score = scorer.score(kind, text)
    assert isinstance(score, Score)
    assert 0 <= score.probability <= 1
    assert (score.label == "none") == (score.probability < scorer.ask_threshold)


@pytest.mark.parametrize(
    "text", ["", "\x00" * 50, "\ud800\udfff", "(" * 10_000, "$(" * 10_000, "\u202e" * 100, "'" * 9_999]
)
def test_hostile_texts_have_a_score(scorer: Scorer, text: str) -> None:
    """Deep nesting and strange characters are texts like others."""
    assert isinstance(scorer.score("shell", text), Score)


def test_a_text_beyond_the_bound_is_refused_by_name(scorer: Scorer) -> None:
    """Ten megabytes are not scored, and the reason says so; just within the bound they are sampled."""
    refusal = scorer.score("shell", "x" * 10_000_000)
    assert isinstance(refusal, Unscored)
    assert "10000000 characters" in refusal.reason
    sampled = scorer.score("shell", "x" * REFUSED)
    assert isinstance(sampled, Score)
    assert sampled.truncated


def test_an_unknown_kind_is_refused_by_name(scorer: Scorer) -> None:
    """A kind the model never saw has no score."""
    refusal = scorer.score("poem", "roses")
    assert isinstance(refusal, Unscored)
    assert "`poem`" in refusal.reason
