"""The receiver's helpers in processes of their own: the classifier's judge and the network proxy.

Both are started when first needed and spoken to by guard.wire; a helper that is gone leaves its questions unanswered, and what is unanswered
is at least asked about (judge) or closed (proxy). Nothing is decided here.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from typing import Any, Final

from guard import wire
from guard.core.actions import Harm
from guard.core.verdicts import Decision, Verdict
from guard.intercept.judging import Waiting, text_key

_SECRET_LIMIT: Final = 65536  # bytes of a secret file that are searched for values
_PROXY_RESTARTS: Final = 5


def _spawn(arguments: list[str], inherited: dict[int, int], errors: int) -> int:
    """Starts this interpreter with these descriptors (new number → own number) and no others; exec'd, never forked."""
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, own, new) for new, own in inherited.items()]
    actions.append((os.POSIX_SPAWN_DUP2, errors, 2))
    for standard in (0, 1):
        if standard not in inherited:
            actions.append((os.POSIX_SPAWN_OPEN, standard, "/dev/null", os.O_RDWR, 0))
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", *arguments],
        os.environ,
        file_actions=actions,
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD],
    )


class Scores:
    """Scores by text, remembered; what is not known is asked of the judge process."""

    def __init__(self, *, model_id: str, folder: str, memory: str, errors: int) -> None:
        self._model_id, self._folder, self._path, self._errors = model_id, folder, memory, errors
        self._known: dict[str, Harm | None] = {}
        self._asked: set[str] = set()
        self._socket: socket.socket | None = None
        self._reader = wire.Reader()
        self._failed = False
        self.pid = -1
        self._load()

    def descriptor(self) -> int:
        """Where answers come from; -1 while nothing is asked."""
        return self._socket.fileno() if self._socket is not None and self._asked else -1

    def start(self) -> None:
        """Starts the judge, so that it loads while the agent starts; nothing where it runs or failed."""
        if self._socket is not None or self._failed:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            ends = {0: theirs.fileno(), 1: theirs.fileno()}
            self.pid = _spawn(["-m", "guard.scoring.judge", "--model", self._folder], ends, self._errors)
        self._socket = ours

    def get(self, kind: str, text: str) -> Harm | None:
        """The score; None where this text cannot be scored; raises Waiting while the judge looks at it."""
        key = text_key(kind, text)
        if key in self._known:
            return self._known[key]
        if self._failed:
            return None
        self.start()
        if key not in self._asked:
            self._asked.add(key)
            assert self._socket is not None
            try:
                wire.send(self._socket.fileno(), {"id": key, "kind": kind, "text": text})
            except wire.WireError:
                self._fail()
                return None
        raise Waiting(f"score:{key}")

    def collect(self) -> list[str]:
        """Takes what the judge said; the keys of calls that can go on."""
        assert self._socket is not None
        try:
            messages = self._reader.read(self._socket.fileno())
        except (wire.WireError, OSError):
            return self._fail()
        done: list[str] = []
        for message in messages:
            if "ready" in message:
                if message.get("model") != self._model_id:
                    return [*done, *self._fail()]
                continue
            if "id" not in message:
                return [*done, *self._fail()]
            key = str(message["id"])
            self._asked.discard(key)
            whole = "score" in message and not message.get(
                "truncated"
            )  # a text of which parts were not seen is not scored
            harm = Harm(score=float(message["score"]), label=str(message["label"])) if whole else None
            self._known[key] = harm
            if harm is not None:
                self._keep(key, harm)
            done.append(f"score:{key}")
        return done

    def _fail(self) -> list[str]:
        """The judge is gone: from now on nothing is scored, and the rules ask about what they could not read."""
        self._failed = True
        waiting, self._asked = self._asked, set()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return [f"score:{key}" for key in waiting]

    def _load(self) -> None:
        try:
            with open(self._path, encoding="ascii") as lines:
                for line in lines:
                    key, score, label = line.split()
                    self._known[key] = Harm(score=float(score), label=label)
        except (OSError, ValueError):
            return

    def _keep(self, key: str, harm: Harm) -> None:
        try:
            with open(self._path, "a", encoding="ascii") as lines:
                lines.write(f"{key} {harm.score!r} {harm.label}\n")
        except OSError:
            return


