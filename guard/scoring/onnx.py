"""Runs the harm model. The only file that imports onnxruntime.

The model takes bytes and hashes them itself, so nothing but canonical windows is prepared here. A model that is not its
card's is never run; a text is never the cause of an exception.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = (
    "1"  # official builds send usage data over HTTPS and write a device id otherwise; read at import
)
import onnxruntime

from guard.scoring.card import read_card
from guard.scoring.values import KINDS, LABELS, NO_LABEL, ModelError, Score, Unscored
from guard.scoring.windows import REFUSED, windows

_REMEMBERED: Final = 512
"""Scores kept by kind and text: agents repeat commands, and a parent shell and its children are scored on the same text."""
_REMEMBERED_LENGTH: Final = 4096
"""Longer texts are not kept, so that the memory stays below about 8 MB."""


class Scorer:
    """One loaded model. Not thread-safe; use one per thread."""

    def __init__(self, session: Any, model_id: str, ask_threshold: float) -> None:
        self._session = session
        self._memory: OrderedDict[tuple[str, str], Score | Unscored] = OrderedDict()
        self.model_id = model_id
        """`sha256:` and the hexadecimal digest of the model file."""
        self.ask_threshold = ask_threshold
        """Probability from which a score alone asks (the card's)."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the model of `folder` and hold it to its card. Raises ModelError; the message says what to do."""
        card = read_card(folder)
        try:
            content = card.file.read_bytes()
        except OSError as problem:
            raise ModelError(
                f"cannot read the model `{card.file}` ({problem.strerror}): reinstall guardproxy"
            ) from problem
        digest = hashlib.sha256(content).hexdigest()
        if digest != card.sha256:
            raise ModelError(
                f"the model `{card.file}` is not the one of its card (sha256 {digest[:12]}…, card says {card.sha256[:12]}…): "
                "reinstall guardproxy, or train it again"
            )
        session = _session(content, card.file)
        _check_shapes(session, card.file)
        return cls(session, f"sha256:{digest}", card.ask_threshold)

    def score(self, kind: str, text: str) -> Score | Unscored:
        """Score one action's text. Never raises on any text; what cannot be scored is `Unscored` with its reason."""
        if kind not in KINDS:
            return Unscored(reason=f"the model does not know the kind `{kind[:40]}`")
        if len(text) > REFUSED:
            return Unscored(reason=f"the text has {len(text)} characters, more than the {REFUSED} that are scored")
        key = (kind, text)
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        result = self._judge(kind, text)
        if len(text) <= _REMEMBERED_LENGTH:
            self._memory[key] = result
            if len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        return result

    def _judge(self, kind: str, text: str) -> Score | Unscored:
        try:
            cut = windows(kind, text)
            seen = [self._run(piece) for piece in cut.pieces]
        except Exception as problem:  # noqa: BLE001  the room ends here: a judge that fails says so, and its reader asks
            return Unscored(reason=f"the model failed: {type(problem).__name__}: {problem}")
        probability, labels = max(seen, key=lambda pair: pair[0])
        if not math.isfinite(probability):
            return Unscored(reason="the model gave no finite probability")
        label = LABELS[int(np.argmax(labels))] if probability >= self.ask_threshold else NO_LABEL
        return Score(probability=probability, label=label, windows=len(seen), truncated=cut.truncated)

    def _run(self, piece: bytes) -> tuple[float, Any]:
        probability, labels = self._session.run(
            ("probability", "labels"), {"bytes": np.frombuffer(piece, dtype=np.uint8)}
        )
        return float(probability[0]), labels


def _session(content: bytes, path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False  # windows differ in length: a remembered pattern would fit none
    options.log_severity_level = 3  # errors only: the runtime's warnings would land on the guard's stderr
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime raises a dozen unrelated types for a bad file
        raise ModelError(f"onnxruntime cannot load the model `{path}`: {problem}") from problem


def _check_shapes(session: Any, path: Path) -> None:
    found = [(value.name, value.type, len(value.shape)) for value in (*session.get_inputs(), *session.get_outputs())]
    expected = [
        ("bytes", "tensor(uint8)", 1),
        ("probability", "tensor(float)", 1),
        ("labels", "tensor(float)", 1),
        ("buckets", "tensor(int64)", 1),
        ("line_keys", "tensor(int64)", 1),
    ]
    labels = next((value.shape for value in session.get_outputs() if value.name == "labels"), None)
    if found != expected or labels != [len(LABELS)]:
        raise ModelError(f"the model `{path}` has other inputs or outputs than this guard knows: reinstall guardproxy")
