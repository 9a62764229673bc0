"""The loader: every wrong file has its own message with file, line and column; right ones mean what they say; the cache changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import guard._data
from guard.core.actions import Context, FileAction, NetworkAction
from guard.core.verdicts import Decision
from guard.policy.errors import PolicyError
from guard.policy.language import wrong_regex
from guard.policy.load import load, pack_names
from guard.policy.match import Matcher
from guard.policy.read import LIMIT, read
from tests.policy.support import PLACES, load_text

PACKS = next(
    os.path.join(os.path.realpath(p), "policies")
    for p in guard._data.__path__
    if os.path.isdir(os.path.join(p, "policies"))
)

# What is wrong, the file, and the whole message. `PACKS` stands for the folder of the packs, `LINE` for a line in one of them.
WRONG = [
    ("empty file", "", "p.yaml:1:1: the file is empty; expected `version: 1`, `name:` and `rules:`"),
    ("only a comment", "# x\n", "p.yaml:1:1: the file is empty; expected `version: 1`, `name:` and `rules:`"),
    ("a list", "- a\n", "p.yaml:1:1: a policy is a mapping with `version`, `name` and `rules`"),
    (
        "two documents",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n---\na: b\n",
        "p.yaml:9:1: a second document; a policy file holds one",
    ),
    ("not yaml", "version: 1\nname: [p\n", "p.yaml:3:1: not YAML: did not find expected ',' or ']'"),
    ("tab", "version: 1\n\tname: p\n", "p.yaml:2:1: a tab; indentation is made of spaces"),
    ("duplicate key", "version: 1\nname: p\nname: q\n", "p.yaml:3:1: `name` is given twice; the first is in line 2"),
    (
        "duplicate in condition",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x, path: ./y}\n    because: why\n",
        "p.yaml:7:23: `path` is given twice; the first is in line 7",
    ),
    (
        "unknown key",
        "version: 1\nname: p\nruls: []\n",
        "p.yaml:3:1: unknown key `ruls` in a policy; expected `version`, `name`, `description`, `extends`, `lists`, `rules`, `sequences` or `exceptions`; did you mean `rules`?",
    ),
    (
        "unknown rule key",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    becuase: x\n",
        "p.yaml:9:5: unknown key `becuase` in a rule; expected `id`, `kind`, `when`, `because`, `decision`, `label`, `instead`, `inspect`, `tls`, `severity`, `attack`, `misses`, `falsepositives` or `examples`; did you mean `because`?",
    ),
    (
        "missing because",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n",
        "p.yaml:4:5: `because` is missing in a rule",
    ),
    (
        "missing version",
        "name: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:1:1: `version` is missing in a policy",
    ),
    (
        "wrong version",
        "version: 2\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:1:10: `version` is `2`; expected `1`",
    ),
    (
        "version text",
        'version: "1"\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n',
        "p.yaml:1:10: `version` is `1` in quotes, a text; expected the number `1`",
    ),
    (
        "bad name",
        "version: 1\nname: My Pack\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:2:7: `name` is `My Pack`; expected lower-case words joined by `-`",
    ),
    (
        "nothing to do",
        "version: 1\nname: p\n",
        "p.yaml:1:1: nothing to do: expected `rules`, `sequences`, `exceptions` or `extends`",
    ),
    (
        "empty rules",
        "version: 1\nname: p\nrules: []\n",
        "p.yaml:3:8: `rules` is empty; leave it out, or say what belongs to it",
    ),
    ("rules a mapping", "version: 1\nname: p\nrules: {a: b}\n", "p.yaml:3:8: `rules` is a mapping; expected a list"),
    (
        "anchor",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: &a {path: ./x}\n    because: why\n",
        "p.yaml:7:11: `&a`: anchors are not used in policies; use `lists:` for what several rules share",
    ),
    (
        "alias",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: *.pem}\n    because: why\n",
        "p.yaml:7:19: a value that starts with `!`, `*` or `&` must be in quotes",
    ),
    (
        "tag",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: !!str ./x}\n    because: why\n",
        "p.yaml:7:18: `!!str`: tags are not used in policies; quote the value if `!` belongs to it",
    ),
    (
        "local tag",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: !rm}\n    because: why\n",
        "p.yaml:7:24: a value that starts with `!`, `*` or `&` must be in quotes",
    ),
    (
        "merge",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {<<: {path: ./x}}\n    because: why\n",
        "p.yaml:7:12: `<<`: merges are not used in policies; use `extends` or `lists:`",
    ),
    (
        "on key",
        "version: 1\nname: p\non: x\n",
        'p.yaml:3:1: `on` is a boolean in YAML 1.1; write `true`, or `"on"` for the word',
    ),
    (
        "no value",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {name: no}\n    because: why\n",
        'p.yaml:7:18: `no` is a boolean in YAML 1.1; write `false`, or `"no"` for the word',
    ),
    (
        "yes bool",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {anonymous: yes}\n    because: why\n",
        'p.yaml:7:23: `yes` is a boolean in YAML 1.1; write `true`, or `"yes"` for the word',
    ),
    (
        "True bool",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {anonymous: True}\n    because: why\n",
        'p.yaml:7:23: `True`: write `true`, or `"True"` for the word',
    ),
    (
        "null",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ~}\n    because: why\n",
        "p.yaml:7:18: `~` is YAML's null; expected a value, `~/` is the home",
    ),
    (
        "empty value",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: }\n    because: why\n",
        "p.yaml:7:18: a key without a value; expected a value",
    ),
    (
        "sexagesimal",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: 22:22}\n    because: why\n",
        'p.yaml:7:18: `22:22` is another number in YAML 1.1 than it looks; write it in decimal, or `"22:22"` for the text',
    ),
    (
        "octal",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: 0100}\n    because: why\n",
        'p.yaml:7:18: `0100` is another number in YAML 1.1 than it looks; write it in decimal, or `"0100"` for the text',
    ),
    (
        "underscore",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: 1_000}\n    because: why\n",
        'p.yaml:7:18: `1_000` is another number in YAML 1.1 than it looks; write it in decimal, or `"1_000"` for the text',
    ),
    (
        "exponent",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {harm.score: {gt: 1e-1}}\n    because: why\n",
        'p.yaml:7:29: `1e-1` is another number in YAML 1.1 than it looks; write it in decimal, or `"1e-1"` for the text',
    ),
    (
        "bad escape",
        'version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: "\\.x"}}\n    because: why\n',
        "p.yaml:7:32: a backslash in double quotes starts a YAML escape, and this one does not exist; write the text in single quotes",
    ),
    (
        "silent escape",
        'version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: "\\bx"}}\n    because: why\n',
        "p.yaml:7:31: the escape in double quotes became the control character '\\x08'; write the text in single quotes",
    ),
    (
        "unknown kind",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: fil\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:5:11: `kind` is `fil`; expected `exec`, `file`, `network`, `python`, `sql`, `tool` or `system`; did you mean `file`?",
    ),
    (
        "unknown decision",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: deny\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:6:15: `decision` is `deny`; expected `block`, `ask` or `allow`",
    ),
    (
        "unknown field",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {pth: ./x}\n    because: why\n",
        "p.yaml:7:12: unknown field `pth` for kind `file`; expected `op`, `path`, `at`, `to`, `folder`, `sets`, `actor.name`, `actor.exe`, `actor.script`, `actor.verified`, `session.labels`, `harm.score`, `harm.label`, `all`, `any` or `not`; did you mean `path`?",
    ),
    (
        "field of another kind",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {host: a.example}\n    because: why\n",
        "p.yaml:7:12: actions of kind `file` have no `host`; `network` has it",
    ),
    (
        "operator as field",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {under: ./x}\n    because: why\n",
        "p.yaml:7:12: `under` is an operator and needs a field before it, as in `path: {under: …}`",
    ),
    (
        "unknown operator",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {udner: ./x}}\n    because: why\n",
        "p.yaml:7:19: `path` has no operator `udner`; expected `is`, `in`, `not_in`, `under`, `glob`, `matches` or `exists`; did you mean `under`?",
    ),
    (
        "operator of another type",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: {matches: x}}\n    because: why\n",
        "p.yaml:7:19: `port` has no operator `matches`; expected `is`, `in`, `not_in`, `gt`, `lt` or `exists`",
    ),
    (
        "empty condition",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {}\n    because: why\n",
        "p.yaml:7:11: `when` is empty; leave it out, or say what belongs to it",
    ),
    (
        "condition a list",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: [a]\n    because: why\n",
        "p.yaml:7:11: `when` is a list; expected a mapping",
    ),
    (
        "empty any",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {any: []}\n    because: why\n",
        "p.yaml:7:17: `any` takes a list of conditions, each with its own `- `; at least one",
    ),
    (
        "any a mapping",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {any: {path: ./x}}\n    because: why\n",
        "p.yaml:7:17: `any` takes a list of conditions, each with its own `- `; at least one",
    ),
    (
        "not a list",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {not: [a]}\n    because: why\n",
        "p.yaml:7:17: a condition is a mapping of fields and what they must be, with at least one entry",
    ),
    (
        "field without operator",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {}}\n    because: why\n",
        "p.yaml:7:18: `path` says nothing; expected `is`, `in`, `not_in`, `under`, `glob`, `matches` or `exists`",
    ),
    (
        "empty list",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: []}}\n    because: why\n",
        "p.yaml:7:23: `in` has an empty list: it could never hold; leave the condition out or name what belongs to it",
    ),
    (
        "unknown op word",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {op: wirte}\n    because: why\n",
        "p.yaml:7:16: `op` is `wirte`; expected `read`, `write`, `create`, `delete`, `rename`, `chmod` or `link`; did you mean `write`?",
    ),
    (
        "number for text",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {name: 5}\n    because: why\n",
        "p.yaml:7:18: `name` is `5`; expected text, in quotes",
    ),
    (
        "text for number",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: http}\n    because: why\n",
        "p.yaml:7:18: `port` is `http`; expected a number",
    ),
    (
        "text for bool",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {anonymous: maybe}\n    because: why\n",
        "p.yaml:7:23: `anonymous` is `maybe`; expected `true` or `false`",
    ),
    (
        "two values for gt",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {port: {gt: [1, 2]}}\n    because: why\n",
        "p.yaml:7:23: `gt` takes one value",
    ),
    (
        "unknown list",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: secrts}}\n    because: why\n",
        "p.yaml:7:23: no list `secrts`; expected `places.workspace`, `places.git`, `places.temporary`, `places.guard`, `places.guard_private`, `places.guard_code`, `places.home`, `places.other_homes`, `places.path_folders`, `places.programs`, `places.devices` or `machine.caches`, or `./secrts` for a path of the workspace",
    ),
    (
        "unknown list near",
        "version: 1\nname: p\nlists:\n  secrets: [~/.ssh]\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: secrts}}\n    because: why\n",
        "p.yaml:9:23: no list `secrts`; expected `secrets`, `places.workspace`, `places.git`, `places.temporary`, `places.guard`, `places.guard_private`, `places.guard_code`, `places.home`, `places.other_homes`, `places.path_folders`, `places.programs`, `places.devices` or `machine.caches`, or `./secrts` for a path of the workspace; did you mean `secrets`?",
    ),
    (
        "unknown built-in list",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: places.workspce}}\n    because: why\n",
        "p.yaml:7:23: no list `places.workspce`; expected `places.workspace`, `places.git`, `places.temporary`, `places.guard`, `places.guard_private`, `places.guard_code`, `places.home`, `places.other_homes`, `places.path_folders`, `places.programs`, `places.devices` or `machine.caches`; did you mean `places.workspace`?",
    ),
    (
        "host list for path",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: machine.registries}}\n    because: why\n",
        "p.yaml:7:23: `machine.registries` cannot be compared with `path`, which is a path",
    ),
    (
        "path list for host",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {host: {in: places.home}}\n    because: why\n",
        "p.yaml:7:23: `places.home` cannot be compared with `host`, which is a host",
    ),
    (
        "list in itself",
        "version: 1\nname: p\nlists:\n  a: [b]\n  b: [a]\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: {in: a}}\n    because: why\n",
        "p.yaml:10:23: list `a` contains itself",
    ),
    (
        "empty named list",
        "version: 1\nname: p\nlists:\n  a: []\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:4:6: `a` is empty; leave it out, or say what belongs to it",
    ),
    (
        "other home",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ~ann/x}\n    because: why\n",
        "p.yaml:7:18: `~ann/x`: homes are written `~/…`",
    ),
    (
        "variable",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: $HOME/x}\n    because: why\n",
        "p.yaml:7:18: `$HOME/x`: variables are not read in policies; use `~/` for homes and `./` for the workspace",
    ),
    (
        "regex broken",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: '(a'}}\n    because: why\n",
        "p.yaml:7:31: `(a` is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    (
        "regex nested",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: '(a+)+b'}}\n    because: why\n",
        "p.yaml:7:31: `(a+)+b` takes too long on hostile text (nested or neighbouring `*` and `+`); make each part match other characters than the next",
    ),
    (
        "regex alternatives",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: '(a|a)*b'}}\n    because: why\n",
        "p.yaml:7:31: `(a|a)*b` takes too long on hostile text (nested or neighbouring `*` and `+`); make each part match other characters than the next",
    ),
    (
        "regex backreference",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: '(a)\\1'}}\n    because: why\n",
        "p.yaml:7:31: `(a)\\1` refers back to a group, which can take exponential time; write it without",
    ),
    (
        "regex long",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: exec\n    decision: ask\n    when: {command: {matches: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}}\n    because: why\n",
        "p.yaml:7:31: the expression has 501 characters, more than 500; use several rules or a list",
    ),
    (
        "cidr",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: network\n    decision: ask\n    when: {address: {cidr: 10.0.0.1/8}}\n    because: why\n",
        "p.yaml:7:28: `10.0.0.1/8` is no network: 10.0.0.1/8 has host bits set",
    ),
    (
        "duplicate id",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:9:1: `r` is already the id of a rule, p.yaml:4",
    ),
    (
        "does nothing",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    when: {path: ./x}\n    because: why\n",
        "p.yaml:4:5: rule `r` does nothing; expected `decision`, `label`, `inspect` or `tls`",
    ),
    (
        "inspect on file",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    inspect: never\n",
        "p.yaml:4:5: rule `r`: only rules of kind `network` can say `inspect` or `tls`",
    ),
    (
        "example with a wrong field",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    examples:\n      match: [{pth: ./x}]\n",
        "p.yaml:10:16: `pth` in `match` is no field of kind `file`; expected `op`, `path`, `at`, `to`, `folder`, `sets`, `actor.name`, `actor.exe`, `actor.script`, `actor.verified`, `session.labels`, `harm.score`, `harm.label` or `command`; did you mean `path`?",
    ),
    (
        "examples without match",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    examples:\n      miss: [{path: ./x}]\n",
        "p.yaml:10:7: `match` is missing in `examples`",
    ),
    (
        "attack",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    attack: [1048]\n",
        "p.yaml:9:14: `attack` is `1048`; expected text, in quotes",
    ),
    (
        "attack2",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    attack: [T10]\n",
        "p.yaml:9:14: `attack` is `T10`; expected a technique as T1234 or T1234.001",
    ),
    (
        "severity",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: {path: ./x}\n    because: why\n    severity: hgh\n",
        "p.yaml:9:15: `severity` is `hgh`; expected `low`, `medium`, `high` or `critical`; did you mean `high`?",
    ),
    ("extends itself", "version: 1\nname: p\nextends: [./p.yaml]\n", "p.yaml:1:1: `extends` leads back to p.yaml"),
    (
        "extends nothing known",
        "version: 1\nname: p\nextends: [defualt]\n",
        "p.yaml:3:11: no policy pack `defualt`; there is `default`, `observe`, `strict`, or give a file as `./defualt.yaml`; did you mean `default`?",
    ),
    (
        "extends a missing file",
        "version: 1\nname: p\nextends: [./none.yaml]\n",
        "p.yaml:3:11: no policy file `./none.yaml`: ./none.yaml is no file that can be read",
    ),
    (
        "override",
        "version: 1\nname: p\nextends: [default]\nrules:\n  - id: metadata\n    kind: network\n    decision: allow\n    when: {listener: metadata}\n    because: why\n",
        "p.yaml:5:9: `metadata` is already a rule of a file that this one extends, PACKS/default.yaml:LINE; base rules cannot be replaced, choose another id",
    ),
    (
        "same name as a pack",
        "version: 1\nname: default\nextends: [default]\n",
        "p.yaml:2:7: `default` is also the name of PACKS/default.yaml; rule names would clash",
    ),
    (
        "list of a base",
        "version: 1\nname: p\nextends: [default]\nlists:\n  writable: [/]\n",
        "p.yaml:5:3: list `writable` is already a list of a file that this one extends; choose another name",
    ),
    (
        "exception to a block",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: metadata, target: {host: a.example}, expires: 2027-01-31, reason: why}\n",
        "p.yaml:5:12: `metadata` is a block; exceptions lift asks only, and nothing lifts a block",
    ),
    (
        "exception to nothing",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: ssh-kyes, actor: {name: x}, expires: 2027-01-31, reason: why}\n",
        "p.yaml:5:12: no one rule is called `ssh-kyes`; did you mean `ssh-keys`?",
    ),
    (
        "exception without bounds",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: ssh-keys, expires: 2027-01-31, reason: why}\n",
        "p.yaml:5:12: the exception has neither `actor` nor `target`; it would switch the rule off",
    ),
    (
        "exception without end",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: ssh-keys, actor: {name: x}, reason: why}\n",
        "p.yaml:5:5: `expires` is missing in an exception",
    ),
    (
        "exception day",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: ssh-keys, actor: {name: x}, expires: 31.1.2027, reason: why}\n",
        "p.yaml:5:49: `expires` is `31.1.2027`; expected a day as YYYY-MM-DD",
    ),
    (
        "exception field",
        "version: 1\nname: p\nextends: [default]\nexceptions:\n  - {rule: ssh-keys, actor: {nme: x}, expires: 2027-01-31, reason: why}\n",
        "p.yaml:5:30: unknown field `actor.nme` for kind `file`; expected `op`, `path`, `at`, `to`, `folder`, `sets`, `actor.name`, `actor.exe`, `actor.script`, `actor.verified`, `session.labels`, `harm.score`, `harm.label`, `all`, `any` or `not`; did you mean `actor.name`?",
    ),
    (
        "deep",
        "version: 1\nname: p\nrules:\n  - id: r\n    kind: file\n    decision: ask\n    when: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n    because: why\n",
        "p.yaml:7:49: nested more than 40 levels deep",
    ),
]


@pytest.mark.parametrize(("what", "text", "message"), WRONG, ids=[what for what, _, _ in WRONG])
def test_wrong_files(what: str, text: str, message: str, tmp_path: Path) -> None:
    """Each names the place, the offending text, what was expected, and what was probably meant."""
    with pytest.raises(PolicyError) as caught:
        load_text(tmp_path, text)
    told = str(caught.value).replace(f"{tmp_path}/", "").replace(f"{PACKS}/", "PACKS/")
    if "LINE" in message:
        before, _, after = message.partition("LINE")
        assert told.startswith(before)
        assert told.endswith(after)
    else:
        assert told == message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One run shows every wrong condition of a file, in the order of its lines."""
    text = "version: 1\nname: p\nrules:\n"
    for n in range(2):
        text += f"  - {{id: r{n}, kind: file, decision: ask, because: why, when: {{pth: ./x, path: {{udner: ./y}}}}}}\n"
    with pytest.raises(PolicyError) as caught:
        load_text(tmp_path, text)
    assert [p.split(":")[1] for p in caught.value.problems] == ["4", "4", "5", "5"]


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    """Ten megabytes are refused unread."""
    with pytest.raises(PolicyError, match=f"more than {LIMIT} bytes"):
        load_text(tmp_path, "# x\n" * (10 * 1024 * 1024 // 4))


def test_a_million_laughs(tmp_path: Path) -> None:
    """The first anchor ends the reading."""
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(PolicyError, match="anchors are not used"):
        load_text(tmp_path, bomb)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are named with their place."""
    file = tmp_path / "p.yaml"
    file.write_bytes(b"version: 1\nname: \xff\n")
    with pytest.raises(PolicyError, match="not UTF-8: byte 17 is 0xff"):
        load([str(file)], places=PLACES, state_folder=None)


@pytest.mark.parametrize("source", ["(a+)+b", "(a|a)*b", "(x+x+)+y", r"(\w+\s?)*$", ".*a.*b.*c.*d.*e"])
def test_expressions_that_explode(source: str) -> None:
    """Exponential and steep polynomial expressions are found by trying them."""
    problem = wrong_regex(source)
    assert problem is not None
    assert "takes too long" in problem


@pytest.mark.parametrize("source", ["a+b", ".*foo.*", r"(?s)\s*curl\s[^|]*\|\s*sh\b.*", "(a|b)*c", "[a-z]+(-[a-z]+)*"])
def test_expressions_that_do_not(source: str) -> None:
    """Ordinary ones pass."""
    assert wrong_regex(source) is None


@given(st.text(st.sampled_from(list("ab:-[]{}#&*!|>'\"\n ,~?@%0\\")), max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    """No text makes the reader fail in another way."""
    try:
        read(text, "f")
    except PolicyError as problem:
        place = str(problem).split(" ", 1)[0].split(":")
        assert place[0] == "f"
        assert place[1].isdigit()
        assert place[2].isdigit()


# --- what right files mean ------------------------------------------------------------------------------------------------------


def matcher(tmp_path: Path, text: str, today: str = "2026-01-01") -> Matcher:
    """A matcher for a file with this text."""
    return Matcher(load_text(tmp_path, "version: 1\nname: p\n" + text), PLACES, today=today)


def test_shorthands(tmp_path: Path) -> None:
    """A bare value or list means `in`; relative paths are the workspace's; several operators on a field must all hold."""
    judge = matcher(
        tmp_path,
        """\
lists:
  inner: [./a, ./b/*.py]
  outer: [inner, places.temporary]
rules:
  - {id: a, kind: file, decision: block, when: {op: delete, path: outer}, because: one}
  - {id: b, kind: file, decision: block, when: {op: [write], path: [sub/x, ./y]}, because: two}
  - {id: c, kind: network, decision: block, when: {port: {gt: 10, lt: 20}}, because: three}
  - {id: d, kind: network, decision: block, when: {host: {not_in: [a.example, machine.registries]}, port: 1}, because: four}
""",
    ).judge
    assert judge(FileAction(op="delete", path="/w/a/x", folder=False)).because == "one"
    assert judge(FileAction(op="delete", path="/w/b/x.py", folder=False)).because == "one"
    assert judge(FileAction(op="delete", path="/tmp/x", folder=False)).because == "one"
    assert judge(FileAction(op="delete", path="/w/b/x.c", folder=False)).decision is Decision.ASK
    assert judge(FileAction(op="write", path="/w/sub/x/y")).because == "two"
    assert judge(NetworkAction(port=15, host=("a.example",))).because == "three"
    assert judge(NetworkAction(port=20, host=("a.example",))).decision is Decision.ASK
    assert judge(NetworkAction(port=1, host=("b.example",))).because == "four"
    assert judge(NetworkAction(port=1, host=("registry.example",))).decision is Decision.ASK


def test_sequences(tmp_path: Path) -> None:
    """`after` labels the session, `then` is judged by that label."""
    judge = matcher(
        tmp_path,
        """\
sequences:
  - id: read-then-send
    after: {kind: file, when: {op: read, path: ./s}}
    then: {kind: network, when: {host: a.example}}
    decision: block
""",
    ).judge
    labels = judge(FileAction(op="read", path="/w/s/x")).labels
    assert labels == ("seq:p/read-then-send",)
    to = NetworkAction(host=("a.example",))
    assert judge(to, Context(labels=frozenset(labels))).decision is Decision.BLOCK
    assert judge(to, Context(labels=frozenset())).decision is Decision.ASK


def test_exceptions(tmp_path: Path) -> None:
    """They name a rule of the file or of one that it extends, and bind actor and target."""
    judge = matcher(
        tmp_path,
        """\
extends: [default]
exceptions:
  - {rule: default/containers, target: {address: /run/docker.sock}, expires: 2026-01-01, reason: builds images}
""",
    ).judge
    docker = NetworkAction(listener="unix", host=("/run/docker.sock",), address="/run/docker.sock", protocol="unix")
    verdict = judge(docker, Context(labels=frozenset()))
    assert (verdict.decision, verdict.because, verdict.source) == (Decision.ALLOW, "builds images", "exception")


def test_extending_files_share_their_bases(tmp_path: Path) -> None:
    """A base that two files extend is loaded once; lists of a base may be used by name."""
    (tmp_path / "base.yaml").write_text(
        "version: 1\nname: base\nlists:\n  kept: [./a]\nrules:\n"
        "  - {id: keep, kind: file, decision: ask, when: {op: delete, path: kept}, because: base}\n"
    )
    rule = "  - {{id: {0}, kind: file, decision: {1}, when: {{op: delete, path: kept}}, because: {0}}}\n"
    for name, decision in (("one", "allow"), ("two", "block")):
        (tmp_path / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\nextends: [./base.yaml]\nrules:\n" + rule.format(name, decision)
        )
    names = [str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml")]
    program = load(names, places=PLACES, state_folder=None)
    assert [Path(f).name for f in program.files] == ["base.yaml", "one.yaml", "two.yaml"]
    judged = Matcher(program, PLACES).judge(FileAction(op="delete", path="/w/a", folder=False))
    assert (judged.decision, judged.rules) == (Decision.BLOCK, ("two/two",))
    assert load(list(reversed(names)), places=PLACES, state_folder=None).policy_id == program.policy_id


def test_an_extending_allow_lifts_no_ask_of_its_base(tmp_path: Path) -> None:
    """`extends` can only tighten."""
    text = "extends: [default]\nrules:\n  - {id: open, kind: file, decision: allow, when: {op: [read, write], path: ~}, because: mine}\n"
    judge = matcher(tmp_path, text.replace("path: ~", "path: ~/")).judge
    assert judge(FileAction(op="write", path="/home/me/.bashrc")).decision is Decision.ASK
    assert judge(FileAction(op="write", path="/home/me/notes")).decision is Decision.ALLOW


# --- names and the cache ----------------------------------------------------------------------------------------------------------


def test_packs_have_names() -> None:
    """The shipped packs are found in every form of installation."""
    assert {"default", "observe", "strict"} <= set(pack_names())


def test_without_names_the_users_own_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default pack, plus `guard.yaml` of the user's config folder where there is one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert len(load([], places=PLACES, state_folder=None).files) == 1
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/guard.yaml").write_text(
        "version: 1\nname: mine\nrules:\n  - {id: r, kind: tool, decision: block, when: {name: x}, because: why}\n"
    )
    program = load([], places=PLACES, state_folder=None)
    assert [r.id for r in program.rules if r.kind == "tool"] == ["default/score-tool", "mine/r"]


@pytest.mark.parametrize("name", ["defualt", "./none.yaml", "none.yml"])
def test_unknown_names(name: str) -> None:
    """An unknown pack or file is one clear line."""
    with pytest.raises(PolicyError) as caught:
        load([name], places=PLACES, state_folder=None)
    assert f"`{name}`" in str(caught.value)
    assert len(caught.value.problems) == 1


def test_the_cache_gives_the_same_program(tmp_path: Path) -> None:
    """Warm equals cold, and equals no cache at all."""
    cold = load(["strict"], places=PLACES, state_folder=tmp_path)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert load(["strict"], places=PLACES, state_folder=tmp_path) == cold
    assert load(["strict"], places=PLACES, state_folder=None) == cold


def test_the_cache_follows_every_file(tmp_path: Path) -> None:
    """A change in a file that is only extended counts, and so does a broken cache."""
    base, top, state = tmp_path / "base.yaml", tmp_path / "top.yaml", tmp_path / "state"
    text = "version: 1\nname: base\nrules:\n  - {id: r, kind: tool, decision: ask, when: {name: x}, because: why}\n"
    base.write_text(text)
    top.write_text("version: 1\nname: top\nextends: [./base.yaml]\n")
    first = load([str(top)], places=PLACES, state_folder=state)
    base.write_text(text.replace("decision: ask", "decision: block"))
    second = load([str(top)], places=PLACES, state_folder=state)
    assert [r.decision for r in (*first.rules, *second.rules)] == ["ask", "block"]
    assert first.policy_id != second.policy_id
    for kept in (state / "cache").iterdir():
        kept.write_text("{")
    assert load([str(top)], places=PLACES, state_folder=state) == second


def test_a_broken_file_is_not_cached_away(tmp_path: Path) -> None:
    """What was right once does not stand in for what is wrong now."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nname: p\nrules:\n  - {id: r, kind: tool, decision: ask, when: {name: x}, because: why}\n"
    )
    load([str(file)], places=PLACES, state_folder=tmp_path / "state")
    file.write_text("version: 1\nname: p\nrules: []\n")
    with pytest.raises(PolicyError, match="`rules` is empty"):
        load([str(file)], places=PLACES, state_folder=tmp_path / "state")


def test_a_warm_load_reads_no_yaml(tmp_path: Path, child_env: dict[str, str]) -> None:
    """A start with a warm cache imports neither pyyaml nor pydantic, and looking at the machine neither."""
    load(["default"], places=PLACES, state_folder=tmp_path)
    code = f"""
import json, os, sys
from pathlib import Path
from guard.core.places import Places
from guard.policy.load import load
from guard.policy.machine import find_places
from guard.policy.match import Matcher
places = find_places(workspace={str(tmp_path)!r}, environ=os.environ, state_folder={str(tmp_path)!r})
Matcher(load(["default"], places=places, state_folder=Path({str(tmp_path)!r})), places)
heavy = {{"yaml", "pydantic", "rich", "asyncio", "subprocess", "tomllib", "importlib.resources", "socket", "ipaddress"}}
print(json.dumps(sorted(heavy & set(sys.modules))))
"""
    out = subprocess.run([sys.executable, "-c", code], env=child_env, capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []
