"""One redirected connection inside mitmproxy: read, judged, then passed on; the only file that imports mitmproxy.

mitmproxy parses and speaks HTTP/1, HTTP/2, WebSocket and TLS; its layers are state machines that yield commands. The classes here
stand where a layer would act: nothing is opened or sent towards a server before a `Judge` came back with an allow. mitmproxy's
addons and master are not used: they let traffic pass when an addon fails, and take half a second to import. Here an exception
anywhere in a connection's layers, hooks or tasks ends that connection (`Connection.abort`).

What never enters: the guard's control socket, verdicts being made, the kernel's redirection.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import connection, http, options, tcp, tls
from mitmproxy.proxy import commands, events, layer, mode_specs, server, server_hooks
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers import tcp as tcp_layer
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
HELD_LIMIT = 1024 * 1024  # bytes read from a client and kept while a verdict or a connection is waited for
QUEUE_LIMIT = 4 * 1024 * 1024  # bytes kept for an HTTP/2 peer that has closed its window
DISCARD_LIMIT = 64 * 1024 * 1024  # bytes of a refused upload that are read so that the client gets to see the answer
MESSAGE_LIMIT = 64 * 1024 * 1024  # bytes of one WebSocket message, which is looked at whole
HELLO_LIMIT = 64 * 1024  # bytes of a ClientHello
IDLE_S = 24 * 3600  # mitmproxy closes connections without activity; natively nobody does
UPSTREAM_CONNECTIONS = 100  # at once for one client connection; HTTP/2 clients of HTTP/1 servers need one per request

type Commands[T] = layer.CommandGenerator[T]

H2 = b"h2"
HTTP1 = b"http/1.1"


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
    options: options.Options
    alpn: dict[tuple[str, int], bytes | None] = field(default_factory=dict)


def make_options() -> options.Options:
    """The options of mitmproxy, with those that its layers read and its addons would have declared."""
    made = options.Options()
    declared: tuple[tuple[str, Any, Any], ...] = (
        ("connection_strategy", str, "lazy"),
        ("stream_large_bodies", str | None, None),  # `Stream` decides what is streamed
        ("body_size_limit", str | None, None),
        ("keep_host_header", bool, True),
        ("store_streamed_bodies", bool, False),
        ("validate_inbound_headers", bool, True),  # against request smuggling
        ("normalize_outbound_headers", bool, True),
        ("proxy_debug", bool, False),
    )
    for name, kind, value in declared:
        made.add_option(name, kind, value, "")
    made.update(tcp_timeout=IDLE_S)  # type: ignore[no-untyped-call]
    return made


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
                    yield from self._pass_through()
                    return
                yield from self._forget_upstream()
                yield from self._become(self._tls_stack(), closing)
            case "http" | "h2c":
                yield from self._forget_upstream()
                if words == "h2c":
                    self.context.client.alpn = H2
                else:
                    self._buffer = self._buffer.lstrip(
                        b"\r\n"
                    )  # RFC 9112 §2.2: an empty line before a request is ignored
                yield from self._become(HttpLayer(self.context, self._destination, self._house), closing)
            case _:
                yield from self._become_raw(closing)

    def _tls_stack(self) -> layer.Layer:
        outer = tls_layer.ServerTLSLayer(self.context)
        inner = tls_layer.ClientTLSLayer(self.context)
        outer.child_layer = inner
        inner.child_layer = FirstBytes(self.context, self._destination, self._house, inside_tls=True)
        return outer

    def _pass_through(self) -> Commands[None]:
        """TLS that is not opened: the names are judged, then bytes flow."""
        hello = tls_layer.parse_client_hello(self._buffer)
        if hello is None:
            if len(self._buffer) > HELLO_LIMIT:
                raise RefusedError("the ClientHello is too long")
            return
        self._destination.sni = hello.sni
        answer = yield from _judge(passthrough_action(self._destination))
        if not answer.allow:
            yield from _close_refused(self.context, self._destination, answer)
            return
        yield from self._become(Relay(self.context, self._destination, self._house, judged=True, scan=False))

    def _forget_upstream(self) -> Commands[None]:
        """A connection that was opened for a server that then did not speak first is of no use to what is inspected."""
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
        return len(side.buf) if isinstance(side, Http1Connection) else 0

    def too_long(self) -> bool:
        """Whether a peer keeps something growing that has no end of its own: a head, a chunk line, a WebSocket message."""
        for peer, top in self.connections.items():
            for part in _chain(top):
                waits = peer == self.context.client and isinstance(part, Http1Connection) and part.state == part.wait
                if isinstance(part, Http1Connection) and len(part.buf) > HEAD_LIMIT * 4 and not waits:
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
        request = event.request
        if len(request.headers.get_all("host")) > 1 or request.method.upper() == "CONNECT":
            yield from self._refuse_unseen(event)
            return
        _drop_h2c_upgrade(request)
        yield from super().state_wait_for_request_headers(event)
        if self.client_state == self.state_consume_request_body and not event.end_stream:
            yield from self._wait()

    def _refuse_unseen(self, event: RequestHeaders) -> Commands[None]:
        """What cannot be inspected is judged for the record and refused whatever the verdict: tunnels, two Host headers."""
        self.flow = http.HTTPFlow(self.context.client, self.context.server)
        self.flow.request = event.request
        answer = yield from _judge(self._action(b"", complete=event.end_stream))
        if answer.allow:
            because = (
                "a tunnel through a proxy cannot be inspected"
                if event.request.method.upper() == "CONNECT"
                else ("a request with two Host headers cannot be judged")
            )
            answer = Answer(allow=False, because=because)
        yield from self._refuse(answer)

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


class Gate:
    """A connection's reader that waits while `shut()`, and counts."""

    def __init__(
        self, reader: asyncio.StreamReader, shut: Callable[[], bool], moved: asyncio.Event, count: Callable[[int], None]
    ) -> None:
        self._reader, self._shut, self._moved, self._count = reader, shut, moved, count

    async def read(self, size: int) -> bytes:
        while self._shut():
            self._moved.clear()
            await self._moved.wait()
        data = await self._reader.read(size)
        self._count(len(data))
        return data


class Connection(server.LiveConnectionHandler):
    """Moves the bytes of one redirected connection and performs what its layers command."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        destination: Destination,
        house: House,
    ) -> None:
        self._moved = asyncio.Event()
        self._destination = destination
        self._house = house
        self._waiting = 0  # verdicts and upstream connections that layers wait for
        self._held = 0  # bytes read from the client meanwhile
        self._aborted = False
        gate = Gate(reader, self._client_must_wait, self._moved, self._count_client)
        super().__init__(gate, writer, house.options, _MODE)  # type: ignore[arg-type]
        self.max_conns.default_factory = lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS)
        context = self.layer.context
        context.server.address = (destination.address, destination.port)
        self.layer = FirstBytes(context, destination, house)
        self._connecting: set[connection.Server] = set()

    # Failing closed.

    def abort(self, reason: str) -> None:
        """Ends everything of this connection at once, without another byte in either direction."""
        if self._destination.error is None:
            self._destination.error = reason
        self._aborted = True
        for io in list(self.transports.values()):
            if isinstance(io.writer, asyncio.StreamWriter):
                io.writer.transport.abort()
            if io.handler is not None:
                io.handler.cancel(reason)

    async def server_event(self, event: events.Event) -> None:
        if self._aborted:
            return
        await super().server_event(event)
        http_part = self._http()
        if http_part is not None and http_part.too_long():
            self.abort("a head, chunk or message without end")
        self._moved.set()

    async def handle_connection(self, connection: connection.Connection) -> None:
        if self._aborted:
            io = self.transports.pop(connection)
            if io.writer is not None:
                io.writer.close()
            return
        await super().handle_connection(connection)

    async def hook_task(self, hook: commands.StartHook) -> None:
        try:
            await self.handle_hook(hook)
        except Exception as problem:  # noqa: BLE001  the end of the room: whatever it was, nothing passes
            self._fault(problem)
            return
        if hook.blocking or isinstance(hook, JudgeHook):
            await self.server_event(events.HookCompleted(hook))

    async def open_connection(self, command: commands.OpenConnection) -> None:
        try:
            await super().open_connection(command)
        except Exception as problem:  # noqa: BLE001  as above
            self._fault(problem)

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Where mitmproxy reports a crashed layer, whose connection it would leave as it is; it is ended."""
        if level >= logging.ERROR:
            problem = exc_info[1] if isinstance(exc_info, tuple) else sys.exception()
            if problem is not None:
                self._fault(problem)
            else:
                self.abort(message)

    def _fault(self, problem: BaseException) -> None:
        if not isinstance(problem, RefusedError):
            traceback.print_exception(problem, file=sys.stderr)
        self.abort(f"{type(problem).__name__}: {problem}" if not isinstance(problem, RefusedError) else str(problem))

    # Memory.

    def _http(self) -> HttpLayer | None:
        return next((part for part in self.layer.context.layers if isinstance(part, HttpLayer)), None)

    def _client_must_wait(self) -> bool:
        if self._waiting and self._held > HELD_LIMIT:
            return True
        part = self._http()
        if part is None:
            return False
        if part.pipelined() > HEAD_LIMIT:
            return True
        # Both directions must not wait for each other: windows are opened by what is read.
        return part.waiting_for(client=False) > QUEUE_LIMIT and part.waiting_for(client=True) <= QUEUE_LIMIT

    def _server_must_wait(self) -> bool:
        part = self._http()
        return part is not None and part.waiting_for(client=True) > QUEUE_LIMIT

    def _count_client(self, size: int) -> None:
        self._held = self._held + size if self._waiting else 0

    def _count_server(self, size: int) -> None:
        self._destination.received += size

    # What layers ask for.

    async def handle_hook(self, hook: commands.StartHook) -> None:
        if isinstance(hook, JudgeHook):
            hook.answer = await self._ask(hook.action)
            return
        act = _HOOKS.get(type(hook))
        if act is None:
            raise RefusedError(f"nothing is known of the hook `{hook.name}`")
        await act(self, *hook.args())

    async def _nothing(self, data: Any) -> None:
        """Nothing to do."""

    async def _ask(self, action: dict[str, Any]) -> Answer:
        self._waiting += 1
        try:
            answer = await self._house.judge(self._destination.flow, action)
        finally:
            self._waiting -= 1
        if answer.allow:
            self._destination.allowed = True
        return answer

    async def _server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        announced = (self._destination.address, self._destination.port)
        if not self._destination.allowed or data.server.address != announced or data.server.via is not None:
            raise RefusedError(f"a connection to {data.server.address} was about to be opened without a verdict")
        self._connecting.add(data.server)
        self._waiting += 1

    async def _server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        io = self.transports[data.server]
        if not isinstance(io.reader, asyncio.StreamReader) or not isinstance(io.writer, asyncio.StreamWriter):
            raise RefusedError("an upstream connection that is no TCP stream")
        io.reader = Gate(io.reader, self._server_must_wait, self._moved, self._count_server)  # type: ignore[assignment]
        io.writer = Meter(io.writer, self._destination)  # type: ignore[assignment]
        if not data.server.tls:
            self._ready(data.server)
            data.server.alpn = self.client.alpn if self.client.alpn == H2 and not self.client.tls else None

    async def _server_lost(self, data: server_hooks.ServerConnectionHookData) -> None:
        self._ready(data.server)

    def _ready(self, peer: connection.Connection) -> None:
        if peer in self._connecting:
            self._connecting.discard(peer)
            self._waiting -= 1

    async def _client_hello(self, data: tls.ClientHelloData) -> None:
        self._destination.sni = data.client_hello.sni

    async def _start_client_tls(self, data: tls.TlsData) -> None:
        place = self._destination
        known = self._house.alpn.get((place.address, place.port), H2)
        accepts = (H2, HTTP1) if known == H2 else (HTTP1,)
        names = tuple(dict.fromkeys(name for name in (place.sni, *place.names, place.address) if name))
        data.ssl_conn = self._house.authority.server_side(names, accepts)

    async def _start_server_tls(self, data: tls.TlsData) -> None:
        place = self._destination
        offers = {H2: [H2, HTTP1], HTTP1: [HTTP1]}.get(data.context.client.alpn or b"", [])
        name = place.sni or (place.names[0] if place.names else place.address)
        data.ssl_conn = self._house.verifier.client_side(name, place.sni, offers)

    async def _server_tls(self, data: tls.TlsData) -> None:
        if len(self._house.alpn) > 10_000:  # a session that talks to more servers may ask again
            self._house.alpn.clear()
        if data.context.client.alpn == H2:
            self._house.alpn[self._destination.address, self._destination.port] = data.conn.alpn
        self._ready(data.conn)

    async def _server_tls_failed(self, data: tls.TlsData) -> None:
        self._destination.error = f"the server's TLS: {data.conn.error}"
        self._ready(data.conn)

    async def _client_tls_failed(self, data: tls.TlsData) -> None:
        self._destination.error = f"the client's TLS: {data.conn.error}"

    async def _response_head(self, flow: http.HTTPFlow) -> None:
        if flow.response is not None and flow.response.raw_content is None:  # ours have their content already
            flow.response.stream = True

    async def _http_error(self, flow: http.HTTPFlow) -> None:
        if flow.error is not None and self._destination.error is None:
            self._destination.error = flow.error.msg

    async def _websocket_message(self, flow: http.HTTPFlow) -> None:
        messages = flow.websocket.messages if flow.websocket is not None else []
        message = messages[-1]
        messages.clear()  # mitmproxy keeps them all
        if message.from_client:
            await self._judge_upgraded(flow.metadata, message.content, first=False)

    async def _upgraded_message(self, flow: tcp.TCPFlow) -> None:
        """Bytes after an upgrade to something that is no WebSocket: the client's first are judged like any raw bytes."""
        message = flow.messages[-1]
        flow.messages.clear()
        if message.from_client:
            await self._judge_upgraded(flow.metadata, message.content, first=True)

    async def _judge_upgraded(self, kept: dict[Any, Any], data: bytes, *, first: bool) -> None:
        scan: Scan = kept.setdefault("guard_scan", Scan(self._house.secrets))
        if scan.feed(data) or (first and not kept.get("guard_judged")):
            answer = await self._ask(raw_action(self._destination, data, scan.labels))
            if not answer.allow:
                raise RefusedError(f"blocked: {answer.because}")
            kept["guard_judged"] = True


