"""What inspection costs: `python tests/bench/bench_proxy.py`, the guard's proxy beside direct connections and bare mitmproxy.

Everything on loopback, the client in this process, server and proxies in processes of their own. The scripted guard answers at
once, so that the figures are the network edge's own. Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.network.peer import Peer
from tests.network.servers import TestCa

MIB = 1024 * 1024
DOWNLOAD = 200 * MIB
GET = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

type Connect = Callable[[], socket.socket]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    piece = bytes(MIB)
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET /big"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % DOWNLOAD)
                for _ in range(DOWNLOAD // MIB):
                    writer.write(piece)
                    await writer.drain()
            else:
                writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve(certificate: str) -> None:
    plain = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024, ssl=context)
    sys.stdout.write(f"{plain.sockets[0].getsockname()[1]} {secure.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


@contextlib.contextmanager
def _server(certificate: Path) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(certificate)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    plain, secure = map(int, process.stdout.readline().split())
    try:
        yield plain, secure
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def _mitmproxy(folder: Path, target: str, upstream_ca: Path) -> Iterator[int]:
    """Bare mitmproxy as a reverse proxy, streaming, its own addons and nothing else."""
    program = shutil.which("mitmdump", path=str(Path(sys.executable).parent)) or "mitmdump"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["stream_large_bodies=1", "connection_strategy=lazy", f"ssl_verify_upstream_trusted_ca={upstream_ca}"]
    command = [program, "-q", "--mode", f"reverse:{target}@127.0.0.1:{port}", "--set", f"confdir={folder}"]
    process = subprocess.Popen([*command, *(part for option in options for part in ("--set", option))])
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.1)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def _read(made: socket.socket) -> None:
    got = b""
    while not got.endswith(b"ok"):
        more = made.recv(65536)
        if not more:
            raise ConnectionError(got)
        got += more


def new_connections(connect: Connect, parallel: int, each: int) -> tuple[float, float]:
    """Milliseconds from connect to the end of the answer: p50, p99."""
    took: list[float] = []

    def client() -> None:
        for _ in range(each):
            start = time.perf_counter()
            with connect() as made:
                made.sendall(GET)
                _read(made)
            took.append((time.perf_counter() - start) * 1000)

    workers = [threading.Thread(target=client) for _ in range(parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took.sort()
    return statistics.median(took), took[int(len(took) * 0.99)]


def kept_alive(connect: Connect, requests: int) -> float:
    """Milliseconds for one more request on an open connection: p50."""
    took = []
    with connect() as made:
        for _ in range(requests):
            start = time.perf_counter()
            made.sendall(GET)
            _read(made)
            took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def download(connect: Connect) -> float:
    """MiB per second."""
    buffer = bytearray(MIB)
    with connect() as made:
        start = time.perf_counter()
        made.sendall(GET.replace(b"/ ", b"/big ", 1))
        count = 0
        while count < DOWNLOAD:
            count += made.recv_into(buffer)
        return DOWNLOAD / MIB / (time.perf_counter() - start)


def _direct(port: int) -> Connect:
    return lambda: socket.create_connection(("127.0.0.1", port))


def _through(peer: Peer, port: int) -> Connect:
    return lambda: peer.connect(("127.0.0.1", port), ["bench.test"])[0]


def _secured(connect: Connect, ca: Path) -> Connect:
    context = ssl.create_default_context(cafile=ca)
    return lambda: context.wrap_socket(connect(), server_hostname="bench.test")


def _row(name: str, connect: Connect) -> None:
    alone = new_connections(connect, 1, 300)
    crowd = new_connections(connect, 20, 40)
    kept = kept_alive(connect, 1000)
    speed = max(download(connect) for _ in range(2))
    print(
        f"{name:28} {alone[0]:8.2f} {alone[1]:8.2f} {crowd[0]:10.2f} {crowd[1]:8.2f} {kept:12.3f} {speed:12.0f}",
        flush=True,
    )


def _starts(folder: Path) -> None:
    for when in ("first", "later"):
        start = time.perf_counter()
        peer = Peer(folder=folder)
        print(f"start to listening ({when}): {(time.perf_counter() - start) * 1000:.0f} ms", flush=True)
        peer.close()


def _idle(peer: Peer, port: int) -> None:
    before = peer.memory_kib()
    kept = []
    for _ in range(400):
        made = _through(peer, port)()
        made.sendall(GET)
        _read(made)
        kept.append(made)
    print(
        f"memory of the process: {before / 1024:.0f} MiB; of an idle connection: {(peer.memory_kib() - before) / 400:.0f} KiB"
    )
    for made in kept:
        made.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--serve", metavar="CERTIFICATE", help=argparse.SUPPRESS)
    certificate = arguments.parse_args().serve
    if certificate:
        asyncio.run(_serve(certificate))
        return
    with tempfile.TemporaryDirectory() as name:
        _run(Path(name))


def _run(folder: Path) -> None:
    authority = TestCa(folder)
    authority.server("bench.test", "127.0.0.1")
    _starts(folder)
    print(
        f"{'milliseconds':28} {'new p50':>8} {'p99':>8} {'20 at once':>10} {'p99':>8} {'kept alive':>12} {'MiB/s':>12}"
    )
    with _server(folder / "bench.test.pem") as (plain, secure):
        peer = Peer(folder=folder, upstream_ca=authority.file)
        _row("HTTP direct", _direct(plain))
        _row("HTTP inspected", _through(peer, plain))
        with _mitmproxy(folder / "m", f"http://127.0.0.1:{plain}", authority.file) as port:
            _row("HTTP bare mitmproxy", _direct(port))
        _row("HTTPS direct", _secured(_direct(secure), authority.file))
        _row("HTTPS inspected", _secured(_through(peer, secure), peer.ca))
        with _mitmproxy(folder / "m", f"https://127.0.0.1:{secure}", authority.file) as port:
            _row("HTTPS bare mitmproxy", _secured(_direct(port), folder / "m" / "mitmproxy-ca-cert.pem"))
        peer.close()
        peer = Peer(folder=folder)
        _idle(peer, plain)
        peer.close()


if __name__ == "__main__":
    main()
