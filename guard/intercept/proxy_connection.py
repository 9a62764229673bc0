"""The sockets of one redirected connection: bytes in and out, memory bounded, every failure an end.

Beside guard.intercept.proxy_layers the only file that imports mitmproxy: its connection handler moves the bytes and calls the hooks. What
never enters: what is asked about (the layers), how the guard is asked (guard.intercept.proxy).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy import connection, http, tcp, tls
from mitmproxy.proxy import commands, events, mode_specs, server, server_hooks
from mitmproxy.proxy.layers import tcp as tcp_layer
from mitmproxy.proxy.layers import tls as tls_layer
from mitmproxy.proxy.layers import websocket as websocket_layer
from mitmproxy.proxy.layers.http import _hooks as http_hooks

from guard.intercept.proxy_layers import H2, HTTP1, FirstBytes, House, HttpLayer, JudgeHook, RefusedError
from guard.intercept.proxy_request import Answer, Destination, raw_action
from guard.intercept.proxy_secrets import Scan

HELD_LIMIT = 1024 * 1024  # bytes read from a client and kept while a verdict or a connection is waited for
QUEUE_LIMIT = 4 * 1024 * 1024  # bytes kept for an HTTP/2 peer that has closed its window
PIPELINE_LIMIT = 256 * 1024  # bytes of requests that wait for the one before them
UPSTREAM_CONNECTIONS = 100  # at once for one client connection; HTTP/2 clients of HTTP/1 servers need one per request


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
        super().__init__(gate, writer, house.settings, _MODE)  # type: ignore[arg-type]
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
            transport = getattr(io.writer, "transport", None)
            if transport is not None:
                transport.abort()
            if io.handler is not None:
                io.handler.cancel(reason)

    async def server_event(self, event: events.Event) -> None:
        if self._aborted:
            return
        await super().server_event(event)
        if isinstance(event, events.DataReceived):
            part = self._http()
            if part is not None and part.too_long():
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
        if part.pipelined() > PIPELINE_LIMIT:
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
            hook.answer = await self._ask(hook.action, waits=bool(hook.blocking))
            return
        act = _HOOKS.get(type(hook))
        if act is None:
            raise RefusedError(f"nothing is known of the hook `{hook.name}`")
        await act(self, *hook.args())

    async def _nothing(self, data: Any) -> None:
        """Nothing to do."""

    async def _ask(self, action: dict[str, Any], *, waits: bool = True) -> Answer:
        """The guard's answer; `waits` tells that what the client sends meanwhile is kept until then."""
        self._waiting += waits
        try:
            answer = await self._house.judge(self._destination.flow, action)
        finally:
            self._waiting -= waits
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
    http_hooks.HttpErrorHook: Connection._http_error,
    websocket_layer.WebsocketStartHook: Connection._nothing,
    websocket_layer.WebsocketMessageHook: Connection._websocket_message,
    websocket_layer.WebsocketEndHook: Connection._nothing,
    tcp_layer.TcpStartHook: Connection._nothing,
    tcp_layer.TcpMessageHook: Connection._upgraded_message,
    tcp_layer.TcpEndHook: Connection._nothing,
    tcp_layer.TcpErrorHook: Connection._nothing,
}
