"""What happens inside one redirected connection: read, judged, then passed on, as layers of mitmproxy's.

mitmproxy parses and speaks HTTP/1, HTTP/2, WebSocket and TLS; its layers are state machines that yield commands. The classes here
stand where a layer would act: nothing is opened or sent towards a server before a `JudgeHook` came back with an allow. mitmproxy's
addons and master are not used: they let traffic pass when an addon fails, and take half a second to import. Here an exception
anywhere in a connection's layers, hooks or tasks ends that connection (guard.intercept.proxy_connection).

What never enters: the guard's control socket, verdicts being made, the kernel's redirection.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import connection, http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers import tls as tls_layer
from mitmproxy.proxy.layers import websocket as websocket_layer
from mitmproxy.proxy.layers.http import _hooks as http_hooks
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Connection, Http1Server, make_error_response

from guard.intercept.proxy_request import (
    PREFIX,
    Answer,
    Destination,
    first_words,
    passthrough_action,
    raw_action,
    refusal,
    request_action,
)
from guard.intercept.proxy_request import REQUEST_LINE as HTTP_LINE
from guard.intercept.proxy_secrets import Scan, Secrets
from guard.intercept.tls import Authority, Verifier

SILENCE_S = 0.3  # how long a client may say nothing before the connection counts as one where the server speaks first
BODY_IDLE_S = 0.1  # how long a body may stand still before what came so far is judged (streams that wait for answers)
HEAD_LIMIT = 256 * 1024  # bytes of an HTTP/1 head or chunk line; servers accept 8 to 64 KiB
DISCARD_LIMIT = 64 * 1024 * 1024  # bytes of a refused upload that are read so that the client gets to see the answer
MESSAGE_LIMIT = 64 * 1024 * 1024  # bytes of one WebSocket message, which is looked at whole, and of any queue
HELLO_LIMIT = 64 * 1024  # bytes of a ClientHello
IDLE_S = 24 * 3600  # mitmproxy closes connections without activity; natively nobody does

type Commands[T] = layer.CommandGenerator[T]

H2 = b"h2"
HTTP1 = b"http/1.1"


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that mitmproxy's layers read, as plain attributes: its own are checked for their type at every look."""

    connection_strategy: str = "lazy"
    stream_large_bodies: None = None  # `Stream` decides what is streamed
    body_size_limit: None = None
    keep_host_header: bool = True
    store_streamed_bodies: bool = False
    validate_inbound_headers: bool = True  # against request smuggling
    normalize_outbound_headers: bool = True
    http2_ping_keepalive: int = 58  # seconds; mitmproxy's own
    websocket: bool = True
    rawtcp: bool = True
    tcp_timeout: int = IDLE_S
    proxy_debug: bool = False


@dataclass(slots=True, kw_only=True)
class House:
    """What connections share.

    `judge` asks the guard about one action of a flow and may take minutes; `alpn` remembers what servers speak, so that
    clients are not promised HTTP/2 where there is none.
    """

    judge: Callable[[Any, dict[str, Any]], Awaitable[Answer]]
    secrets: Secrets
    authority: Authority
    verifier: Verifier
    settings: Settings = field(default_factory=Settings)
    alpn: dict[tuple[str, int], bytes | None] = field(default_factory=dict)


class RefusedError(Exception):
    """The connection ends here; the text says why."""


@dataclass
class JudgeHook(commands.StartHook):  # type: ignore[no-untyped-call]
    """Ask the guard; `answer` is set when the layer goes on."""

    name = "guard_judge"
    action: dict[str, Any]
    answer: Answer | None = None


def _judge(action: dict[str, Any]) -> Commands[Answer]:
    hook = JudgeHook(action)
    yield hook
    if hook.answer is None:
        raise RefusedError("no verdict")
    return hook.answer


