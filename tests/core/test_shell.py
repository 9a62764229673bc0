"""The reader of shell text: what would run, and, in the same number, what only looks as if it would."""

from __future__ import annotations

import shlex

import pytest

from guard.core.shell import MAX_COMMANDS, read
from guard.core.shell_syntax import MAX_DEPTH, MAX_LENGTH
from guard.core.shell_values import Command, absolute


def shown(command: Command) -> list[str]:
    """The words of a command, `?` and the known beginning for what only running tells."""
    return [w.text if w.text is not None else f"?{w.prefix}" for w in command.words]


def run_by(text: str) -> list[list[str]]:
    """The commands with words, in order, without the shell's own builtins that only print or test."""
    return [shown(c) for c in read(text, cwd="/w", home="/home/u").commands if c.words and c.name not in _QUIET]


_QUIET = (
    "echo",
    "printf",
    ":",
    "true",
    "[",
    "cd",
    "export",
    "read",
    "eval",
    "source",
    ".",
    "command",
    "trap",
    "set",
    "shift",
    "declare",
    "unset",
)

# text, what runs. Each group ends with texts that only look alike.
READ = [
    # --- plain words
    ("rm -rf build", ["rm -rf build"]),
    ("/bin/rm x", ["/bin/rm x"]),
    ("rm\t-rf   x", ["rm -rf x"]),
    ("rm \\\n  -rf \\\n  x", ["rm -rf x"]),
    ("FOO=1 BAR=2 rm x", ["rm x"]),
    ("FOO=rm", []),
    ("# rm -rf /", []),
    ("ls # rm -rf /", ["ls"]),
    ("ls#x", ["ls#x"]),
    ("echo rm -rf /", []),
    ("echo; # ; rm x", []),
    # --- quotes
    ("r''m -rf x", ["rm -rf x"]),
    ('r""m x', ["rm x"]),
    ("'rm' x", ["rm x"]),
    ("\\rm x", ["rm x"]),
    ("r\\m x", ["rm x"]),
    ("$'\\x72m' x", ["rm x"]),
    ("$'\\162\\155' x", ["rm x"]),
    ("$'r\\u006d' x", ["rm x"]),
    ('$"rm" x', ["rm x"]),
    ('"rm" "a b"', ["rm 'a b'"]),
    ("'rm -rf /'", ["'rm -rf /'"]),
    ("echo 'a; rm x'", []),
    ('echo "a; rm x"', []),
    ("echo a\\; rm x", []),
    ("grep 'rm -rf' log", ["grep 'rm -rf' log"]),
    ("git commit -m 'drop; rm -rf x && sudo reboot'", ["git commit -m 'drop; rm -rf x && sudo reboot'"]),
    ('git commit -m "fix $(date)"', ["date", "git commit -m '?fix '"]),
    ("echo '$(rm x)'", []),
    ("echo '`rm x`'", []),
    ('echo "\\$(rm x)"', []),
    ('echo "\\`rm x\\`"', []),
    # --- lists and pipelines
    ("a; b", ["a", "b"]),
    ("a && b || c", ["a", "b", "c"]),
    ("a & b &", ["a", "b"]),
    ("a | b |& c", ["a", "b", "c"]),
    ("a\nb\n\n\nc", ["a", "b", "c"]),
    ("! a", ["a"]),
    ("time -p a", ["a"]),
    ("a &&\n  b", ["a", "b"]),
    ("ls 'a;b' 'c|d' 'e&f'", ["ls 'a;b' 'c|d' 'e&f'"]),
    ("ls a\\|b a\\&b", ["ls 'a|b' 'a&b'"]),
    ("curl 'https://h.example/?a=1&rm=2'", ["curl 'https://h.example/?a=1&rm=2'"]),
    ("find . -name '*.o' -o -name '*;rm*'", ["find . -name '*.o' -o -name '*;rm*'"]),
    ("sed 's|rm|ls|; s/a/b/'", ["sed 's|rm|ls|; s/a/b/'"]),
    # --- compound commands
    ("(a; b)", ["a", "b"]),
    ("{ a; b; }", ["a", "b"]),
    ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
    ("while a; do b; done", ["a", "b"]),
    ("until a; do b; done", ["a", "b"]),
    ("for f in x y; do rm $f; done", ["rm x", "rm y"]),
    ("for f in x y\ndo\nrm $f\ndone", ["rm x", "rm y"]),
    ("for ((i=0; i<3; i++)); do a; done", ["a"]),
    ("case $x in a|b) rm a;; *) rm b;; esac", ["rm a", "rm b"]),
    ("case x in (a) b ;; esac", ["b"]),
    ("select x in a; do b; done", ["b"]),
    ("[[ -f x && $(a) == b ]] && c", ["a", "c"]),
    ("(( x > $(a) )) && b", ["a", "b"]),
    ("echo $((1 + $(a)))", ["a"]),
    ("echo if then fi", []),
    ("echo done; ls do", ["ls do"]),
    ("[[ rm == x ]]", []),
    ("(( rm = 1 ))", []),
    ("ls for in do", ["ls for in do"]),
    ("a=(rm -rf /)", []),
    ("declare -a x=(rm -rf /)", []),
    ("echo {rm,-rf}", []),
    # --- functions
    ("f() { rm x; }; f", ["rm x"]),
    ("function f { rm x; }; f", ["rm x"]),
    ('f() { rm "$1"; }; f a', ["rm a"]),
    ('f() { rm "$@"; }; f a b', ["rm a b"]),
    ("f() { command rm x; }; f", ["rm x"]),
    ("f() { f; }; f", ["f"]),
    ("f() { rm x; }", ["rm x"]),
    ("f () ( rm x )\nf", ["rm x"]),
    ('f() { rm "$1"; }; eval "x=1"; f a', ["rm a"]),
    ("sh -c 'f() { rm x; }'", ["sh -c 'f() { rm x; }'", "rm x"]),
    ("echo 'f() { rm x; }'", []),
    # --- variables
    ("x=rm; $x -rf y", ["rm -rf y"]),
    ("x='rm -rf'; $x y", ["rm -rf y"]),
    ('x="rm y"; "$x"', ["'rm y'"]),
    ("x=a; y=$x/b; rm $y", ["rm a/b"]),
    ("x=r; ${x}m y", ["rm y"]),
    ("x=abc; rm ${x:0:1}", ["rm a"]),
    ("x=a.c; rm ${x%.c}.o", ["rm a.o"]),
    ("x=/a/b; rm ${x##*/}", ["rm b"]),
    ("x=aXb; rm ${x/X/-}", ["rm a-b"]),
    ("x=; rm ${x:-d}", ["rm d"]),
    ("x=q; rm ${x:-d}", ["rm q"]),
    ("rm ${UNSET:-d}", ["rm ?"]),
    ("rm${IFS}-rf${IFS}x", ["rm -rf x"]),
    ("rm $HOME/x ~/y", ["rm /home/u/x /home/u/y"]),
    ("rm ~root/x", ["rm /root/x"]),
    ('rm "~/x"', ["rm '~/x'"]),
    ("rm $UNKNOWN", ["rm ?"]),
    ('rm "/tmp/$UNKNOWN"', ["rm ?/tmp/"]),
    ("$UNKNOWN -rf x", ["? -rf x"]),
    ("x=rm; unset x; ls $x", ["ls"]),
    ("x=(a b); rm ${x[@]}", ["rm a b"]),
    ("x=(a b); rm ${x[1]}", ["rm b"]),
    ("set -- a b; rm $2", ["rm b"]),
    ("set -- a b; shift; rm $1", ["rm b"]),
    ("export x=a; rm $x", ["rm a"]),
    ("read x; rm $x", ["rm ?"]),
    ("read x <<< a; rm $x", ["rm a"]),
    ("x=y; x+=z; rm $x", ["rm yz"]),
    ("i=2; rm $((i+1))", ["rm ?"]),
    ("rm $((2+1))", ["rm 3"]),
    ("p=x; n=p; rm ${!n}", ["rm x"]),
    ("x='$(rm y)'; echo \"$x\"", []),
    ("x=a$UNKNOWN; rm $x", ["rm ?"]),
    ("rm '~/x'", ["rm '~/x'"]),
    ("ls() { rm x; }; sudo ls", ["sudo ls", "ls", "rm x"]),
    ("ls() { rm x; }; sh -c ls", ["sh -c ls", "ls", "rm x"]),
    ("ls() { rm x; }; command ls", ["ls", "rm x"]),
    ("x='; rm y'; ls $x", ["ls ';' rm y"]),
    ("x='a b'; ls \"$x\"", ["ls 'a b'"]),
    # --- braces, patterns
    ("{rm,-rf,x}", ["rm -rf x"]),
    ("rm {a,b}.c", ["rm a.c b.c"]),
    ("rm x{1..3}", ["rm x1 x2 x3"]),
    ("rm {a,{b,c}}", ["rm a b c"]),
    ("rm '{a,b}'", ["rm '{a,b}'"]),
    ("rm {a}", ["rm '{a}'"]),
    ("awk '{print $1}' f", ["awk '{print $1}' f"]),
    ("rm *.o", ["rm '*.o'"]),
    ("ls @(a|b)", ["ls '@(a|b)'"]),
    # --- substitutions
    ("echo $(rm x)", ["rm x"]),
    ("echo `rm x`", ["rm x"]),
    ('echo "$(rm x)"', ["rm x"]),
    ("echo $(echo $(rm x))", ["rm x"]),
    ("echo `echo \\`rm x\\``", ["rm x"]),
    ("x=$(rm y)", ["rm y"]),
    ("$(echo rm) x", ["rm x"]),
    ("rm $(echo a b)", ["rm a b"]),
    ("cat <(rm x)", ["rm x", "cat /dev/fd/63"]),
    ("a > >(rm x)", ["rm x", "a"]),
    ('echo "${x:-$(rm y)}"', ["rm y"]),
    ("rm $(ls)", ["ls", "rm ?"]),
    ("rm $(pwd)/x", ["pwd", "rm /w/x"]),
    ("cd a && rm $PWD/x", ["rm /w/a/x"]),
    ("t=$(mktemp); rm $t", ["mktemp", "rm /tmp/tmp.XXXXXXXXXX"]),
    # --- here-documents
    ("sh <<E\nrm x\nE", ["sh", "rm x"]),
    ("sh <<'E'\nrm x\nE", ["sh", "rm x"]),
    ("bash <<-E\n\trm x\n\tE", ["bash", "rm x"]),
    ("sh <<< 'rm x'", ["sh", "rm x"]),
    ("cat <<E | sh\nrm x\nE\nls", ["cat", "sh", "rm x", "ls"]),
    ("cat <<A <<B\n1\nA\n2\nB\nls", ["cat", "ls"]),
    ("cat <<A > f; ls\nrm x\nA", ["cat", "ls"]),
    ("cat <<A && ls\nrm x\nA\nid", ["cat", "ls", "id"]),
    ("cat <<E\n$(rm x)\nE", ["rm x", "cat"]),
    ("python3 <<E\nimport os\nE", ["python3"]),
    ("cat <<E\nrm -rf /\nE", ["cat"]),
    ("cat > s.sh <<'E'\nrm -rf /\nE", ["cat"]),
    ("cat <<'E'\n$(rm x)\nE", ["cat"]),
    ("cat <<E\n\\$(rm x)\nE", ["cat"]),
    ("tee notes <<E\ncurl x | sh\nE", ["tee notes"]),
    ("mail -s 'rm -rf' a@b.example <<E\nrm x\nE", ["mail -s 'rm -rf' a@b.example"]),
    # --- code in code
    ("sh -c 'rm x'", ["sh -c 'rm x'", "rm x"]),
    ("bash -lc 'rm x'", ["bash -lc 'rm x'", "rm x"]),
    ("bash -euo pipefail -c 'rm x'", ["bash -euo pipefail -c 'rm x'", "rm x"]),
    ("sh -c 'rm $1' _ a", ["sh -c 'rm $1' _ a", "rm a"]),
    ("sh -c \"sh -c 'rm x'\"", ["sh -c 'sh -c '\"'\"'rm x'\"'\"''", "sh -c 'rm x'", "rm x"]),
    ("eval 'rm x'", ["rm x"]),
    ("eval rm x", ["rm x"]),
    ('eval "$(echo rm x)"', ["rm x"]),
    ("trap 'rm x' EXIT", ["rm x"]),
    ("source <(echo rm x)", ["rm x"]),
    ("echo rm x > s; sh s", ["sh s", "rm x"]),
    ("echo rm x > s; . ./s", ["rm x"]),
    ("printf '#!/bin/sh\\nrm x\\n' > s; chmod +x s; ./s", ["chmod +x s", "./s", "rm x"]),
    ("cat > s <<E\nrm x\nE\nbash s", ["cat", "bash s", "rm x"]),
    ("echo rm x | sh", ["sh", "rm x"]),
    ("echo rm x | tee s | sh", ["tee s", "sh", "rm x"]),
    ("echo cm0geA== | base64 -d | sh", ["base64 -d", "sh", "rm x"]),
    ("echo cm0geA== | base64 --decode | bash", ["base64 --decode", "bash", "rm x"]),
    ("echo 726d2078 | xxd -r -p | sh", ["xxd -r -p", "sh", "rm x"]),
    ("echo 'x mr' | rev | sh", ["rev", "sh", "rm x"]),
    ("echo ez k | tr a-z n-za-m | sh", ["tr a-z n-za-m", "sh", "rm x"]),
    ("printf 'rm %s' x | sh", ["sh", "rm x"]),
    ("curl -s https://h.example/i | sh", ["curl -s https://h.example/i", "sh"]),
    ("sh s.sh", ["sh s.sh"]),
    ("sh -n 'rm x'", ["sh -n 'rm x'"]),
    ("python3 -c 'print(\"rm -rf /\")'", ["python3 -c 'print(\"rm -rf /\")'"]),
    ("echo 'sh -c \"rm x\"'", []),
    ("echo cm0geA== | base64 -d", ["base64 -d"]),
    ("echo eval rm x", []),
    ("ls sh -c 'rm x'", ["ls sh -c 'rm x'"]),
    ("man sh -c", ["man sh -c"]),
    # --- wrappers
    ("sudo rm x", ["sudo rm x", "rm x"]),
    ("sudo -u bob -n rm x", ["sudo -u bob -n rm x", "rm x"]),
    ("sudo A=1 rm x", ["sudo A=1 rm x", "rm x"]),
    ("sudo -- rm x", ["sudo -- rm x", "rm x"]),
    ("sudo -l", ["sudo -l"]),
    ("env A=1 rm x", ["env A=1 rm x", "rm x"]),
    ("env -i rm x", ["env -i rm x", "rm x"]),
    ("env -S 'rm x'", ["env -S 'rm x'", "rm x"]),
    ("env", ["env"]),
    ("nohup rm x &", ["nohup rm x", "rm x"]),
    ("nice -n 5 rm x", ["nice -n 5 rm x", "rm x"]),
    ("timeout 5 rm x", ["timeout 5 rm x", "rm x"]),
    ("timeout -k 1 5s rm x", ["timeout -k 1 5s rm x", "rm x"]),
    ("stdbuf -oL rm x", ["stdbuf -oL rm x", "rm x"]),
    ("setsid rm x", ["setsid rm x", "rm x"]),
    ("exec rm x", ["exec rm x", "rm x"]),
    ("command rm x", ["rm x"]),
    ("command -v rm", []),
    ("busybox rm x", ["busybox rm x", "rm x"]),
    (
        "sudo env A=1 timeout 3 sh -c 'rm x'",
        [
            "sudo env A=1 timeout 3 sh -c 'rm x'",
            "env A=1 timeout 3 sh -c 'rm x'",
            "timeout 3 sh -c 'rm x'",
            "sh -c 'rm x'",
            "rm x",
        ],
    ),
    ("xargs rm < list", ["xargs rm", "rm ?"]),
    ("echo a b | xargs rm -f", ["xargs rm -f", "rm -f a b"]),
    ("echo a | xargs -I{} rm x/{}", ["xargs -I{} rm x/{}", "rm x/a"]),
    ("ls | xargs -n1 rm", ["ls", "xargs -n1 rm", "rm ?"]),
    ("find a -exec rm {} \\;", ["find a -exec rm {} ';'", "rm ?a/"]),
    (
        "find . -exec sh -c 'rm \"$1\"' _ {} +",
        ["find . -exec sh -c 'rm \"$1\"' _ {} +", "sh -c 'rm \"$1\"' _ ?./", "rm ?"],
    ),
    ("find . -name rm", ["find . -name rm"]),
    ("ssh h rm x", ["ssh h rm x", "rm x"]),
    ("ssh -p 22 u@h 'rm x; ls'", ["ssh -p 22 u@h 'rm x; ls'", "rm x", "ls"]),
    ("ssh h", ["ssh h"]),
    ("docker exec -it c rm x", ["docker exec -it c rm x", "rm x"]),
    ("docker run --rm -v a:b img rm x", ["docker run --rm -v a:b img rm x", "rm x"]),
    ("docker ps", ["docker ps"]),
    ("kubectl exec p -- rm x", ["kubectl exec p -- rm x", "rm x"]),
    ("git -c alias.z='!rm x' z", ["git -c 'alias.z=!rm x' z", "rm x"]),
    ("git -c alias.z='!rm x' status", ["git -c 'alias.z=!rm x' status"]),
    ("git -c user.name='!rm x' commit", ["git -c 'user.name=!rm x' commit"]),
    ("git log --grep 'rm x'", ["git log --grep 'rm x'"]),
    (
        "tar cf a.tar --checkpoint=1 --checkpoint-action=exec='rm x' b",
        ["tar cf a.tar --checkpoint=1 '--checkpoint-action=exec=rm x' b", "rm x"],
    ),
    ("tar cf a.tar --checkpoint-action=dot b", ["tar cf a.tar --checkpoint-action=dot b"]),
    ("awk 'BEGIN{system(\"rm x\")}'", ["awk 'BEGIN{system(\"rm x\")}'", "rm x"]),
    ("awk '/rm x/{print}' f", ["awk '/rm x/{print}' f"]),
    ("vim -c '!rm x' f", ["vim -c '!rm x' f", "rm x"]),
    ("vim +12 f", ["vim +12 f"]),
    ("sqlite3 db '.shell rm x'", ["sqlite3 db '.shell rm x'", "rm x"]),
    ("sqlite3 db 'select \".shell rm x\"'", ["sqlite3 db 'select \".shell rm x\"'"]),
    ("su -c 'rm x' bob", ["su -c 'rm x' bob", "rm x"]),
    ("script -qc 'rm x' /dev/null", ["script -qc 'rm x' /dev/null", "rm x"]),
    ("flock l rm x", ["flock l rm x", "rm x"]),
    ("flock l -c 'rm x'", ["flock l -c 'rm x'", "rm x"]),
    ("watch -n 1 rm x", ["watch -n 1 rm x", "rm x"]),
    ("bwrap --ro-bind / / --dev /dev rm x", ["bwrap --ro-bind / / --dev /dev rm x", "rm x"]),
    ("uv run rm x", ["uv run rm x", "rm x"]),
    ("uv pip list", ["uv pip list"]),
    ("echo 'rm x' | at now", ["at now", "rm x"]),
    ("parallel rm ::: a", ["parallel rm ::: a", "rm a"]),
    ("npm run clean", ["npm run clean"]),
    ("make -C rm", ["make -C rm"]),
    ("alias ll='rm x'", ["alias 'll=rm x'"]),
    ("which sudo rm", ["which sudo rm"]),
    ("apt-cache show rm", ["apt-cache show rm"]),
]


