"""Predicted effects: what common tools would do to files and hosts, by text alone."""

from __future__ import annotations

import pytest

from guard.core.actions import ExecAction, FileAction, NetworkAction, PythonAction, SqlAction, SystemAction
from guard.core.predict import Prediction, Surroundings, predict_python_text, predict_shell

TOOLS = {name: f"/usr/bin/{name}" for name in ("bash", "cat", "rm", "ssh", "curl", "python3", "sqlite3", "git")}
AROUND = Surroundings(cwd="/w", workspace="/w", home="/home/u", tools=TOOLS)


def lines(found: Prediction) -> list[str]:
    """The effects as short lines: `delete /p/` for a folder, `POST https://…`, `tcp host:port`, `? op` for what stays open."""
    done = []
    for item in found.actions:
        match item.action:
            case FileAction() as a:
                done.append(
                    f"{a.op} {a.path}{'/' if a.folder else ''}"
                    + (f" {a.to}" if a.to else "")
                    + (f" {','.join(a.sets)}" if a.sets else "")
                )
            case NetworkAction() as n:
                done.append(f"{n.method or n.protocol} {n.url or (n.host[0] if n.host else '?') + ':' + str(n.port)}")
            case SystemAction() as s:
                done.append(f"{s.op} {s.target}")
            case _:
                pass
    return done + [f"? {item.what}" for item in found.unresolved]


