"""The judging process: `python -m guard.scoring.judge` loads the model once and scores what comes on stdin.

It exists so that onnxruntime's import and arithmetic never stand beside the kernel loop. Messages are `guard.wire`'s on fd 0
and fd 1. First message out: `{"ready": true, "model": …, "ask_threshold": …}`, or `{"error": …}` and exit status 1. Then, for
every `{"id", "kind", "text"}`, one answer in the same order: `{"id", "score", "label", "windows", "truncated"}` or
`{"id", "error"}`. End of input ends it with 0; what is not of this form ends it with 1, and the reader asks.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.scoring.values import ModelError, Unscored, default_model_folder
from guard.wire import Reader, WireError, send

if TYPE_CHECKING:
    from guard.scoring.onnx import Scorer

_CHUNK = 65536  # bytes per read: what a pipe holds on Linux


def answer(scorer: Scorer, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request; a request without a kind and a text of type str is answered with its error."""
    kind, text = request.get("kind"), request.get("text")
    reply: dict[str, Any] = {"id": request.get("id")}
    if not isinstance(kind, str) or not isinstance(text, str):
        return reply | {"error": "a request needs `kind` and `text`, both strings"}
    result = scorer.score(kind, text)
    if isinstance(result, Unscored):
        return reply | {"error": result.reason}
    return reply | {
        "score": result.probability,
        "label": result.label,
        "windows": result.windows,
        "truncated": result.truncated,
    }


def serve(scorer: Scorer, source: int, sink: int) -> None:
    """Answer until `source` (a descriptor) ends. Raises WireError on what is no message and where nobody reads `sink`."""
    reader = Reader()
    while data := os.read(source, _CHUNK):
        for request in reader.feed(data):
            send(sink, answer(scorer, request))


def main(arguments: list[str]) -> int:
    """Load, say so, serve. Gives the exit status."""
    parser = argparse.ArgumentParser(prog="guard.scoring.judge", description="Scores actions over stdin and stdout.")
    parser.add_argument(
        "--model", type=Path, default=None, metavar="DIR", help="model folder (default: the shipped one)"
    )
    chosen: Path | None = parser.parse_args(arguments).model
    try:
        scorer = _load(chosen)
        send(1, {"ready": True, "model": scorer.model_id, "ask_threshold": scorer.ask_threshold})
        serve(scorer, 0, 1)
    except ModelError as problem:
        send(1, {"error": str(problem)})
        return 1
    except WireError as problem:
        sys.stderr.write(f"guard: the judge stops: {problem}\n")
        return 1
    return 0


def _load(chosen: Path | None) -> Scorer:
    try:
        from guard.scoring.onnx import Scorer
    except ImportError as problem:
        raise ModelError(
            f"the model cannot run here ({problem}): reinstall guardproxy, or use `--no-model`"
        ) from problem
    return Scorer.load(chosen or default_model_folder())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
