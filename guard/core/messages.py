"""Actions, verdicts and questions as plain JSON values, for travel between the guard's own processes.

What a reader does not know is an error, never a default: a half-understood action must not be judged.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from guard.core.actions import (
    Action,
    Actor,
    ExecAction,
    FileAction,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.questions import Answer, Memory, Question
from guard.core.verdicts import Decision, Verdict

_CLASSES: dict[str, type[Any]] = {
    "file": FileAction,
    "exec": ExecAction,
    "network": NetworkAction,
    "python": PythonAction,
    "sql": SqlAction,
    "tool": ToolAction,
    "system": SystemAction,
}


def plain_action(action: Action) -> dict[str, Any]:
    """The known fields of an action."""
    return {name: value for name, value in asdict(action).items() if value is not None}


def action_from(plain: dict[str, Any]) -> Action:
    """The action of these fields; KeyError or TypeError where they are not one."""
    fields = {name: _tuples(value) for name, value in plain.items()}
    actor = fields.pop("actor", None)
    made: Action = _CLASSES[plain["kind"]](**fields, actor=None if actor is None else Actor(**actor))
    return made


def plain_verdict(verdict: Verdict) -> dict[str, Any]:
    """All fields; the decision as its word."""
    return {**asdict(verdict), "decision": verdict.decision.word}


def verdict_from(plain: dict[str, Any]) -> Verdict:
    """The verdict of these fields; KeyError, TypeError or ValueError where they are not one."""
    fields = {name: _tuples(value) for name, value in plain.items()}
    return Verdict(**{**fields, "decision": Decision.of(plain["decision"])})


def plain_question(question: Question, memory: Memory) -> dict[str, Any]:
    """A question with the memory that a wider answer would make."""
    return {
        "id": question.id,
        "action": plain_action(question.action),
        "verdict": plain_verdict(question.verdict),
        "facts": [list(fact) for fact in question.facts],
        "lineage": list(question.lineage),
        "task": question.task,
        "scopes": list(question.scopes),
        "deadline_s": question.deadline_s,
        "memory": memory.text,
    }


def question_from(plain: dict[str, Any]) -> Question:
    """The question of these fields; KeyError, TypeError or ValueError where they are not one."""
    return Question(
        id=plain["id"],
        action=action_from(plain["action"]),
        verdict=verdict_from(plain["verdict"]),
        facts=tuple((str(name), str(value)) for name, value in plain["facts"]),
        lineage=tuple(plain["lineage"]),
        task=plain["task"],
        scopes=tuple(plain["scopes"]),
        deadline_s=float(plain["deadline_s"]),
    )


def plain_answer(answer: Answer) -> dict[str, Any]:
    """An answer as the runtime sends it."""
    return {"question": answer.question, "decision": answer.decision.word, "scope": answer.scope, "by": answer.by}


def answer_from(plain: dict[str, Any]) -> Answer:
    """The answer of these fields; KeyError or ValueError where they are not one."""
    decision = Decision.of(plain["decision"])
    if decision is Decision.ASK:
        raise ValueError("an answer decides")
    return Answer(question=plain["question"], decision=decision, scope=plain["scope"], by=plain["by"])


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