EFFECTS = [
    ("rm a /b", ["delete /w/a", "delete /b"]),
    ("rm -rf a", ["delete /w/a/"]),
    ("rm -- -f", ["delete /w/-f"]),
    ("rm ../x/./y", ["delete /x/y"]),
    ("cd /q && rm a", ["delete /q/a"]),
    ("cd $X; rm a", ["? delete"]),
    ("rmdir a", ["delete /w/a/"]),
    ("unlink a", ["delete /w/a"]),
    ("shred -u a", ["write /w/a", "delete /w/a"]),
    ("mv a b", ["rename /w/a /w/b"]),
    ("mv a b d/", ["rename /w/a /w/d/a", "rename /w/b /w/d/b"]),
    ("mv -t d a", ["rename /w/a /w/d/a"]),
    ("cp a b", ["read /w/a", "write /w/b"]),
    ("cp -r a /b/", ["read /w/a/", "write /b/a"]),
    ("ln a b", ["link /w/a /w/b"]),
    ("ln -s ../t d/l", ["create /w/d/l /w/t"]),
    ("touch a", ["create /w/a"]),
    ("mkdir -p a/b", ["create /w/a/b/"]),
    ("echo x > a 2>> b", ["write /w/a", "write /w/b"]),
    (": > a", ["write /w/a"]),
    ("cat < a <> b", ["read /w/a", "write /w/b"]),
    ("ls 2>&1 >&-", []),
    ("tee -a a b", ["write /w/a", "write /w/b"]),
    ("cat a - b", ["read /w/a", "read /w/b"]),
    ("head -n 3 a", ["read /w/a"]),
    ("grep -r x d", ["read /w/d"]),
    ("grep -f p d", ["read /w/p", "read /w/d"]),
    ("grep x", []),
    ("sed s/a/b/ f", ["read /w/f"]),
    ("sed -i s/a/b/ f", ["write /w/f"]),
    ("sed -i.bak -e s/a/b/ f", ["write /w/f"]),
    ("dd if=a of=/dev/sda bs=1", ["read /w/a", "write /dev/sda"]),
    ("truncate -s 0 a", ["write /w/a"]),
    ("chmod 600 a", ["chmod /w/a"]),
    ("chmod -x a", ["chmod /w/a"]),
    ("chown -R u:g d", ["chmod /w/d/"]),
    ("tar czf a.tgz d", ["read /w/d/", "write /w/a.tgz"]),
    ("tar -C /q -xf a.tar", ["read /w/a.tar", "write /q/"]),
    ("tar tf a.tar", ["read /w/a.tar"]),
    ("unzip -d q a.zip", ["read /w/a.zip", "write /w/q/"]),
    ("gzip a", ["read /w/a", "delete /w/a"]),
    ("gzip -k a", ["read /w/a"]),
    ("find d -delete", ["delete /w/d/"]),
    ("find d -name x -delete", ["delete /w/d/*"]),
    ("find d -name x", []),
    ("find d -exec rm {} +", ["delete /w/d/*"]),
    ("find . -name x -exec rm -r {} \\;", ["delete /w/*/"]),
    ("rm *.o", ["delete /w/*.o"]),
    ("rm -rf *", ["delete /w/"]),
    ("rm -rf /*", ["delete //"]),
    ("cat ~/.s?h/id*", ["? read"]),
    ('for f in d/*; do : > "$f"; done', ["write /w/d/"]),
    ('rm -rf "$X"', ["? delete"]),
    ("rm -rf build/$X", ["delete /w/build/*/"]),
    ("rm -rf /srv/$X", ["? delete"]),
    ("ls | xargs rm", ["? delete"]),
    ("echo a | xargs rm", ["delete /w/a"]),
    ("cat /proc/self/root/etc/shadow", ["read /etc/shadow"]),
    ("cat /proc/self/cwd/a", ["read /w/a"]),
    ("cat /proc/self/fd/3/a", ["? read"]),
    ("git clean -fdx", ["delete /w/"]),
    ("git clean -n", []),
    ("git -C q clean -f", ["delete /w/q/"]),
    ("git reset --hard", ["write /w/"]),
    ("git reset --soft HEAD~1", []),
    ("git checkout -- a b", ["write /w/a", "write /w/b"]),
    ("git checkout main", []),
    ("git restore --staged a", []),
    ("git restore a", ["write /w/a"]),
    ("git rm -r d", ["delete /w/d/"]),
    ("git config core.hooksPath x", ["write /w/.git/config core.hookspath"]),
    ("git config --global alias.x y", ["write /home/u/.gitconfig alias.x"]),
    ("git config --get user.name", []),
    ("git clone https://h.example/r.git", ["GET https://h.example/r.git", "create /w/r/"]),
    ("git clone git@h.example:o/r.git d", ["tcp h.example:22", "create /w/d/"]),
    ("git push", ["None ?:None"]),
    ("git commit -m 'rm -rf x'", []),
    ("curl https://h.example/a", ["GET https://h.example/a"]),
    ("curl -d x=1 h.example", ["POST h.example"]),
    ("curl -X DELETE https://h.example/a", ["DELETE https://h.example/a"]),
    ("curl -T f https://h.example/", ["read /w/f", "PUT https://h.example/"]),
    ("curl -d @f https://h.example/", ["read /w/f", "POST https://h.example/"]),
    ("curl -F a=@f https://h.example/", ["read /w/f", "POST https://h.example/"]),
    ("curl -o o https://h.example/", ["write /w/o", "GET https://h.example/"]),
    ("curl -O https://h.example/d/f", ["write /w/f", "GET https://h.example/d/f"]),
    ("curl $URL", ["None ?:None"]),
    ("curl https://h.example/$X", ["GET h.example:443"]),
    ("curl -K c", ["read /w/c", "None ?:None"]),
    ("wget https://h.example/d/f", ["write /w/f", "GET https://h.example/d/f"]),
    ("wget -qO- https://h.example/", ["GET https://h.example/"]),
    ("wget --post-file=f https://h.example/", ["read /w/f", "write /w/index.html", "POST https://h.example/"]),
    ("nc h.example 80 < f", ["read /w/f", "tcp h.example:80"]),
    ("nc -l 80", []),
    ("nc -w 2 -u h.example 53", ["udp h.example:53"]),
    ("cat f > /dev/tcp/h.example/80", ["tcp h.example:80", "read /w/f"]),
    ("scp f u@h.example:d", ["read /w/f", "tcp h.example:22"]),
    ("rsync -a --delete d/ /b/", ["read /w/d/", "write /b/", "delete /b/"]),
    ("ssh -i k u@h.example rm /x", ["read /w/k", "tcp h.example:22"]),
    ("docker exec c rm /x", []),
    ("mount /dev/sda1 /mnt", ["mount /mnt"]),
    ("mkfs.ext4 /dev/sda1", ["write /dev/sda1"]),
    ("crontab f", ["write /var/spool/cron/crontabs"]),
    ("crontab -l", []),
    ("sqlite3 db 'drop table t'", ["write /w/db"]),
    ("sqlite3 :memory: 'select 1'", []),
    ("python3 -c \"import shutil; shutil.rmtree('d')\"", ["delete /w/d/"]),
    ("python3 -c \"import os; os.system('rm a')\"", ["delete /w/a"]),
    ("echo 'rm a'", []),
    ("cat <<E\nrm a\nE", []),
    ("cat > f <<E\nrm a\nE", ["write /w/f"]),
    ("unknown-tool a b", []),
]


@pytest.mark.parametrize(("text", "effects"), EFFECTS, ids=[text for text, _ in EFFECTS])
def test_what_a_command_would_touch(text: str, effects: list[str]) -> None:
    """The tables say what is read, written, deleted, sent; what the text leaves open is open, not nothing."""
    assert lines(predict_shell(text, AROUND)) == effects