class FirstBytes(layer.Layer):
    """Waits for the client's first bytes and puts the layer there that they ask for; inside TLS once more.

    A client that says nothing for `SILENCE_S` may be waiting for a server that speaks first: the guard is asked whether the
    connection may be opened at all. Bytes that come meanwhile are judged on their own.
    """

    def __init__(self, context: Context, destination: Destination, house: House, *, inside_tls: bool = False) -> None:
        super().__init__(context)
        self._destination = destination
        self._house = house
        self._inside_tls = inside_tls
        self._buffer = b""
        self._timer: commands.RequestWakeup | None = None
        self._silent: JudgeHook | None = None
        self._asked: list[commands.Command] = []  # timers and questions of ours that will still come back
        self._opened = False
        self._left: connection.Server | None = None  # a server connection that is being closed unused
        self._child: layer.Layer | None = None

    def _handle_event(self, event: events.Event) -> Commands[None]:
        if isinstance(event, events.ConnectionEvent) and event.connection is self._left:
            return
        if isinstance(event, events.CommandCompleted) and event.command in self._asked:
            self._asked.remove(event.command)
        elif self._child is not None:
            yield from self._child.handle_event(event)
            return
        if self._child is None:
            yield from self._before(event)

    def _before(self, event: events.Event) -> Commands[None]:
        """Everything that happens until it is known what the client speaks."""
        match event:
            case events.Start():
                yield from self._begin()
            case events.Wakeup() if event.command is self._timer:
                yield from self._nothing_more()
            case events.HookCompleted() if event.command is self._silent:
                yield from self._silent_answer()
            case events.DataReceived() if event.connection == self.context.client:
                self._buffer += event.data
                yield from self._decide(waited=False)
            case events.DataReceived():
                yield from self._become_raw(event)
            case events.ConnectionClosed() if event.connection == self.context.client and self._buffer:
                yield from self._decide(waited=True, closing=event)
            case events.ConnectionClosed():
                yield commands.CloseConnection(self.context.client)

    def _begin(self) -> Commands[None]:
        if self._inside_tls and self.context.client.alpn in (H2, HTTP1):
            yield from self._become(HttpLayer(self.context, self._destination, self._house))
        else:
            yield from self._wait()

    def _wait(self) -> Commands[None]:
        self._timer = commands.RequestWakeup(SILENCE_S)
        self._asked.append(self._timer)
        yield self._timer

    def _nothing_more(self) -> Commands[None]:
        if self._buffer:
            yield from self._decide(waited=True)
        elif self._silent is None and not self._opened:
            self._silent = JudgeHook(raw_action(self._destination, b"", ()))
            self._asked.append(self._silent)
            self._silent.blocking = False  # what the client says meanwhile does not wait for this answer
            yield self._silent

    def _silent_answer(self) -> Commands[None]:
        if self._silent is None or self._silent.answer is None:
            raise RefusedError("no verdict")
        answer, self._silent = self._silent.answer, None
        if self._buffer:
            return  # the client is in the middle of its first words, which are judged by themselves
        if not answer.allow:
            yield from _close_refused(self.context, self._destination, answer)
            return
        problem = yield commands.OpenConnection(self.context.server)
        if problem:
            yield from _close_failed(self.context, self._destination, problem)
            return
        self._opened = True

    def _decide(self, *, waited: bool, closing: events.ConnectionClosed | None = None) -> Commands[None]:
        words = first_words(self._buffer, tls_possible=not self._inside_tls, waited=waited)
        match words:
            case "more" if closing is None:
                if not waited:
                    yield from self._wait()
                return
            case "tls":
                if self._destination.inspect == "passthrough":
                    yield from self._pass_through(closing)
                    return
                yield from self._forget_upstream()
                yield from self._become(self._tls_stack(), closing)
            case "http" | "h2c":
                if words == "h2c":
                    self.context.client.alpn = H2
                else:
                    self._buffer = self._buffer.lstrip(b"\r\n")  # ignored before a request: RFC 9112 §2.2
                yield from self._become(HttpLayer(self.context, self._destination, self._house), closing)
            case _:
                yield from self._become_raw(closing)

    def _tls_stack(self) -> layer.Layer:
        outer = tls_layer.ServerTLSLayer(self.context)
        inner = tls_layer.ClientTLSLayer(self.context)
        outer.child_layer = inner
        inner.child_layer = FirstBytes(self.context, self._destination, self._house, inside_tls=True)
        return outer

    def _pass_through(self, closing: events.ConnectionClosed | None) -> Commands[None]:
        """TLS that is not opened: the names are judged, then bytes flow."""
        hello = tls_layer.parse_client_hello(self._buffer)
        if hello is None:
            if len(self._buffer) > HELLO_LIMIT:
                raise RefusedError("the ClientHello is too long")
            if closing is not None:
                yield commands.CloseConnection(self.context.client)
            return
        self._destination.sni = hello.sni
        answer = yield from _judge(passthrough_action(self._destination))
        if not answer.allow:
            yield from _close_refused(self.context, self._destination, answer)
            return
        relay = Relay(self.context, self._destination, self._house, judged=True, scan=False)
        yield from self._become(relay, closing)

    def _forget_upstream(self) -> Commands[None]:
        """A connection opened for a server that did not speak first would get a ClientHello before the request was judged."""
        if self._opened:
            self._left = self.context.server
            yield commands.CloseConnection(self._left)
            self.context.server = connection.Server(address=self.context.server.address)
            self._opened = False

    def _become_raw(self, event: events.Event | None) -> Commands[None]:
        yield from self._become(Relay(self.context, self._destination, self._house), event)

    def _become(self, child: layer.Layer, event: events.Event | None = None) -> Commands[None]:
        """Hands everything to `child` from now on: the start, the bytes so far, then `event`."""
        self._child = child
        yield from child.handle_event(events.Start())
        if self._buffer:
            data, self._buffer = self._buffer, b""
            yield from child.handle_event(events.DataReceived(self.context.client, data))
        if event is not None:
            yield from child.handle_event(event)


