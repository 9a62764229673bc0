"""The network edge's own process: `python -m guard.intercept.proxy --control-fd N --ca DIR [--upstream-ca FILE]…`.

The guard starts it, holds the other end of the control socket, redirects agents' connections to its ports and announces each. What
it is asked for and what it answers are messages of guard.wire:

    proxy → guard   ready {port4, port6|null}
                    judge {id, flow, action}            action: fields of NetworkAction but `actor` and `listener`
                    done {flow, bytes_up, bytes_down, error|null}
    guard → proxy   announce {family, port, flow, dest: [address, port], names, listener, inspect}
                    verdict {id, decision, rules, because, instead}
                    secrets {values: [base64…]}
                    stop {}

Anything else, and the end of the control socket, ends the process and with it every connection. What never enters: policies, files
of the agent, HTTP (guard.intercept.proxy_layers and proxy_connection).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import itertools
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from guard.intercept.proxy_connection import Connection
from guard.intercept.proxy_layers import House
from guard.intercept.proxy_request import Answer, Destination
from guard.intercept.proxy_secrets import Secrets
from guard.intercept.tls import Authority, Verifier
from guard.intercept.trust import ensure_ca, trusted_files
from guard.wire import Reader, WireError, pack

BACKLOG = 4096  # connections that may wait to be accepted; the kernel's own ceiling is net.core.somaxconn
ANNOUNCEMENT_S = 2.0  # how long an accepted connection waits for its announcement
STALE_S = 10.0  # how long an announcement waits for its connection
CONTROL_LOST = 3  # exit status where the guard is gone or speaks something else


class Announcements:
    """Who may come in: source ports, each for one connection."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Destination, float]] = {}
        self._awaited: dict[tuple[int, int], asyncio.Future[Destination]] = {}

    def add(self, family: int, port: int, destination: Destination) -> None:
        waiting = self._awaited.pop((family, port), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(destination)
            return
        now = asyncio.get_running_loop().time()
        for key in [key for key, (_, since) in self._known.items() if now - since > STALE_S]:
            del self._known[key]
        self._known[family, port] = (destination, now)

    async def take(self, family: int, port: int) -> Destination | None:
        """The destination of the connection that comes from this port, once; None where nobody announced it."""
        loop = asyncio.get_running_loop()
        known = self._known.pop((family, port), None)
        if known is not None:
            return known[0] if loop.time() - known[1] <= STALE_S else None
        waiting = self._awaited[family, port] = loop.create_future()
        try:
            return await asyncio.wait_for(waiting, ANNOUNCEMENT_S)
        except TimeoutError:
            return None
        finally:
            if self._awaited.get((family, port)) is waiting:
                del self._awaited[family, port]


class Control(asyncio.Protocol):
    """The socket to the guard. A protocol, not a stream: every verdict would wait two more turns of the loop."""

    def __init__(self, received: Callable[[dict[str, Any]], None], ended: Callable[[Exception | None], None]) -> None:
        self._reader = Reader()
        self._received = received
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._received(message)
        except Exception as problem:  # noqa: BLE001  whatever it was: a guard that is not understood is no guard
            self._ended(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(WireError("the guard is gone" if exc is None else f"the guard is gone: {exc}"))


class Proxy:
    """The process: control socket, listeners, and what connections share."""

    def __init__(self, control: socket.socket, authority: Authority, verifier: Verifier) -> None:
        self._control = control
        self._house = House(judge=self._judge, secrets=Secrets(), authority=authority, verifier=verifier)
        self._announcements = Announcements()
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._own_ports: set[int] = set()
        self._transport: asyncio.Transport | None = None
        self._over: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Serves until the guard says stop; raises what went wrong otherwise."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._transport, _ = await loop.create_connection(
            lambda: Control(self._received, self._ended), sock=self._control
        )
        port4 = await self._listen(socket.AF_INET, "127.0.0.1")
        port6 = await self._listen(socket.AF_INET6, "::1")
        if port4 is None:
            raise OSError("cannot listen on 127.0.0.1")
        self._send({"type": "ready", "port4": port4, "port6": port6})
        await self._over

    def _ended(self, problem: Exception | None) -> None:
        if self._over is None or self._over.done():
            return
        if problem is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(problem)

    async def _listen(self, family: socket.AddressFamily, address: str) -> int | None:
        try:
            listener = socket.create_server((address, 0), family=family, backlog=BACKLOG)
        except OSError:
            return None
        # Inherited by what is accepted; asyncio sets it only on sockets that name their protocol, and 40 ms were lost.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port: int = listener.getsockname()[1]
        self._own_ports.add(port)
        await asyncio.start_server(self._accepted, sock=listener, backlog=BACKLOG)
        return port

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is None or self._transport.is_closing():
            raise WireError("the guard is gone")
        self._transport.write(pack(message))

    def _received(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "announce":
                self._announcements.add(int(message["family"]), int(message["port"]), _destination(message))
            case "verdict":
                waiting = self._asked.pop(message["id"], None)
                if waiting is not None and not waiting.done():
                    _answer(waiting, message)
            case "secrets":
                self._house.secrets.add(base64.b64decode(value, validate=True) for value in message["values"])
            case "stop":
                self._ended(None)
            case unknown:
                raise WireError(f"a message of the unknown type `{unknown}`")

    async def _judge(self, flow: Any, action: dict[str, Any]) -> Answer:
        number = next(self._ids)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        try:
            self._send({"type": "judge", "id": number, "flow": flow, "action": action})
            return await waiting
        finally:
            self._asked.pop(number, None)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if not peer:
            writer.transport.abort()  # gone before we looked
            return
        destination = await self._announcements.take(6 if ":" in peer[0] else 4, peer[1])
        if destination is None or (destination.port in self._own_ports and _is_loopback(destination.address)):
            writer.transport.abort()
            return
        try:
            await Connection(reader, writer, destination, self._house).handle_client()
        except Exception as problem:  # noqa: BLE001  the end of the room: the connection is lost, the others go on
            traceback.print_exception(problem, file=sys.stderr)
            destination.error = f"{type(problem).__name__}: {problem}"
        finally:
            writer.transport.abort()
            self._tell_end(destination)

    def _tell_end(self, destination: Destination) -> None:
        message = {
            "type": "done",
            "flow": destination.flow,
            "bytes_up": destination.sent,
            "bytes_down": destination.received,
            "error": destination.error,
        }
        try:
            self._send(message)
        except WireError:
            pass  # then this process is ending, too


def _destination(message: dict[str, Any]) -> Destination:
    address, port = message["dest"]
    if message["inspect"] not in ("always", "passthrough"):
        raise WireError(f"`inspect` is `{message['inspect']}`")
    return Destination(
        flow=message["flow"],
        address=str(address),
        port=int(port),
        names=tuple(str(name).lower().removesuffix(".") for name in message["names"]),
        inspect=message["inspect"],
    )


def _answer(waiting: asyncio.Future[Answer], message: dict[str, Any]) -> None:
    """A verdict that cannot be read ends the connection that asked for it, and no other."""
    try:
        waiting.set_result(Answer.read(message))
    except (KeyError, TypeError) as problem:
        waiting.set_exception(WireError(f"a verdict that cannot be read: {problem!r}"))


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address in ("::1", "0.0.0.0", "::")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="guard.intercept.proxy", description="The guard's network edge; started by it."
    )
    parser.add_argument("--control-fd", type=int, required=True, help="connected AF_UNIX stream socket to the guard")
    parser.add_argument("--ca", required=True, help="folder of the guard's certificate authority")
    parser.add_argument(
        "--upstream-ca",
        action="append",
        default=[],
        metavar="FILE",
        help="certificates (PEM) that servers may be verified with, beside the environment's and the system's",
    )
    return parser.parse_args(argv)


async def _serve(control: socket.socket, authority: Authority, verifier: Verifier) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # as mitmproxy's own master does
    await Proxy(control, authority, verifier).run()


def _shipped() -> list[str]:
    """Mozilla's certificates as mitmproxy brings them along, for machines that have none (slim containers)."""
    import certifi

    return [certifi.where()]


def main(argv: list[str] | None = None) -> None:
    """Runs until stopped; never returns, and leaves no connection behind."""
    arguments = _arguments(argv)
    status = 0
    try:
        logging.disable(logging.WARNING)  # what mitmproxy and asyncio merely mention is not for the agent's terminal
        control = socket.socket(fileno=arguments.control_fd)
        os.set_inheritable(arguments.control_fd, False)
        authority = Authority(ensure_ca(arguments.ca))
        verifier = Verifier([*(trusted_files(dict(os.environ)) or _shipped()), *arguments.upstream_ca])
        gc.freeze()  # what was imported is never garbage
        asyncio.run(_serve(control, authority, verifier))
    except WireError as problem:
        sys.stderr.write(f"guard: network edge: {problem}\n")
        status = CONTROL_LOST
    except Exception as problem:  # noqa: BLE001  the end of the room
        traceback.print_exception(problem, file=sys.stderr)
        status = CONTROL_LOST
    os._exit(status)  # no task, thread or handler gets another turn


if __name__ == "__main__":
    main()