@pytest.mark.parametrize(("text", "commands"), READ, ids=[text for text, _ in READ])
def test_what_would_run(text: str, commands: list[str]) -> None:
    """Every command that the text would start is read, in order, with its words; quoted text that nothing executes is data."""
    assert run_by(text) == [shlex.split(command) for command in commands]


# Texts in which `rm`, `sudo`, `reboot` or `mkfs` stand, and none of them runs.
LOOK_ALIKES = [
    "echo rm -rf /",
    "echo 'rm -rf /' > notes.txt",
    'echo "sudo rm -rf /" | wc -c',
    "printf '%s\\n' 'rm -rf ~'",
    "grep -rn 'rm -rf' .",
    "grep -e 'sudo reboot' -e mkfs log",
    "rg 'rm -rf|mkfs' src",
    "sed -n '/rm -rf/p' Makefile",
    "sed 's/rm -rf/trash/' Makefile",
    "awk '/sudo reboot/ {n++} END {print n}' log",
    "awk -F';' '$1 == \"rm\" {print}' f",
    "git commit -m 'never run rm -rf /'",
    'git commit -m "remove; sudo reboot"',
    "git log --grep='rm -rf'",
    "git grep 'sudo rm'",
    "git rm old.txt",
    "git tag -a v1 -m 'mkfs; rm'",
    "docker rm old",
    "docker run --rm image ls",
    "npm rm left-pad",
    "kubectl delete pod rm",
    "man rm",
    "which rm sudo",
    "type rm",
    "command -v sudo",
    "help rm",
    "apropos mkfs",
    "ls -l /bin/rm",
    "file /usr/bin/sudo",
    "cat rm.txt sudo.md",
    "touch rm sudo reboot",
    "mkdir rm",
    "cd rm",
    "find . -name rm",
    "find . -name '*.rm' -print",
    "find . -regex '.*; rm -rf .*'",
    "ls # rm -rf /",
    "# sudo reboot",
    ": rm -rf /",
    "true || echo 'rm'",
    "x='rm -rf /'",
    "x='rm -rf /'; echo \"$x\"",
    'cmd=(rm -rf /); echo "${cmd[@]}"',
    "export ALIAS='rm -rf'",
    "declare -r NEVER='sudo reboot'",
    "[[ $cmd == 'rm -rf /' ]]",
    '[ "$1" = rm ]',
    "test rm = rm",
    "case $cmd in rm|sudo) echo no;; esac",
    "for word in rm sudo mkfs; do echo $word; done",
    "alias rm='rm -i'",
    "cat <<E\nrm -rf /\nE",
    "cat <<'E'\n$(sudo reboot)\nE",
    "cat > clean.sh <<'E'\n#!/bin/sh\nrm -rf build\nE",
    "cat >> README.md <<E\nUse \\`sudo rm\\` with care.\nE",
    "tee doc.md <<'E'\ncurl x | sudo sh\nE",
    "python3 - <<'E'\nprint('rm -rf /')\nE",
    "grep -c rm <<< 'rm -rf /'",
    "wc -l <<E\nsudo reboot\nE",
    "python3 -c 'print(\"rm -rf /\")'",
    "python3 -c \"assert 'sudo reboot' in text\"",
    "node -e 'console.log(\"rm -rf /\")'",
    "perl -ne 'print if /rm -rf/' log",
    "jq '.commands[] | select(. == \"rm\")' f.json",
    "curl -d 'cmd=rm -rf /' https://h.example",
    "curl 'https://h.example/?q=a;rm+-rf'",
    "http POST h.example cmd='sudo reboot'",
    "psql -c \"select * from log where cmd like 'rm -rf%'\"",
    "sqlite3 db \"insert into t values ('sudo reboot')\"",
    "mail -s 'rm -rf /' dev@h.example < body.txt",
    "notify-send 'sudo reboot needed'",
    "tmux rename-window rm",
    "sh -c 'echo rm -rf /'",
    "bash -c 'grep \"rm -rf\" log'",
    "eval 'echo rm'",
    "ssh h 'echo rm -rf /'",
    "xargs echo rm < list",
    "find . -exec echo rm {} \\;",
    "timeout 5 echo sudo reboot",
    "env X='rm -rf /' ls",
    "echo cm0gLXJmIC8= | base64 -d",
    "echo 'rm -rf /' | base64",
    "echo 'rm -rf /' | tee plan.txt",
    "echo 'rm -rf /' | sed 's/rm/ls/'",
    "diff <(echo rm) <(echo sudo)",
    "tar --exclude=rm -cf a.tar .",
    "make rm",
    "vim rm.c",
    "ln -s rm link",
    "cp /bin/rm /tmp/copy",
    "chmod 755 rm",
    "strings /bin/rm",
    "apt-get install -y molly-guard sudo",
    "pip download rm",
    "trap - EXIT",
    "f() { echo rm; }; f",
    'function rmdirs { echo "$1"; }; rmdirs sudo',
    "echo $((rm + 1))",
    'echo "${rm:-sudo}"',
    "echo {rm,sudo}",
    "echo \\; rm",
    "echo a\\ rm",
    "echo 'a\nrm -rf /\n'",
]


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_text_that_nothing_executes_is_data(text: str) -> None:
    """Words of a dangerous command in arguments, strings, documents and comments run nothing, and the text is readable."""
    found = read(text, cwd="/w", home="/home/u")
    assert found.problems == frozenset()
    assert found.commands or text.startswith("#") or "=" in text
    assert not {"rm", "sudo", "reboot", "mkfs"} & {c.name for c in found.commands}