PYTHON = [
    ("import os; os.remove('a')", ["delete /w/a"]),
    ("from os import remove as r; r('a')", ["delete /w/a"]),
    ("import shutil as s; s.rmtree('d')", ["delete /w/d/"]),
    ("import shutil; getattr(shutil, 'rm' + 'tree')('d')", ["delete /w/d/"]),
    ("__import__('os').remove('a')", ["delete /w/a"]),
    ("import importlib; importlib.import_module('os').remove('a')", ["delete /w/a"]),
    ("p = 'a'; import os; os.remove(p)", ["delete /w/a"]),
    ("import os; os.remove(f'/tmp/{x}')", ["delete /tmp/*"]),
    ("import os; os.remove(x)", ["? delete"]),
    ("import os; os.remove(os.path.join('/q', 'a'))", ["delete /q/a"]),
    ("import os; os.remove(os.path.expanduser('~/a'))", ["delete /home/u/a"]),
    ("from pathlib import Path; Path('a').unlink()", ["delete /w/a"]),
    ("from pathlib import Path; (Path.home() / '.ssh' / 'k').read_text()", ["read /home/u/.ssh/k"]),
    ("from pathlib import Path; Path('a').write_text('x')", ["write /w/a"]),
    ("open('a')", ["read /w/a"]),
    ("open('a', 'w')", ["write /w/a"]),
    ("open('a', mode='ab')", ["write /w/a"]),
    ("open('a', m)", ["write /w/a"]),
    ("open(0)", []),
    ("with open('a') as f: f.read()", ["read /w/a"]),
    ("import os; os.rename('a', 'b')", ["rename /w/a /w/b"]),
    ("import os; os.symlink('../t', 'd/l')", ["create /w/d/l /w/t"]),
    ("import os; os.chdir('/q'); os.remove('a')", ["delete /q/a"]),
    ("import os; os.fchdir(3); os.remove('a')", ["? delete"]),
    ("import os; os.unlink('a', dir_fd=3)", ["? delete"]),
    ("import requests; requests.post('https://h.example/x', data='d')", ["POST https://h.example/x"]),
    ("import requests; s = requests.Session(); s.get('https://h.example/')", ["GET https://h.example/"]),
    ("import requests; requests.get(url)", ["None ?:None"]),
    ("from urllib.request import urlopen; urlopen('http://h.example/')", ["GET http://h.example/"]),
    ("import socket; s = socket.socket(); s.connect(('h.example', 80))", ["tcp h.example:80"]),
    ("import socket; socket.create_connection((h, 80))", ["tcp ?:80"]),
    ("import subprocess; subprocess.run(['rm', '-r', 'd'])", ["delete /w/d/"]),
    ("import subprocess as sp; sp.check_output('rm a', shell=True)", ["delete /w/a"]),
    ("import os; os.system('python3 -c \"import os; os.remove(\\'a\\')\"')", ["delete /w/a"]),
    ("print('rm -rf /')", []),
    ("text = \"os.remove('a')\"", []),
    ("remove('a')", []),
    ("class os: pass\nos.listdir('a')", []),
    ("x = {'open': 1}['open']", []),
    ("def f(: pass", ["? run"]),
]


@pytest.mark.parametrize(("text", "effects"), PYTHON, ids=[text for text, _ in PYTHON])
def test_what_python_source_would_touch(text: str, effects: list[str]) -> None:
    """Constant arguments are worked out through imports, aliases, joins and paths; strings are data."""
    assert lines(predict_python_text(text, AROUND)) == effects


def test_the_shell_itself_comes_first() -> None:
    """The text is judged as the script of the shell that is given it, then as its commands."""
    first, second = (item.action for item in predict_shell("rm a", AROUND).actions[:2])
    assert isinstance(first, ExecAction)
    assert (first.name, first.script, first.args) == ("bash", "rm a", ("-c", "rm a"))
    assert isinstance(second, ExecAction)
    assert (second.exe, second.name, second.args, second.command) == ("/usr/bin/rm", "rm", ("a",), "rm a")


def test_what_is_not_known_of_a_program_is_unknown() -> None:
    """A dynamic name, dynamic arguments and a script nobody read are None, never empty."""
    found = [
        item.action
        for item in predict_shell("$X a; rm $Y; sh s.sh; ./p", AROUND).actions
        if isinstance(item.action, ExecAction)
    ]
    dynamic, rm, sh, own = found[1:]
    assert (dynamic.name, dynamic.exe, dynamic.script, dynamic.anonymous) == (None, None, None, None)
    assert (rm.name, rm.args, rm.command) == ("rm", None, None)
    assert (sh.name, sh.script) == ("sh", None)
    assert (own.exe, own.anonymous) == ("/w/p", False)


