"""The world outside the tree: listeners that note what reaches them, victims that must live on, System V objects. Ends when its stdin does.

Started as the row's user: `outside.py FOLDER TOKEN COUNT`; says on its first line where everything is (JSON).
"""

# ruff: noqa: T201 (a program of its own for the system Python, not a module of the tests)

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading

VICTIM = "import time\ntime.sleep(600)"


def note(folder, data):
    with open(os.path.join(folder, "hits"), "ab", buffering=0) as file:
        file.write(data + b"\n")


def serve(folder, listener):
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=hear, args=(folder, peer), daemon=True).start()


def hear(folder, peer):
    with peer:
        while data := peer.recv(65536):
            note(folder, data)


def gather(folder, receiver):
    while True:
        note(folder, receiver.recv(65536))


def victim(token):
    read, write = os.pipe()
    os.write(write, (token + "\n").encode() * 50)
    memory = os.memfd_create("victim")
    os.write(memory, token.encode())
    os.dup2(memory, 3)
    return subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", VICTIM],
        stdin=read,
        pass_fds=(3,),
        env={"SECRET": token},
        start_new_session=True,
    ), write


def main(folder, token, count):
    libc = ctypes.CDLL(None)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 3)  # keeps the number that victims hold their memory file by
    tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    stream, datagram, abstract = socket.socket(1), socket.socket(1, 2), socket.socket(1)
    stream.bind(folder + "/s")
    datagram.bind(folder + "/d")
    name = "outside-" + token
    abstract.bind("\0" + name)
    for listener in (stream, abstract):
        listener.listen()
    for listener in (tcp, stream, abstract):
        threading.Thread(target=serve, args=(folder, listener), daemon=True).start()
    for receiver in (udp, datagram):
        threading.Thread(target=gather, args=(folder, receiver), daemon=True).start()
    victims = [victim(token) for _ in range(count)]
    queue = libc.msgget(0, 0o1600)
    memory = libc.shmget(0, 4096, 0o1600)
    where = {
        "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "unix": folder + "/s", "unix_dgram": folder + "/d",
        "abstract": name, "victims": [process.pid for process, _ in victims], "queue": queue, "memory": memory,
    }  # fmt: skip
    print(json.dumps(where), flush=True)
    sys.stdin.read()
    libc.msgctl(queue, 0, 0)
    libc.shmctl(memory, 0, 0)
    for process, _ in victims:
        process.send_signal(signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