def _close_refused(context: Context, destination: Destination, answer: Answer) -> Commands[None]:
    destination.error = f"blocked: {answer.because}"
    yield from _close_both(context)


def _close_failed(context: Context, destination: Destination, problem: str) -> Commands[None]:
    destination.error = f"cannot reach the server: {problem}"
    yield from _close_both(context)


def _close_both(context: Context) -> Commands[None]:
    if context.server.state is not connection.ConnectionState.CLOSED:
        yield commands.CloseConnection(context.server)
    yield commands.CloseConnection(context.client)


class Relay(layer.Layer):
    """Bytes that are no HTTP: the first of the client are judged, every one of them is scanned, then they flow both ways."""

    def __init__(
        self, context: Context, destination: Destination, house: House, *, judged: bool = False, scan: bool = True
    ) -> None:
        super().__init__(context)
        self._destination = destination
        self._judged = judged
        self._scan = Scan(house.secrets) if scan else None
        self._line: bytes | None = b"" if scan else None  # the first line while it is not whole
        self._over = False

    def _handle_event(self, event: events.Event) -> Commands[None]:
        if self._over:
            return
        match event:
            case events.DataReceived() if event.connection == self.context.client:
                yield from self._from_client(event.data)
            case events.DataReceived():
                yield commands.SendData(self.context.client, event.data)
            case events.ConnectionClosed():
                yield from self._closed(event)

    def _from_client(self, data: bytes) -> Commands[None]:
        found = self._scan is not None and self._scan.feed(data)
        if not self._judged or found:
            labels = self._scan.labels if self._scan is not None else ()
            answer = yield from _judge(raw_action(self._destination, data, labels))
            if not answer.allow:
                self._over = True
                yield from _close_refused(self.context, self._destination, answer)
                return
            self._judged = True
        self._refuse_disguise(data)
        if self.context.server.timestamp_start is None:
            problem = yield commands.OpenConnection(self.context.server)
            if problem:
                self._over = True
                yield from _close_failed(self.context, self._destination, problem)
                return
        yield commands.SendData(self.context.server, data)

    def _refuse_disguise(self, data: bytes) -> None:
        """A request whose first line came in pieces with pauses was judged as raw bytes: it must not become a request."""
        if self._line is None:
            return
        line, end, _ = (self._line + data).lstrip(b"\r\n").partition(b"\n")
        if end and HTTP_LINE.match(line):
            raise RefusedError("an HTTP request in pieces was judged as plain bytes")
        self._line = None if end or len(line) > HEAD_LIMIT else line

    def _closed(self, event: events.ConnectionClosed) -> Commands[None]:
        """Half-closes as TCP does; both sides go when neither can be read, or nothing was ever opened."""
        reading = connection.ConnectionState.CAN_READ
        never_opened = self.context.server.timestamp_start is None
        if never_opened or not (self.context.client.state & reading or self.context.server.state & reading):
            self._over = True
            yield from _close_both(self.context)
            return
        from_client = event.connection == self.context.client
        yield commands.CloseTcpConnection(self.context.server if from_client else self.context.client, half_close=True)