class Proxy:
    """The network proxy: started at the first connection that is not direct."""

    def __init__(self, *, ca_folder: str, errors: int, upstream_ca: str | None) -> None:
        self._ca_folder, self._errors, self._upstream_ca = ca_folder, errors, upstream_ca
        self._socket: socket.socket | None = None
        self._reader = wire.Reader()
        self._ports: tuple[int, int | None] | None = None
        self._starts = 0
        self._secrets: list[str] = []
        self.pid = -1

    def descriptor(self) -> int:
        """Where its messages come from; -1 while it does not run."""
        return -1 if self._socket is None else self._socket.fileno()

    def ports(self) -> tuple[int, int | None] | None:
        """Its ports; None while it starts. Raises OSError where it cannot be kept running."""
        if self._socket is None:
            self._start()
        return self._ports

    def _start(self) -> None:
        if self._starts > _PROXY_RESTARTS:
            raise ConnectionRefusedError("the network proxy does not stay up")
        self._starts += 1
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = ["-m", "guard.intercept.proxy", "--control-fd", "3", "--ca", self._ca_folder]
            if self._upstream_ca:
                arguments += ["--upstream-ca", self._upstream_ca]
            self.pid = _spawn(arguments, {3: theirs.fileno()}, self._errors)
        self._socket, self._reader, self._ports = ours, wire.Reader(), None
        if self._secrets:
            self.send({"type": "secrets", "values": self._secrets})

    def send(self, message: dict[str, Any]) -> None:
        """To the proxy; OSError where it is gone, so that the call at hand fails."""
        if self._socket is None:
            raise ConnectionRefusedError("the network proxy is gone")
        try:
            wire.send(self._socket.fileno(), message)
        except wire.WireError as problem:
            self._lost()
            raise ConnectionRefusedError("the network proxy is gone") from problem

    def collect(self) -> list[dict[str, Any]]:
        """Its messages; an empty list and a closed connection where it is gone."""
        assert self._socket is not None
        try:
            messages = self._reader.read(self._socket.fileno())
        except (wire.WireError, OSError):
            self._lost()
            return [
                {"type": "ready"}
            ]  # what waited for it is dispatched again and starts it anew, a bounded number of times
        for message in messages:
            if message.get("type") == "ready":
                port6 = message.get("port6")
                self._ports = (int(message["port4"]), None if port6 is None else int(port6))
        return messages

    def verdict(self, id_: int, verdict: Verdict | None) -> None:
        """The answer to a request; None is a block without a reason that the agent could use."""
        allowed = verdict is not None and verdict.decision is Decision.ALLOW
        answer = {
            "type": "verdict",
            "id": id_,
            "decision": "allow" if allowed else "block",
            "rules": [] if verdict is None else list(verdict.rules),
            "because": "the guard could not judge this" if verdict is None else verdict.because,
            "instead": None if verdict is None else verdict.instead,
        }
        try:
            self.send(answer)
        except OSError:
            return  # the proxy is gone, and with it the connection

    def secret(self, path: str) -> None:
        """A labelled file was read: its values must not leave unseen."""
        import base64

        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            data = os.read(descriptor, _SECRET_LIMIT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        finally:
            os.close(descriptor)
        values = [base64.b64encode(value).decode("ascii") for value in secret_values(data)]
        new = [value for value in values if value not in self._secrets]
        self._secrets += new
        if new and self._socket is not None:
            self.send({"type": "secrets", "values": new})

    def _lost(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._ports = None, None


def secret_values(data: bytes) -> list[bytes]:
    """What looks like a secret in a labelled file: values of `NAME=value` and `name: value` lines, and lines of keys, 8 bytes or more.

    >>> secret_values(b"A=short" + bytes([10]) + b'TOKEN="abcdef123456"')
    [b'abcdef123456']
    """
    found = []
    for line in data.splitlines():
        line = line.strip()
        if line.startswith((b"#", b"-----")) or not line:
            continue
        value = line
        for sign in (b"=", b":"):
            name, sign_found, rest = line.partition(sign)
            if sign_found and rest and len(name) < 80:
                value = rest
                break
        value = value.strip().strip(b"\"'")
        if 8 <= len(value) <= 4096 and value not in found:
            found.append(value)
    return found[:200]