def test_an_executable_behind_a_descriptor_may_be_anonymous() -> None:
    """Only running tells what such a name leads to."""
    actions = [item.action for item in predict_shell("/proc/self/fd/3", AROUND).actions]
    assert isinstance(actions[1], ExecAction)
    assert actions[1].anonymous is None


@pytest.mark.parametrize(
    ("text", "verified"),
    [
        ("cat a", "cat"),
        ("/usr/bin/cat a", "cat"),
        ("/bin/cat a", "cat"),
        ("./cat a", None),
        ("tac a", None),
        ("LD_PRELOAD=x cat a", None),
        ("PATH=. cat a", None),
    ],
)
def test_who_acts(text: str, verified: str | None) -> None:
    """A tool of the machine acts as itself; one of unknown origin, or with injected code, is nobody that a rule could trust."""
    action = next(item.action for item in predict_shell(text, AROUND).actions if isinstance(item.action, FileAction))
    assert (action.actor.name if action.actor else None) == verified


def test_files_that_lie_there_are_looked_at_through_the_caller() -> None:
    """Patterns, scripts and links are resolved by what the caller knows."""
    around = Surroundings(
        cwd="/w",
        workspace="/w",
        home="/home/u",
        tools=TOOLS,
        matching=lambda pattern: ["/w/a.o", "/w/b.o"] if pattern == "/w/*.o" else [],
        content={"/w/s.sh": "rm inner"}.get,
        resolved=lambda path, follows: "/etc/shadow" if path == "/w/link" and follows else path,
    )
    assert lines(predict_shell("rm *.o; rm *.c; bash s.sh; cat link; rm link", around)) == [
        "delete /w/a.o",
        "delete /w/b.o",
        "delete /w/*.c",
        "delete /w/inner",
        "read /etc/shadow",
        "delete /w/link",
    ]


def test_a_request_carries_what_rules_read() -> None:
    """Method, host, path, query, headers and body of a request that the line gives whole."""
    text = "curl -H 'Content-Type: text/plain' -d 'a=1' 'https://H.example:8443/p?q=1'"
    action = next(item.action for item in predict_shell(text, AROUND).actions if isinstance(item.action, NetworkAction))
    assert (action.host, action.port, action.protocol, action.listener) == (("h.example",), 8443, "https", "elsewhere")
    assert (action.method, action.url_path, action.query, action.body) == ("POST", "/p", "q=1", "a=1")
    assert (action.headers, action.content_type, action.content) == (
        (("content-type", "text/plain"),),
        "text/plain",
        (),
    )


@pytest.mark.parametrize(
    ("host", "port", "listener"),
    [("127.0.0.1", 80, "loopback"), ("localhost", 9, "model"), ("h.example", 80, "elsewhere")],
)
def test_the_class_of_the_other_end(host: str, port: int, listener: str) -> None:
    """Loopback, the agent's model, or elsewhere; what only a running guard sees (the tree's own listeners) is not guessed."""
    around = Surroundings(cwd="/w", workspace="/w", home="/home/u", model_endpoints=frozenset({"localhost:9"}))
    action = next(
        item.action
        for item in predict_shell(f"nc {host} {port}", around).actions
        if isinstance(item.action, NetworkAction)
    )
    assert action.listener == listener


def test_what_the_model_sees() -> None:
    """The whole text, every nested command, and every script, each under its own kind."""
    found = predict_shell("sudo rm x; python3 -c 'import os'; psql -c 'drop table t'", AROUND)
    assert [(kind, text) for kind, text, _ in found.scored[1:]] == [
        ("shell", "rm x"),
        ("python", "import os"),
        ("sql", "drop table t"),
    ]


def test_code_in_other_languages_is_an_action_of_its_own() -> None:
    """Python and SQL inside a shell text are judged as such too."""
    kinds = [
        item.action.kind for item in predict_shell("python3 -c 'x=1'; sqlite3 :memory: 'select 1'", AROUND).actions
    ]
    assert kinds == ["exec", "exec", "python", "exec", "sql"]
    actions = [item.action for item in predict_shell("sqlite3 :memory: 'select 1'", AROUND).actions]
    assert isinstance(actions[-1], SqlAction)
    assert actions[-1].dialect == "sqlite"
    python = predict_python_text("x = 1", AROUND).actions[0].action
    assert isinstance(python, PythonAction)
    assert python.text == "x = 1"
