"""A scripted model on loopback, so that real agents run without a real model.

It speaks the three wire formats of the agents under test (Anthropic Messages, OpenAI Chat Completions, OpenAI Responses; streamed or whole) and
answers each request with the next step of a fixed list. It keeps no conversation: which step is next is read from the fake call ids
that the request carries, so a retry gets the same answer. It keeps every request, for tests that ask what an agent told its model.

What never enters: anything of the guard, and any judgement of what an agent did. Tests look at the world for that.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, assert_never

type Json = dict[str, Any]

MARK = "scripted"
"""Starts every call id; together with four digits it names the step a call came from."""

_STEP_ID = re.compile(MARK + r"_(\d{4})")


# --- the script: what a model would want -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Run a command line."""

    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Make a file hold this text; by the agent's own file tool where it has one."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Show a file to the model; by the agent's own file tool where it has one."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Delete a folder and everything below it, spelt the way the agent accepts it."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Post a file's bytes to a URL."""

    path: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Plain words to the user: ends the agent's turn."""

    text: str


type Step = Shell | Write | Read | Remove | Send | Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came: `body` is the raw text, so that a search for a canary sees everything."""

    method: str
    path: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a tool that the request offered; `id` names the step it came from."""

    name: str
    arguments: Json
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Plain text instead of a call."""

    text: str


type Answer = Call | Words


def next_step(body: str) -> int:
    """Index of the step to play: one more than the highest that the conversation already names, 0 at its start."""
    return max((int(number) + 1 for number in _STEP_ID.findall(body)), default=0)


# --- from a step to what an agent understands ------------------------------------------------------------------------


def as_shell(step: Shell | Write | Read | Remove | Send, *, refuses_rm: bool = False) -> str:
    """The step as one command line for `sh`."""
    match step:
        case Shell(command=command):
            return command
        case Write(path=path, content=content):
            return f"cat > {shlex.quote(path)} <<'END_OF_FILE'\n{content.rstrip(chr(10))}\nEND_OF_FILE"
        case Read(path=path):
            return f"cat {shlex.quote(path)}"
        case Remove(path=path):
            return f"find {shlex.quote(path)} -delete" if refuses_rm else f"rm -rf {shlex.quote(path)}"
        case Send(path=path, url=url):
            return f"curl -sS --max-time 10 --data-binary @{shlex.quote(path)} {shlex.quote(url)}"
        case _:
            assert_never(step)


def as_python(step: Shell | Write | Read | Remove | Send) -> str:
    """The step as Python that acts in the agent's own process wherever Python can: no program is run for it."""
    match step:
        case Shell(command=command):
            run = f"subprocess.run({command!r}, shell=True, capture_output=True, text=True)"
            return f"import subprocess\ndone = {run}\nprint(done.stdout, done.stderr)"
        case Write(path=path, content=content):
            return f"import pathlib\nprint(pathlib.Path({path!r}).write_text({content!r}))"
        case Read(path=path):
            return f"import pathlib\nprint(pathlib.Path({path!r}).read_text())"
        case Remove(path=path):
            return f"import shutil\nshutil.rmtree({path!r})\nprint('removed')"
        case Send(path=path, url=url):
            body = f"pathlib.Path({path!r}).read_bytes()"
            return f"import pathlib\nfrom urllib.request import urlopen\nprint(urlopen({url!r}, {body}, timeout=10).status)"
        case _:
            assert_never(step)


_SHELL_TOOLS = (("Bash", "command"), ("exec_command", "cmd"), ("shell_command", "command"), ("bash", "command"))
"""Name of a shell tool and of its argument: Claude Code, Codex (two generations), mini-swe-agent."""


def answer(step: Step, number: int, tools: Collection[str], prompt: str) -> Answer:
    """What to reply for a step.

    `tools`: the offered tools' names. `prompt`: the request's raw text, where agents that have no tools say in which form
    they want code. A request that offers neither (a title, a summary) gets words.
    """
    if isinstance(step, Say):
        return _say(step.text, number, tools, prompt)
    call_id = f"call_{MARK}_{number:04d}"
    match step:
        case Write(path=path, content=content) if "Write" in tools:
            return Call(name="Write", arguments={"file_path": path, "content": content}, id=call_id)
        case Read(path=path) if "Read" in tools:
            return Call(name="Read", arguments={"file_path": path}, id=call_id)
        case _:
            pass
    for name, argument in _SHELL_TOOLS:
        if name in tools:
            command = as_shell(step, refuses_rm=name in ("exec_command", "shell_command"))
            return Call(name=name, arguments={argument: command}, id=call_id)
    if not tools and "<code>" in prompt:
        return Words(text=f"Thought: next.\n<code>\n# {MARK}_{number:04d}\n{as_python(step)}\n</code>")
    return Words(text="ok")


def _say(text: str, number: int, tools: Collection[str], prompt: str) -> Answer:
    """The last words, in the form that ends the agent's run."""
    if "bash" in tools and "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" in prompt:
        command = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
        return Call(name="bash", arguments={"command": command}, id=f"call_{MARK}_{number:04d}")
    if not tools and "<code>" in prompt:
        return Words(text=f"Thought: done.\n<code>\nfinal_answer({text!r})\n</code>")
    return Words(text=text)


# --- the three wire formats ------------------------------------------------------------------------------------------


def anthropic_message(said: Answer) -> Json:
    """A whole answer of the Messages API."""
    block: Json
    match said:
        case Call(name=name, arguments=arguments, id=call_id):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        case Words(text=text):
            block = {"type": "text", "text": text}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [block],
        "stop_reason": "tool_use" if isinstance(said, Call) else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }


def anthropic_events(said: Answer) -> Iterator[tuple[str, Json]]:
    """The same answer as the events of a stream."""
    whole = anthropic_message(said)
    block: Json = whole["content"][0]
    start: Json = {**block, "input": {}} if isinstance(said, Call) else {**block, "text": ""}
    delta: Json
    if isinstance(said, Call):
        delta = {"type": "input_json_delta", "partial_json": json.dumps(said.arguments)}
    else:
        delta = {"type": "text_delta", "text": said.text}
    yield "message_start", {"message": {**whole, "content": [], "stop_reason": None}}
    yield "content_block_start", {"index": 0, "content_block": start}
    yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": ending, "usage": {"output_tokens": 10}}
    yield "message_stop", {}


def chat_completion(said: Answer, delta: bool = False) -> Json:
    """A whole answer of Chat Completions, or (`delta`) the one chunk that carries it in a stream."""
    message: Json = {"role": "assistant", "content": None}
    match said:
        case Call(name=name, arguments=arguments, id=call_id):
            call: Json = {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            message["tool_calls"] = [{"index": 0, **call}] if delta else [call]
        case Words(text=text):
            message["content"] = text
    finish = "tool_calls" if isinstance(said, Call) else "stop"
    choice: Json = {"index": 0, "delta" if delta else "message": message, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk" if delta else "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20},
    }


def response_object(said: Answer) -> Json:
    """A whole answer of the Responses API."""
    item: Json
    match said:
        case Call(name=name, arguments=arguments, id=call_id):
            item = {"type": "function_call", "name": name, "arguments": json.dumps(arguments), "call_id": call_id}
        case Words(text=text):
            content = [{"type": "output_text", "text": text, "annotations": []}]
            item = {"type": "message", "role": "assistant", "content": content}
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }
    item = {"id": "item_1", "status": "completed", **item}
    return {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": usage}


def response_events(said: Answer) -> Iterator[tuple[str, Json]]:
    """The same answer as the events of a stream."""
    whole = response_object(said)
    yield "response.created", {"response": {**whole, "status": "in_progress", "output": []}}
    yield "response.output_item.added", {"output_index": 0, "item": whole["output"][0]}
    yield "response.output_item.done", {"output_index": 0, "item": whole["output"][0]}
    yield "response.completed", {"response": whole}


def offered(body: Json) -> frozenset[str]:
    """Names of the tools a request offers, in any of the three formats; a built-in tool without a name goes by its type."""
    tools: list[Json] = body.get("tools") or []
    return frozenset(str((tool.get("function") or tool).get("name", tool.get("type"))) for tool in tools)


# --- the server ------------------------------------------------------------------------------------------------------


class ModelServer:
    """Serves a script on a free loopback port while its `with` block is open.

    `steps`: played in order; past the last one every answer is the word `done`.
    `requests`: everything received so far, in order of arrival; reading it is safe at any time.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.requests: list[Request] = []
        self._steps = tuple(steps)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="model server", daemon=True)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Base URL without a trailing slash and without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def was_told(self, text: str) -> bool:
        """Whether any request so far holds the text."""
        return any(text in request.body for request in self.requests)

    def reply(self, raw: str) -> tuple[Json, Answer]:
        """The parsed request and what to say to it."""
        body: Json = json.loads(raw)
        number = next_step(raw)
        step = self._steps[number] if number < len(self._steps) else Say(text="done")
        return body, answer(step, number, offered(body), raw)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(_Handler):
            server_model = model

        return Handler


class _Handler(BaseHTTPRequestHandler):
    """HTTP in front of the script."""

    protocol_version = "HTTP/1.1"
    server_model: ModelServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: requests are kept, not printed."""

    def do_HEAD(self) -> None:
        self._keep("")
        self._send(b"", "application/json")

    def do_GET(self) -> None:
        self._keep("")
        self._json({"object": "list", "data": [], "models": []})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", "0"))).decode("utf-8", "replace")
        self._keep(raw)
        route = self.path.partition("?")[0]
        if route.endswith("/messages/count_tokens"):
            self._json({"input_tokens": 10})
        elif route.endswith("/messages"):
            self._speak(raw, anthropic_message, anthropic_events)
        elif route.endswith("/chat/completions"):
            self._speak(raw, chat_completion, _chat_events)
        elif route.endswith("/responses"):
            self._speak(raw, response_object, response_events)
        else:
            self._json({})

    def _keep(self, body: str) -> None:
        self.server_model.requests.append(Request(method=self.command, path=self.path, body=body))

    def _speak(
        self, raw: str, whole: Callable[[Answer], Json], events: Callable[[Answer], Iterator[tuple[str, Json]]]
    ) -> None:
        body, said = self.server_model.reply(raw)
        if not body.get("stream"):
            self._json(whole(said))
            return
        self._send("".join(_sse(name, data) for name, data in events(said)).encode(), "text/event-stream")

    def _json(self, value: Json) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _chat_events(said: Answer) -> Iterator[tuple[str, Json]]:
    """Chat Completions streams have no event names and end with a word."""
    yield "", chat_completion(said, delta=True)
    yield "[DONE]", {}


def _sse(name: str, data: Json) -> str:
    """One server-sent event; named events carry their name in the data as `type` too."""
    if name == "[DONE]":
        return "data: [DONE]\n\n"
    if not name:
        return f"data: {json.dumps(data)}\n\n"
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"
