"""The other end of the proxy's control socket, played by a script; and agents' sockets redirected as the kernel edge does it.

What never enters: code of the proxy. The protocol is spoken as guard.intercept.proxy documents it, over a real socket to a real process.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard.wire import Reader, WireError, pack

WAIT_S = 10.0  # how long anything here is waited for before a test fails

ALLOW: dict[str, Any] = {
    "decision": "allow",
    "rules": ["test/allow"],
    "because": "the script allows it",
    "instead": None,
}
BLOCK: dict[str, Any] = {
    "decision": "block",
    "rules": ["test/block"],
    "because": "the script blocks it",
    "instead": "read it",
}

type Script = Callable[[dict[str, Any]], dict[str, Any] | None]


def allow_all(action: dict[str, Any]) -> dict[str, Any]:
    return ALLOW


def reads_only(action: dict[str, Any]) -> dict[str, Any]:
    """What the default pack does with unknown listeners on loopback, with asks already denied."""
    return ALLOW if action.get("method") in ("GET", "HEAD", "OPTIONS") else BLOCK


def no_secrets(action: dict[str, Any]) -> dict[str, Any]:
    return BLOCK if action["content"] else ALLOW


@dataclass(kw_only=True)
class Peer:
    """A running proxy and the scripted guard that answers it. `script` may return None: no answer, ever."""

    folder: Path
    script: Script = allow_all
    upstream_ca: Path | None = None
    complains: bool = False  # whether the proxy is expected to write to stderr
    actions: list[dict[str, Any]] = field(default_factory=list)
    done: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control, theirs = socket.socketpair()
        trust = [] if self.upstream_ca is None else ["--upstream-ca", str(self.upstream_ca)]
        self.errors = self.folder / "stderr.txt"
        with self.errors.open("wb") as errors, (self.folder / "stdout.txt").open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "guard.intercept.proxy",
                    "--control-fd",
                    str(theirs.fileno()),
                    "--ca",
                    str(self.folder / "ca"),
                    *trust,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        theirs.close()
        self.ready: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._flows = 0
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.until(lambda: bool(self.ready))

    # The guard's side.

    def _serve(self) -> None:
        reader = Reader()
        try:
            while True:
                for message in reader.read(self.control.fileno()):
                    self._received(message)
        except (WireError, OSError):
            pass
        with self._changed:
            self._changed.notify_all()

    def _received(self, message: dict[str, Any]) -> None:
        with self._changed:
            match message["type"]:
                case "ready":
                    self.ready = message
                case "judge":
                    self.actions.append(message["action"])
                    verdict = self.script(message["action"])
                    if verdict is not None:
                        self.send({"type": "verdict", "id": message["id"], **verdict})
                case "done":
                    self.done[message["flow"]] = message
            self._changed.notify_all()

    def send(self, message: dict[str, Any]) -> None:
        with self._writing:
            self.control.sendall(pack(message))

    def secrets(self, *values: bytes) -> None:
        self.send({"type": "secrets", "values": [base64.b64encode(value).decode() for value in values]})

    def until(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, WAIT_S), f"not within {WAIT_S} s; stderr: {self.errors.read_text()}"

    # The agent's side, as the kernel edge redirects it.

    def announce(
        self,
        source: int,
        dest: tuple[str, int],
        names: Iterable[str] = (),
        *,
        inspect: str = "always",
        family: int = 4,
    ) -> str:
        self._flows += 1
        flow = f"flow-{self._flows}"
        self.send(
            {
                "type": "announce",
                "family": family,
                "port": source,
                "flow": flow,
                "dest": list(dest),
                "names": list(names),
                "listener": "elsewhere",
                "inspect": inspect,
            }
        )
        return flow

    def unannounced(self, *, family: int = 4) -> socket.socket:
        """A socket bound to a source port, not connected yet."""
        made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
        made.settimeout(WAIT_S)
        made.bind(("127.0.0.1" if family == 4 else "::1", 0))
        return made

    def enter(self, made: socket.socket, *, family: int = 4) -> None:
        made.connect(("127.0.0.1", self.ready["port4"]) if family == 4 else ("::1", self.ready["port6"]))

    def connect(
        self, dest: tuple[str, int], names: Iterable[str] = (), *, inspect: str = "always", family: int = 4
    ) -> tuple[socket.socket, str]:
        made = self.unannounced(family=family)
        flow = self.announce(made.getsockname()[1], dest, names, inspect=inspect, family=family)
        self.enter(made, family=family)
        return made, flow

    def finished(self, flow: str) -> dict[str, Any]:
        """The proxy's last word on this flow."""
        self.until(lambda: flow in self.done)
        return self.done[flow]

    @property
    def ca(self) -> Path:
        return self.folder / "ca" / "ca.pem"

    def memory_kib(self) -> int:
        """Resident memory of the proxy."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def close(self) -> None:
        try:
            self.send({"type": "stop"})
        except OSError:
            pass  # a test may have closed it
        self.control.close()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        self._thread.join(WAIT_S)