def test_the_tables_are_wide_enough() -> None:
    """There are as many texts in which `rm` only stands as texts in which it runs."""
    runs = [text for text, commands in READ if any(shlex.split(c)[0].endswith("rm") for c in commands)]
    stands = [text for text, _ in READ if "rm" in text and text not in runs]
    assert len(READ) + len(LOOK_ALIKES) >= 300
    assert len(LOOK_ALIKES) + len(stands) >= len(runs)


@pytest.mark.parametrize("text", [text for text, _ in READ], ids=[text for text, _ in READ])
def test_the_table_is_valid_shell(text: str) -> None:
    """Nothing that bash would accept is called unreadable."""
    assert read(text, cwd="/w").problems == frozenset()


BROKEN = [
    "'a", '"a', "$(", "`a", "${a", "(a", "a)", "{ a", "if a", "if a; then b", "while a; do b", "for", "for x in a; do b",
    "case x in", "a &&", "a |", "| a", "&& a", "a >", "fi", "done", "a;;", "f()", "[[ a", "echo \\$(rm)", "cat <<E\nx", "a (b)", "x=(a",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_incomplete_is_named(text: str) -> None:
    """A text that bash would refuse gives a reading that says so, instead of an exception or silence."""
    assert "unparsable" in read(text).problems


def test_the_commands_before_a_mistake_are_read() -> None:
    """Bash runs the lines before a syntax error, so they are read too."""
    assert run_by("rm x\nif") == [["rm", "x"]]


def test_where_a_command_runs() -> None:
    """`cd` moves what follows, a subshell keeps it to itself, and an unknown folder is unknown."""
    found = read("cd a; one; (cd b; two); three; cd $X; four; cd /q/../r && five", cwd="/w").commands
    assert {c.name: c.cwd for c in found if c.name != "cd"} == {
        "one": "/w/a",
        "two": "/w/a/b",
        "three": "/w/a",
        "four": None,
        "five": "/r",
    }


def test_how_a_command_comes_to_run() -> None:
    """A nested command names the one that runs it, its depth, its machine and its place in the text."""
    text = "ls; ssh h 'sudo rm x'"
    outer, ssh, sudo, rm = read(text).commands
    assert (outer.via, outer.remote, outer.parent) == ("", None, None)
    assert (rm.via, rm.remote, rm.parent) == ("sudo", "h", 2)
    assert ssh.depth < sudo.depth < rm.depth
    assert text[slice(*rm.span)] == "ssh h 'sudo rm x'"


def test_what_feeds_a_command() -> None:
    """A pipe names its writer; a here-document is the stdin itself."""
    commands = read("curl x | sh; cat <<E\nhi\nE").commands
    assert (commands[1].name, commands[1].fed_by, commands[1].script) == ("sh", 0, None)
    assert commands[2].stdin == "hi\n"


SCRIPTS = [
    ("python3 -c 'x=1'", "x=1", "python"),
    ("python3 -Bc 'x=1'", "x=1", "python"),
    ("python3 -m pip install x", "", "python"),
    ("python3 s.py", None, "python"),
    ("python3 <<E\nx=1\nE", "x=1\n", "python"),
    ("echo 'x=1' > s.py; python3 s.py", "x=1\n", "python"),
    ("node -e 'x'", "x", "other"),
    ("perl -0 -ne 'unlink'", "unlink", "other"),
    ("ruby -rfileutils -e 'x'", "x", "other"),
    ("psql -c 'drop table t'", "drop table t", "sql"),
    ("sqlite3 db 'select 1'", "select 1", "sql"),
    ("sh -c 'ls'", "ls", "shell"),
    ("bash s.sh", None, "shell"),
    ("ls", "", None),
]


@pytest.mark.parametrize(("text", "script", "language"), SCRIPTS)
def test_the_code_that_interpreters_are_given(text: str, script: str | None, language: str | None) -> None:
    """An interpreter's code is its script, None where only a file holds it that nobody looked at."""
    named = [c for c in read(text, cwd="/w").commands if not c.builtin and not c.via][-1]
    assert (named.script, named.language) == (script, language)


def test_a_script_that_lies_there_is_read() -> None:
    """The caller may know the text of files; commands in them are read as nested ones."""
    found = read("bash s.sh a", cwd="/w", content={"/w/s.sh": "rm $1"}.get).commands
    assert [shown(c) for c in found] == [["bash", "s.sh", "a"], ["rm", "a"]]


def test_redirections_keep_their_targets() -> None:
    """Operators, descriptors and targets are kept, also on groups and without a command."""
    commands = read("a 2>>e <i; { b; } >&o; > n").commands
    assert [[(r.operator, r.descriptor, r.target.text) for r in c.redirects] for c in commands] == [
        [(">>", 2, "e"), ("<", None, "i")],
        [(">&", None, "o")],
        [],
        [(">", None, "n")],
    ]


def test_a_fork_bomb_ends() -> None:
    """A function that calls itself is followed once."""
    assert [c.name for c in read(":(){ :|:& };:").commands] == [":", ":"]


HUGE = {
    "brackets": "(" * MAX_LENGTH,
    "pipes": "a|" * (MAX_LENGTH // 2),
    "semicolons": ";" * MAX_LENGTH,
    "commands": "a;" * (MAX_LENGTH // 2),
    "substitutions": "$(" * (MAX_LENGTH // 2),
    "here-documents": "cat <<E;" * (MAX_LENGTH // 8) + "\nE\n",
    "braces": "echo " + "{a,b}" * 30,
    "ranges": "echo {1..99999}{1..99999}",
    "doubling": "x=aa;" + "x=$x$x;" * 5000 + "echo $x",
    "eval": 'x=\'eval "$x;$x"\'; eval "$x"',
    "loops": "for a in 1 2 3 4 5 6 7 8; do " * 20 + "x=1;" + "done;" * 20,
    "functions": "f(){ f; f; };f",
    "patterns": "x=" + "a" * 100 + ";" + "echo ${x##*a*a*a*a*a*b};" * 1000,
    "arithmetic": "((a) " * (MAX_LENGTH // 5),
    "backquotes": "`" * MAX_LENGTH,
    "nuls": "\0rm\0 x" * 1000,
}


@pytest.mark.parametrize("name", HUGE)
def test_hostile_texts_are_read_in_bounds(name: str) -> None:
    """Size and nesting end in a reading of bounded size; what was left out has a name."""
    found = read(HUGE[name], cwd="/w")
    assert len(found.commands) <= MAX_COMMANDS
    assert all(c.depth <= MAX_DEPTH + 1 for c in found.commands)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("( " * 40 + "a" + ")" * 40, "too-deep"),
        ("x" * (MAX_LENGTH + 1), "too-long"),
        ("a;" * (MAX_COMMANDS + 1), "too-much"),
        ("eval " * 40 + "a", "too-deep"),
    ],
)
def test_what_is_too_much_is_named(text: str, problem: str) -> None:
    """Each bound has its own name, so that a rule or a person can tell them apart."""
    assert problem in read(text).problems


@pytest.mark.parametrize("depth", range(1, 9))
def test_nesting_gives_the_innermost_command(depth: int) -> None:
    """One to eight levels of mixed wrappers end at the same command."""
    text = "rm x"
    for level in range(depth):
        text = (
            f"sh -c {shlex.quote(text)}",
            f"eval {shlex.quote(text)}",
            f"env -S {shlex.quote(text)}",
            f"bash <<'E{level}'\n{text}\nE{level}",
        )[level % 4]
    assert run_by(text)[-1] == ["rm", "x"]


@pytest.mark.parametrize(
    ("folder", "path", "whole"),
    [("/w", "a/../b", "/w/b"), ("/w", "/a//b/", "/a/b"), (None, "/a", "/a"), (None, "a", None), ("/", "../../x", "/x")],
)
def test_paths_by_text_alone(folder: str | None, path: str, whole: str | None) -> None:
    """`.`, `..` and doubled slashes go; a relative path without a folder is unknown."""
    assert absolute(folder, path) == whole