class Http1Side(Http1Server):
    """mitmproxy's HTTP/1 server, with an end to how long a head may be."""

    def read_headers(self, event: events.ConnectionEvent) -> Commands[None]:
        yield from super().read_headers(event)
        if self.state == self.read_headers and len(self.buf) > HEAD_LIMIT:
            yield commands.SendData(self.conn, make_error_response(431, "The request's headers are too long."))
            yield commands.CloseConnection(self.conn)
            self.state = self.done


class HttpLayer(http_layer.HttpLayer):
    """HTTP towards the announced destination; its streams are judged."""

    def __init__(self, context: Context, destination: Destination, house: House) -> None:
        super().__init__(context, http_layer.HTTPMode.transparent)
        self.destination = destination
        self.house = house
        if context.client.alpn != H2:
            self.connections[context.client] = Http1Side(context.fork())

    def make_stream(self, stream_id: int) -> Commands[None]:
        stream = self.streams[stream_id] = Stream(self.context.fork(), stream_id, self.destination, self.house)
        yield from self.event_to_child(stream, events.Start())

    def waiting_for(self, *, client: bool) -> int:
        """Bytes kept here for the client, or else for servers, because their HTTP/2 windows are closed."""
        queued = 0
        for peer, top in self.connections.items():
            if (peer == self.context.client) is client:
                for part in _chain(top):
                    buffers = getattr(getattr(part, "h2_conn", None), "stream_buffers", None) or {}
                    queued += sum(len(piece.data) for buffer in buffers.values() for piece in buffer)
        return queued

    def pipelined(self) -> int:
        """Bytes of requests that wait for the one before them."""
        side = self.connections[self.context.client]
        return len(side.buf) if isinstance(side, Http1Connection) and side.state == side.wait else 0

    def too_long(self) -> bool:
        """Whether something grows that has no end of its own: a head, a chunk line, a WebSocket message, a queue both ways."""
        if self.waiting_for(client=False) > MESSAGE_LIMIT:
            return True
        for top in self.connections.values():
            for part in _chain(top):
                if isinstance(part, Http1Connection) and len(part.buf) > 4 * HEAD_LIMIT and part.state != part.wait:
                    return True
        sockets = (stream.child_layer for stream in self.streams.values())
        return any(
            sum(map(len, side.frame_buf)) > MESSAGE_LIMIT
            for upgraded in sockets
            if isinstance(upgraded, websocket_layer.WebsocketLayer) and hasattr(upgraded, "server_ws")
            for side in (upgraded.client_ws, upgraded.server_ws)
        )


def _chain(top: layer.Layer) -> Iterator[layer.Layer]:
    part: layer.Layer | None = top
    while part is not None:
        yield part
        part = getattr(part, "child_layer", None)


