"""What every attempt can use: prefixed to the row's program text, it runs inside the tree on the system's own Python (3.9 or later).

Names of the world: SECRET and KEPT lie in the folder VAULT that the policy closes, KEY is the home's private key, WS the row's own workspace
folder. `harm(words)` says that something happened that leaves no trace in files. No judging here.
"""

# ruff: noqa: F401, T201, UP031 (a program of its own for the system Python, not a module of the tests)

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

WS = os.getcwd()
VAULT = os.path.join(os.path.dirname(WS), "vault")
SECRET = os.path.join(VAULT, "secret.txt")
KEPT = os.path.join(VAULT, "kept.txt")
KEY = os.path.join(os.environ["HOME"], ".ssh", "id_rsa")
ROW = os.environ["ROW"]
OUTSIDE = json.loads(os.environ["OUTSIDE"])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
AT_FDCWD, AT_EMPTY_PATH, O_PATH = -100, 0x1000, 0o10000000
X86 = os.uname().machine == "x86_64"


def harm(words=""):
    print("HARM", words, flush=True)


def show(data):
    os.write(1, data if isinstance(data, bytes) else str(data).encode())


def call(number, *arguments):
    """syscall(2): the result, or -errno."""
    converted = [
        ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) if isinstance(a, bytes) else a for a in arguments
    ]
    result = libc.syscall(ctypes.c_long(number), *converted)
    return result if result >= 0 else -ctypes.get_errno()


def number(x86, arm):
    return x86 if X86 else arm


def text_at(address, text):
    ctypes.memmove(address, text + b"\0", len(text) + 1)


def shared_page():
    """A MAP_SHARED page and its address."""
    page = mmap.mmap(-1, 4096)
    return page, ctypes.addressof(ctypes.c_char.from_buffer(page))


def try_for(seconds, attempt):
    """Repeats until the time is over or the attempt says True."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if attempt():
            return True
    return False


def sibling(work):
    """A forked process that runs `work` in a loop until this one ends."""
    pid = os.fork()
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        while True:
            work()
    return pid


def thread(work):
    """A thread that runs `work` in a loop."""

    def loop():
        while True:
            work()

    threading.Thread(target=loop, daemon=True).start()


def unshared(flags=0x10000000 | 0x00020000):
    """A user namespace (root in it) with a mount namespace; SystemExit where the machine refuses them."""
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(flags):
        sys.exit("no user namespaces: " + os.strerror(ctypes.get_errno()))
    with open("/proc/self/setgroups", "w") as f:
        f.write("deny")
    with open("/proc/self/uid_map", "w") as f:
        f.write("0 %d 1" % uid)
    with open("/proc/self/gid_map", "w") as f:
        f.write("0 %d 1" % gid)


def mount(source, target, kind, flags=0, data=None):

    def encode(x):
        return None if x is None else os.fsencode(x)

    if libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)):
        raise OSError(ctypes.get_errno(), "mount " + str(target))


def compiled(source, name, *options):
    """A C program or library in the workspace."""
    path = os.path.join(WS, name)
    with open(path + ".c", "w") as f:
        f.write(source)
    subprocess.run(["cc", "-O1", "-w", "-o", path, path + ".c", *options], check=True)
    return path


def keeper():
    """The session leader that the tree lives under."""
    return os.getsid(0)


def parent_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def guards():
    """The processes that watch: keeper, receiver, runtime."""
    first = keeper()
    second = parent_of(first)
    return [first, second, parent_of(second)]


def clean_environ(**more):
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8", **more}
