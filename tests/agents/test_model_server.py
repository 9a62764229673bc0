"""The scripted model: every wire format carries the same step, and which step is next depends on the request alone."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.support.model_server import ModelServer, Remove, Say, Send, Shell, Write, as_shell

STEPS = (Shell(command="ls"), Write(path="a.txt", content="x\n"), Say(text="Bye."))
FORMATS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")


def _post(url: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", FORMATS)
def test_a_step_becomes_a_call_of_an_offered_tool(path: str, stream: bool) -> None:
    """The answer names the tool, the command and the step; it is JSON, or a stream of events."""
    with ModelServer(STEPS) as model:
        said = _post(model.url + path, {"stream": stream, "tools": [{"name": "exec_command"}]})
    assert said.startswith(("data:", "event:") if stream else "{")
    assert all(part in said for part in ("exec_command", "ls", "call_scripted_0000"))


@pytest.mark.parametrize("path", FORMATS)
def test_the_next_step_follows_the_last_one_that_the_conversation_names(path: str) -> None:
    """The same request gets the same answer again, and the last step is plain words."""
    told = {"tools": [{"name": "Bash"}, {"name": "Write"}], "messages": ["call_scripted_0000"]}
    with ModelServer(STEPS) as model:
        first, again = _post(model.url + path, told), _post(model.url + path, told)
        last = _post(model.url + path, {**told, "messages": ["call_scripted_0001", "call_scripted_0000"]})
    assert first == again
    assert "a.txt" in first
    assert "Bye." in last


def test_a_request_without_tools_gets_words_and_does_not_use_up_a_step() -> None:
    """Agents ask for titles and summaries on the side."""
    with ModelServer(STEPS) as model:
        aside = json.loads(_post(model.url + "/v1/messages", {"messages": ["title?"]}))
        step = _post(model.url + "/v1/messages", {"tools": [{"name": "Bash"}]})
    assert aside["content"] == [{"type": "text", "text": "ok"}]
    assert "call_scripted_0000" in step


def test_requests_are_kept_as_they_came() -> None:
    """What an agent told its model can be searched for a canary."""
    with ModelServer(STEPS) as model:
        _post(model.url + "/v1/messages", {"messages": ["CANARY"]})
        assert model.was_told("CANARY")
        assert not model.was_told("OTHER")
        assert [(request.method, request.path) for request in model.requests] == [("POST", "/v1/messages")]


def test_paths_are_quoted_for_the_shell() -> None:
    """A folder with a space is one folder."""
    assert as_shell(Remove(path="/a b")) == "rm -rf '/a b'"
    assert as_shell(Remove(path="/a b"), refuses_rm=True) == "find '/a b' -delete"
    assert as_shell(Send(path="x y", url="http://u")) == "curl -sS --max-time 10 --data-binary @'x y' http://u"