class Stream(http_layer.HttpStream):
    """One request and its response. The request is judged with the start of its body before a server is even connected to."""

    def __init__(self, context: Context, stream_id: int, destination: Destination, house: House) -> None:
        super().__init__(context, stream_id)
        self._destination = destination
        self._scan = Scan(house.secrets)
        self._timer: commands.RequestWakeup | None = None
        self._seen = 0  # bytes of body at the last look
        self._discarded = 0

    def handle_event(self, event: events.Event) -> Commands[None]:
        """Answers mitmproxy's own hooks on the spot: a task for each would take longer than all the rest."""
        for command in super().handle_event(event):
            if isinstance(command, _UNHEEDED):
                if isinstance(command, http_hooks.HttpResponseHeadersHook):
                    _stream_response(command.flow)
                yield from self.handle_event(events.HookCompleted(command))
            else:
                yield command

    def _handle_event(self, event: events.Event) -> Commands[None]:
        if isinstance(event, events.Wakeup):
            yield from self._body_idle()
        else:
            yield from super()._handle_event(event)

    def passthrough(self, event: events.Event) -> Commands[None]:
        if not isinstance(event, events.Wakeup):  # a timer of the request's that outlived it
            yield from super().passthrough(event)

    # The head.

    def state_wait_for_request_headers(self, event: RequestHeaders) -> Commands[None]:
        problem = _cannot_be_judged(event.request)
        if problem is not None:
            yield from self._refuse_unseen(event, problem)
            return
        _drop_h2c_upgrade(event.request)
        yield from super().state_wait_for_request_headers(event)
        if self.client_state == self.state_consume_request_body and not event.end_stream:
            yield from self._wait()

    def _refuse_unseen(self, event: RequestHeaders, problem: str) -> Commands[None]:
        """Asks for the record, and refuses whatever the verdict."""
        self.flow = http.HTTPFlow(self.context.client, self.context.server)
        self.flow.request = event.request
        answer = yield from _judge(self._action(b"", complete=event.end_stream))
        yield from self._refuse(Answer(allow=False, because=problem) if answer.allow else answer)

    def make_server_connection(self) -> Commands[bool]:
        """A body of HTTP/2 without a length would reach an HTTP/1 server as requests of its own: it gets a frame."""
        made = yield from super().make_server_connection()
        request = self.flow.request
        downgraded = made and request.is_http2 and self.context.server.alpn != H2
        if downgraded and "content-length" not in request.headers and (request.stream or request.raw_content):
            request.headers["transfer-encoding"] = "chunked"
        return made

    # The body.

    def state_consume_request_body(self, event: events.Event) -> Commands[None]:
        match event:
            case RequestData():
                self.request_body_buf += event.data
                if len(self.request_body_buf) >= PREFIX:
                    yield from self._judge_early()
            case RequestEndOfMessage():
                yield from self._judge_whole(event)
            case _:
                yield from super().state_consume_request_body(event)

    def _judge_whole(self, event: RequestEndOfMessage) -> Commands[None]:
        body = bytes(self.request_body_buf)
        self._scan.feed(body + bytes(self.flow.request.trailers or b""))
        answer = yield from _judge(self._action(body, complete=True))
        if (yield from self.check_killed(True)):
            return
        if not answer.allow:
            self.request_body_buf.clear()  # type: ignore[no-untyped-call]
            self.flow.response = _forbidden(self.flow.request, answer, close=False)
        yield from super().state_consume_request_body(event)

    def _judge_early(self) -> Commands[None]:
        """Judges with the body so far; an allowed one streams from here on."""
        body = bytes(self.request_body_buf)
        self._scan.feed(body)
        answer = yield from _judge(self._action(body, complete=False))
        if (yield from self.check_killed(True)):
            return
        self.request_body_buf.clear()  # type: ignore[no-untyped-call]
        if not answer.allow:
            yield from self._refuse(answer)
            return
        self.flow.request.stream = True
        yield from self.start_request_stream()
        if self.client_state == self.state_stream_request_body and body:
            yield from super().state_stream_request_body(RequestData(self.stream_id, body))

    def state_stream_request_body(self, event: events.Event) -> Commands[None]:
        more = b""
        if isinstance(event, RequestData):
            more = event.data
        elif isinstance(event, RequestTrailers):
            more = bytes(event.trailers)
        if more and self._scan.feed(more):
            answer = yield from _judge(self._action(more, complete=False))
            if not answer.allow:
                yield from self._cut(answer)
                return
        yield from super().state_stream_request_body(event)

    def _wait(self) -> Commands[None]:
        self._timer = commands.RequestWakeup(BODY_IDLE_S)
        yield self._timer

    def _body_idle(self) -> Commands[None]:
        if self.client_state != self.state_consume_request_body:
            return
        if len(self.request_body_buf) > self._seen:
            self._seen = len(self.request_body_buf)
            yield from self._wait()
        else:
            yield from self._judge_early()

    # The answer.

    def _refuse(self, answer: Answer) -> Commands[None]:
        """Answers while the client may still be sending; the rest of its body is read and dropped."""
        self.flow.response = _forbidden(self.flow.request, answer, close=True)
        self.client_state = self._discard
        yield from self.send_response()
        yield http_layer.SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def _discard(self, event: events.Event) -> Commands[None]:
        if isinstance(event, RequestData):
            self._discarded += len(event.data)
            if self._discarded > DISCARD_LIMIT:
                raise RefusedError("a refused upload did not end")
        elif isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_done
            yield http_layer.DropStream(self.stream_id)

    def _cut(self, answer: Answer) -> Commands[None]:
        """Ends a stream of which a part has gone already."""
        self._destination.error = f"blocked: {answer.because}"
        killed = answer.because or "blocked"
        yield http_layer.SendHttp(RequestProtocolError(self.stream_id, killed, ErrorCode.KILL), self.context.server)
        yield http_layer.SendHttp(ResponseProtocolError(self.stream_id, killed, ErrorCode.KILL), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored

    def _action(self, body: bytes, *, complete: bool) -> dict[str, Any]:
        request = self.flow.request
        self._scan.feed(_head_bytes(request))
        declared = request.headers.get("content-length")
        return request_action(
            self._destination,
            tls=self.context.client.tls,
            method=request.method,
            authority=request.authority or request.headers.get("host", ""),
            target=request.path,
            claimed=[*request.headers.get_all("host"), request.authority],
            headers=[(_text(name).lower(), _text(value)) for name, value in request.headers.fields],
            body=body,
            body_size=len(body) if complete else int(declared) if declared is not None else None,
            content=self._scan.labels,
        )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _head_bytes(request: http.Request) -> bytes:
    data = request.data
    return b"%s %s%s\n%s" % (data.method, data.authority, data.path, bytes(data.headers))


def _cannot_be_judged(request: http.Request) -> str | None:
    """Why what servers make of this request may differ from what is judged; None where it cannot."""
    if request.method.upper() == "CONNECT":
        return "a tunnel through a proxy cannot be inspected"
    if len(request.headers.get_all("host")) > 1:
        return "a request with two Host headers cannot be judged"
    if _BLANK.search(request.data.method + request.data.path + request.data.authority):
        return "a request with blanks in its first line cannot be judged"
    return None


_BLANK = re.compile(rb"[\x00-\x20\x7f]")


def _drop_h2c_upgrade(request: http.Request) -> None:
    """Requests on an upgraded h2c connection would not be seen; RFC 9110 §7.8 lets a proxy ignore the upgrade."""
    if "h2c" in request.headers.get("upgrade", "").lower() or "http2-settings" in request.headers:
        for name in ("upgrade", "http2-settings", "connection"):
            request.headers.pop(name, None)


def _forbidden(request: http.Request, answer: Answer, *, close: bool) -> http.Response:
    body = b"" if request.method.upper() == "HEAD" else refusal(answer)
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    if close and not request.is_http2:
        headers["Connection"] = "close"
    return http.Response.make(403, body, headers)


# The request is judged in `Stream` itself, with the start of its body; responses are not judged.
_UNHEEDED = (
    http_hooks.HttpRequestHeadersHook,
    http_hooks.HttpRequestHook,
    http_hooks.HttpResponseHeadersHook,
    http_hooks.HttpResponseHook,
)


def _stream_response(flow: http.HTTPFlow) -> None:
    if flow.response is not None and flow.response.raw_content is None:  # our own refusals have their content already
        flow.response.stream = True