class Meter:
    """A server's writer that counts."""

    def __init__(self, writer: asyncio.StreamWriter, destination: Destination) -> None:
        self._writer = writer
        self._destination = destination
        self.drain, self.close, self.write_eof = writer.drain, writer.close, writer.write_eof
        self.is_closing, self.transport = writer.is_closing, writer.transport

    def write(self, data: bytes) -> None:
        self._destination.sent += len(data)
        self._writer.write(data)


_MODE = mode_specs.ProxyMode.parse("regular")

# What is not in this table ends the connection.
_HOOKS: dict[type[commands.StartHook], Callable[..., Awaitable[None]]] = {
    server_hooks.ClientConnectedHook: Connection._nothing,
    server_hooks.ClientDisconnectedHook: Connection._nothing,
    server_hooks.ServerConnectHook: Connection._server_connect,
    server_hooks.ServerConnectedHook: Connection._server_connected,
    server_hooks.ServerConnectErrorHook: Connection._server_lost,
    server_hooks.ServerDisconnectedHook: Connection._server_lost,
    tls_layer.TlsClienthelloHook: Connection._client_hello,
    tls_layer.TlsStartClientHook: Connection._start_client_tls,
    tls_layer.TlsStartServerHook: Connection._start_server_tls,
    tls_layer.TlsEstablishedClientHook: Connection._nothing,
    tls_layer.TlsEstablishedServerHook: Connection._server_tls,
    tls_layer.TlsFailedClientHook: Connection._client_tls_failed,
    tls_layer.TlsFailedServerHook: Connection._server_tls_failed,
    http_hooks.HttpRequestHeadersHook: Connection._nothing,  # judged in `Stream`, with the start of the body
    http_hooks.HttpRequestHook: Connection._nothing,
    http_hooks.HttpResponseHeadersHook: Connection._response_head,
    http_hooks.HttpResponseHook: Connection._nothing,
    http_hooks.HttpErrorHook: Connection._http_error,
    websocket_layer.WebsocketStartHook: Connection._nothing,
    websocket_layer.WebsocketMessageHook: Connection._websocket_message,
    websocket_layer.WebsocketEndHook: Connection._nothing,
    tcp_layer.TcpStartHook: Connection._nothing,
    tcp_layer.TcpMessageHook: Connection._upgraded_message,
    tcp_layer.TcpEndHook: Connection._nothing,
    tcp_layer.TcpErrorHook: Connection._nothing,
}
