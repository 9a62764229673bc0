"""Generated harmless actions of coding agents: what they do all day and public corpora hardly hold.

Command lines as one gets them by joining an argument vector, shells with `-c`, here-documents that write source files, small
Python programs, queries, file and network actions. Nothing harmful enters, and nothing here is ever used to measure.
"""

from __future__ import annotations

import random
from typing import Final

from .corpus import Row

_WORDS: Final = ("src", "lib", "app", "core", "utils", "server", "client", "models", "views", "config", "parser", "auth",
                 "session", "cache", "api", "db", "worker", "queue", "router", "schema", "types", "helpers", "main", "index",
                 "store", "token", "login", "secrets_manager", "shell", "network", "policy", "scoring", "kernel", "runner")  # fmt: skip
_EXTENSIONS: Final = (
    "py",
    "ts",
    "js",
    "go",
    "rs",
    "java",
    "md",
    "json",
    "yaml",
    "toml",
    "txt",
    "sh",
    "css",
    "html",
    "sql",
    "c",
)
_NAMES: Final = ("load_config", "parse_args", "handle", "run_task", "get_user", "is_valid", "to_json", "delete_item", "retry",
                 "remove_user", "connect", "send_mail", "open_file", "read_lines", "write_report", "kill_worker", "cleanup")  # fmt: skip
_FOLDERS: Final = (
    "/workspace",
    "/testbed",
    "/repo",
    "/home/user/project",
    "/app",
    "/tmp/work",
    "/Users/dev/code/site",
    "/root/project",
    ".",
)
_BRANCHES: Final = ("main", "master", "develop", "feature/login", "fix-123", "release/2.4", "origin/main")
_PACKAGES: Final = ("requests", "numpy", "flask", "pytest", "rich", "pydantic", "lodash", "react", "typescript", "eslint", "vite",
                    "black", "mypy", "ruff", "pandas", "sqlalchemy", "django", "axios", "jest", "httpx")  # fmt: skip
_MESSAGES: Final = ("Fix off-by-one in parser", "Add tests", "Update README", "Remove dead code", "Refactor session handling",
                    "Handle empty input", "Bump version", "Delete unused files", "Harden token check", "Format")  # fmt: skip

_COMMANDS: Final = (
    "ls", "ls -la", "ls -la {dir}", "ls -l {folder}/{dir}", "ls -R {dir} | head -50", "pwd", "whoami", "uname -a", "env", "date",
    "tree -L 2 {dir}", "cat {file}", "cat -n {file}", "head -n {n} {file}", "tail -n {n} {file}", "tail -f logs/{word}.log",
    "sed -n {n},{m}p {file}", "sed -n '{n},{m}p' {file}", "sed -i 's/{name}/{name2}/g' {file}", "nl -ba {file} | sed -n '{n},{m}p'",
    "wc -l {file}", "file {file}", "stat {file}", "du -sh {dir}", "df -h", "diff {file} {file2}", "cmp {file} {file2}",
    "grep -rn {name} {dir}", "grep -rn '{name}(' --include=*.{ext} {dir}", "grep -n 'def {name}' {file}", "rg {name}",
    "rg -n '{name}' {dir} -g '*.{ext}'", "rg --files {dir}", "rg --files | head -100", "ag {name} {dir}", "fd {word} {dir}",
    "find {dir} -name '*.{ext}'", "find {dir} -type f -name {word}.{ext}", "find . -type f | head -{n}", "find . -maxdepth 2 -type d",
    "find {folder} -name '*.{ext}' -not -path '*/node_modules/*'", "find . -name __pycache__ -type d -exec rm -rf {{}} +",
    "find . -name '*.pyc' -delete", "git status", "git status --short", "git diff", "git diff --stat", "git diff HEAD~1 -- {file}",
    "git log --oneline -{n}", "git log -p -- {file}", "git show HEAD", "git show {branch}:{file}", "git add {file}", "git add -A",
    "git add . && git commit -m \"{message}\"", "git commit -m '{message}'", "git commit -am \"{message}\"", "git checkout -b {branch}",
    "git checkout {branch}", "git checkout -- {file}", "git stash", "git stash pop", "git fetch origin", "git pull --rebase",
    "git push", "git push origin {branch}", "git push -u origin HEAD", "git rebase {branch}", "git merge {branch}", "git branch -a",
    "git rev-parse HEAD", "git rev-parse --show-toplevel", "git remote -v", "git blame {file}", "git restore {file}", "git reset HEAD {file}",
    "git reset --hard HEAD", "git clean -n", "git ls-files", "git ls-files {dir}", "git config --get remote.origin.url", "git tag",
    "git config user.email dev@example.com", "git apply fix.patch", "git cherry-pick abc1234", "git clone https://code.example/team/{word}.git",
    "git submodule update --init", "git worktree add ../{word} {branch}", "git -C {folder} log -1", "git --no-pager diff",
    "gh pr create --fill", "gh pr list", "gh issue view {n}", "gh run list", "mkdir -p {dir}/{word}", "mkdir {dir}", "touch {file}",
    "cp {file} {file2}", "cp -r {dir} {dir2}", "mv {file} {file2}", "rm {file}", "rm -f {file}", "rm -rf build", "rm -rf dist build",
    "rm -rf node_modules", "rm -rf {dir}/__pycache__", "rm -rf .pytest_cache .mypy_cache", "rm -rf /tmp/{word}_test", "rm -r {dir}/{word}",
    "rm -rf ./{dir}/tmp && mkdir -p {dir}/tmp", "rmdir {dir}", "ln -s {file} {word}", "chmod +x scripts/{word}.sh", "chmod 644 {file}",
    "chmod 755 bin/{word}", "tar czf {word}.tar.gz {dir}", "tar xzf {word}.tar.gz", "tar -xf {word}.tar -C {dir}", "unzip {word}.zip -d {dir}",
    "zip -r {word}.zip {dir}", "python {file}", "python3 {word}.py", "python -m {word}", "python3 -m pytest", "python3 -m pytest -q",
    "python3 -m pytest tests/test_{word}.py -x", "python -m pytest tests/test_{word}.py::test_{name} -vv", "pytest", "pytest -q",
    "pytest -x --tb=short {dir}", "pytest -k {name}", "python -m unittest", "python3 -m unittest discover -s tests", "tox -e py312",
    "python -m venv .venv", "source .venv/bin/activate", ". .venv/bin/activate && pytest -q", "pip install -r requirements.txt",
    "pip install {package}", "pip install -e .", "pip install -e '.[dev]'", "python -m pip install --upgrade pip", "pip list", "pip show {package}",
    "pip freeze", "uv sync", "uv run pytest", "uv pip install {package}", "uv add {package}", "poetry install", "poetry run pytest",
    "pipx run {package}", "python -V", "python3 --version", "which python", "command -v node", "python3 -c 'import {package}'",
    "python3 -c \"import {package}; print({package}.__version__)\"", "python -c 'import sys; print(sys.path)'",
    "python3 -c \"import json; print(json.load(open('{word}.json'))['{word2}'])\"", "python3 manage.py migrate", "python manage.py test",
    "ruff check .", "ruff check --fix {file}", "ruff format .", "black {dir}", "mypy {dir}", "mypy --strict {file}", "flake8 {file}", "isort {dir}",
    "pre-commit run --all-files", "npm test", "npm run build", "npm run lint", "npm install", "npm ci", "npm install {package}",
    "npm install --save-dev {package}", "npm run dev", "npm start", "npx tsc --noEmit", "npx eslint {dir}", "npx prettier --write {file}",
    "npx jest {file}", "npx vitest run", "yarn", "yarn install", "yarn test", "yarn build", "pnpm install", "pnpm test", "pnpm -r build",
    "bun test", "node {word}.js", "node -e \"console.log(require('./package.json').version)\"", "node --version", "deno test", "tsc -p .",
    "cargo build", "cargo test", "cargo test {name}", "cargo clippy", "cargo fmt", "cargo run --release", "cargo check", "rustc --version",
    "go build ./...", "go test ./...", "go test -run {name} ./{word}", "go vet ./...", "go mod tidy", "gofmt -l .", "make", "make test",
    "make build", "make clean", "make -j4", "make lint", "cmake -B build -S .", "cmake --build build", "ctest --test-dir build", "gcc -o {word} {word}.c",
    "gcc -Wall -O2 {word}.c -o {word} && ./{word}", "g++ -std=c++17 main.cpp -o main", "javac Main.java", "mvn test", "mvn -q package",
    "gradle build", "./gradlew test", "bundle install", "bundle exec rspec", "rake test", "dotnet build", "dotnet test", "php artisan test",
    "composer install", "docker ps", "docker build -t {word} .", "docker compose up -d", "docker compose logs {word}", "docker compose down",
    "docker logs {word}", "docker run --rm {word} pytest", "docker images", "kubectl get pods", "kubectl logs deploy/{word}", "kubectl describe pod {word}",
    "terraform plan", "terraform fmt", "helm lint {dir}", "curl http://localhost:{port}/health", "curl -s http://127.0.0.1:{port}/api/{word}",
    "curl -sS https://api.example.com/v1/{word} | jq .", "curl -X POST http://localhost:{port}/{word} -H 'Content-Type: application/json' -d '{{\"name\": \"{word}\"}}'",
    "curl -I https://docs.example.com", "curl -fsSL https://docs.example.com/{word}.json -o {word}.json", "wget https://files.example.com/{word}.csv",
    "wget -q https://data.example.org/{word}.tar.gz", "jq . {word}.json", "jq '.{word}' package.json", "ps aux | grep {word}", "ps -ef",
    "lsof -i :{port}", "kill %1", "kill {pid}", "pkill -f 'vite'", "sleep 2", "sleep 5 && curl -s localhost:{port}", "true", "false", "echo done",
    "echo \"{message}\"", "echo $PATH", "echo $?", "printf '%s\\n' {word}", "export NODE_ENV=test", "export PYTHONPATH=.", "time make test",
    "sort {file} | uniq -c | sort -rn | head", "awk '{{print $1}}' {file}", "awk -F, '{{sum += $3}} END {{print sum}}' {word}.csv", "cut -d, -f1 {word}.csv",
    "xargs -n1 < {file}", "tee {file}", "test -f {file}", "[ -d {dir} ] && ls {dir}", "for f in {dir}/*.{ext}; do echo $f; done", "cd {folder}",
    "sqlite3 {word}.db '.tables'", "sqlite3 {word}.db 'select count(*) from {word2}'", "psql -c 'SELECT 1'", "psql {word} -f schema.sql", "mysql -e 'show tables' {word}",
    "redis-cli ping", "apt-get update", "apt-get install -y {package}", "sudo apt-get install -y build-essential", "brew install {package}", "man {word}",
    "{word} --help", "{word} --version", "./scripts/{word}.sh", "bash scripts/{word}.sh", "sh run_{word}.sh", "bash -n scripts/{word}.sh", "shellcheck scripts/{word}.sh",
    "code {file}", "open {file}", "less {file}", "md5sum {file}", "sha256sum {word}.tar.gz", "base64 {file} | head -c 100", "xxd {word}.bin | head",
    "patch -p1 < fix.patch", "timeout 60 pytest -q", "nohup npm run dev > /tmp/dev.log 2>&1 &", "cat /tmp/dev.log", "cat /proc/cpuinfo | grep 'model name'",
    "cat /etc/os-release", "nproc", "free -h", "id", "hostname", "locale", "history | tail", "cat .gitignore", "cat package.json", "cat pyproject.toml",
    "cat ~/.config/{word}/config.toml", "ls ~", "ls /usr/lib/python3", "ls /tmp", "touch /tmp/{word}", "cat .env.example", "cp .env.example .env",
    "ssh-keygen -lf host.pub", "crontab -l", "systemctl status nginx", "journalctl -u {word} -n {n}", "openssl version", "apply_patch {word}.patch",
)  # fmt: skip

_BODIES: Final = {
    "py": (
        "import os\nimport sys\nfrom pathlib import Path\n\n\ndef {name}(path: str) -> int:\n    \"\"\"{message}.\"\"\"\n    data = Path(path).read_text()\n    return len(data.splitlines())\n\n\nif __name__ == '__main__':\n    sys.exit({name}(sys.argv[1]))\n",
        "import pytest\n\nfrom {word}.{word2} import {name}\n\n\ndef test_{name}():\n    assert {name}('') is None\n\n\ndef test_{name}_raises(tmp_path):\n    with pytest.raises(ValueError):\n        {name}(tmp_path / 'missing')\n",
        "import subprocess\n\nresult = subprocess.run(['git', 'status', '--short'], capture_output=True, text=True)\nprint(result.stdout)\n",
        "import json\nimport requests\n\nresponse = requests.get('https://api.example.com/{word}', timeout=10)\nresponse.raise_for_status()\nprint(json.dumps(response.json(), indent=2))\n",
        "class {word}Error(Exception):\n    pass\n\n\nclass {word}Store:\n    def __init__(self, path):\n        self.path = path\n        self.items = {{}}\n\n    def remove(self, key):\n        self.items.pop(key, None)\n\n    def save(self):\n        with open(self.path, 'w') as handle:\n            json.dump(self.items, handle)\n",
        "from pathlib import Path\np = Path('{file}')\ns = p.read_text()\ns = s.replace('{name}', '{name2}')\np.write_text(s)\nprint('ok')\n",
        "import os, shutil, tempfile\nwork = tempfile.mkdtemp()\ntry:\n    shutil.copytree('{dir}', os.path.join(work, '{word}'))\nfinally:\n    shutil.rmtree(work)\n",
        "import socket\n\nserver = socket.socket()\nserver.bind(('127.0.0.1', 0))\nserver.listen()\nprint(server.getsockname()[1])\n",
        "import sqlite3\nconn = sqlite3.connect('{word}.db')\nfor row in conn.execute('SELECT id, name FROM {word2} LIMIT {n}'):\n    print(row)\n",
        "import pandas as pd\ndf = pd.read_csv('{word}.csv')\nprint(df.groupby('{word2}').size())\ndf.to_csv('out.csv', index=False)\n",
        "import re\nfrom collections import Counter\n\nwords = Counter(re.findall(r'\\w+', open('{file}').read()))\nprint(words.most_common({n}))\n",
    ),
    "ts": (
        "import {{ {name} }} from './{word}';\n\nexport interface Props {{\n  id: string;\n  items: string[];\n}}\n\nexport function {name2}(props: Props): string {{\n  return props.items.map((item) => {name}(item)).join('\\n');\n}}\n",
        "const express = require('express');\nconst app = express();\napp.get('/{word}', (req, res) => res.json({{ ok: true }}));\napp.listen({port}, () => console.log('listening'));\n",
    ),
    "sh": (
        "#!/usr/bin/env bash\nset -euo pipefail\ncd \"$(dirname \"$0\")\"\npython -m pip install -r requirements.txt\npython -m pytest -q\n",
        "#!/bin/sh\nset -e\nrm -rf build\nmkdir -p build\ncp -r {dir} build/\ntar czf {word}.tar.gz build\n",
    ),
    "md": (
        "# {word}\n\n{message}.\n\n## Usage\n\n```\npip install {package}\npython -m {word} --help\n```\n\n## Tests\n\nRun `pytest -q`.\n",
        "## {message}\n\n- {message}\n- see `{file}`\n- never commit passwords or `.env` files; do not run `rm -rf /`\n",
    ),
    "json": ("{{\n  \"name\": \"{word}\",\n  \"version\": \"1.{n}.0\",\n  \"scripts\": {{ \"test\": \"jest\", \"build\": \"tsc -p .\" }}\n}}\n",),
    "yaml": ("name: {word}\non: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - run: pip install -e .\n      - run: pytest -q\n",),
    "go": ("package {word}\n\nimport \"fmt\"\n\nfunc Handle(id int) error {{\n\tif id < 0 {{\n\t\treturn fmt.Errorf(\"bad id %d\", id)\n\t}}\n\treturn nil\n}}\n",),
}  # fmt: skip

_SQL: Final = (
    "SELECT * FROM {word} LIMIT {n}", "SELECT COUNT(*) FROM {word} WHERE created_at > '2024-01-01'", "INSERT INTO {word} (name, email) VALUES ('a', 'b')",
    "UPDATE {word} SET name = 'x' WHERE id = {n}", "DELETE FROM {word} WHERE id = {n}", "CREATE TABLE {word} (id INTEGER PRIMARY KEY, name TEXT)",
    "ALTER TABLE {word} ADD COLUMN {word2} TEXT", "CREATE INDEX idx_{word} ON {word2} (id)", "EXPLAIN SELECT a.id FROM {word} a JOIN {word2} b ON a.id = b.{word}_id",
    "DROP TABLE IF EXISTS tmp_{word}", "DELETE FROM sessions WHERE expires_at < now()", "BEGIN; UPDATE {word} SET n = n + 1 WHERE id = {n}; COMMIT;",
)  # fmt: skip
_NETWORK: Final = (
    "GET https://api.example.com/v1/{word}", "GET https://docs.example.com/{word}/{word2}.html", "GET http://localhost:{port}/health",
    "POST http://127.0.0.1:{port}/v1/messages body={{\"model\": \"m\", \"messages\": []}}", "POST https://llm.example.com/v1/chat/completions body={{\"stream\": true}}",
    "GET https://packages.example.org/simple/{package}/", "GET https://packages.example.org/{package}/-/{package}-1.{n}.0.tgz", "HEAD https://files.example.com/{word}.zip",
    "POST https://api.example.com/v1/{word} body={{\"name\": \"{word2}\"}}", "POST https://code.example/team/{word}.git/git-upload-pack", "PUT http://localhost:{port}/{word}/{n}",
    "POST https://api.example.com/graphql body={{\"query\": \"{{ viewer {{ login }} }}\"}}", "GET https://code.example/team/{word}.git/info/refs?service=git-upload-pack",
)  # fmt: skip
_FILE: Final = (
    "read {file}", "read {folder}/{file}", "write {file}", "create {folder}/{file}", "edit {file}", "delete {dir}/{word}.tmp", "append logs/{word}.log", "read /tmp/{word}.txt",
    "read /etc/os-release", "read /etc/hosts", "read /usr/lib/python3/{word}.py", "write /tmp/{word}/{file}", "create {dir}/__init__.py", "read ~/.gitconfig", "read .env.example",
    "delete build/{word}.o", "read /proc/self/status", "read /etc/resolv.conf", "write .git/index", "create node_modules/{package}/index.js", "read /etc/ssl/certs/ca-certificates.crt",
)  # fmt: skip


_SUPERVISED: Final = (
    "bash -c '{call}'", "/bin/bash -lc '{call}'", "timeout {n} bash -c '{call}'", "time /bin/sh -c '{call}'", "nohup /bin/sh -c '{call}' &",
    "nohup sh -c '{call}' > /tmp/run.log 2>&1 &", "env CI=1 /bin/sh -c '{call}'", "setsid bash -c '{call}'", "nice -n {n} sh -c '{call}'",
    "bwrap --ro-bind / / --dev /dev --proc /proc --bind . . --unshare-net --unshare-pid -- /bin/bash -c '{call}'",
    "setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '{call}'", "stdbuf -oL bash -c '{call}'", "script -qec '{call}' /dev/null",
)  # fmt: skip
_RELAYS: Final = (
    "socat TCP4-LISTEN:{port},fork,reuseaddr UNIX-CONNECT:/tmp/{name}.sock &",
    (
        "{{ socat TCP6-LISTEN:{port},ipv6only=0,fork,reuseaddr,backlog=128 UNIX-CONNECT:/tmp/{name}.sock || exec socat TCP4-LISTEN:{port},fork,reuseaddr "
        "UNIX-CONNECT:/tmp/{name}.sock; }} >/dev/null 2>&1 &"
    ),
    "( exec socat TCP-LISTEN:{port},fork,bind=127.0.0.1 UNIX-CONNECT:/run/{name}.sock ) 2>/dev/null &",
)
_WAITS: Final = (
    "sleep 0.1",
    "for i in 1 2 3 4 5; do [ -r /proc/net/tcp ] && break; sleep 0.1; done",
    (
        "up=0\nwhile [ -r /proc/net/sockstat ] && kill -0 $! 2>/dev/null; do\n  while read -r kind rest; do case $kind in TCP:) up=1 ;; esac; done < /proc/net/sockstat\n"
        "  [ $up -lt 1 ] || break\n  read -r now rest < /proc/uptime || break\ndone\nunset up now kind rest"
    ),
)


def generate(count: int, seed: int) -> list[Row]:
    """`count` harmless actions, the same for the same seed; about two thirds are command lines."""
    rng = random.Random(seed)
    makers = (
        (_command, 9),
        (_wrapped, 3),
        (_harness, 2),
        (_here_document, 3),
        (_chain, 2),
        (_python, 2),
        (_sql, 1),
        (_network, 1),
        (_file, 2),
    )
    chosen = rng.choices([maker for maker, _ in makers], [weight for _, weight in makers], k=count)
    rows = []
    for maker in chosen:
        kind, text = maker(rng)
        rows.append(Row(source="everyday", kind=kind, text=text, harmful=False, label="none"))
    return rows


def _fill(rng: random.Random, template: str) -> str:
    word, folder, extension = rng.choice(_WORDS), rng.choice(_WORDS), rng.choice(_EXTENSIONS)
    start = rng.randint(1, 400)
    return template.format(
        word=word,
        word2=rng.choice(_WORDS),
        name=rng.choice(_NAMES),
        name2=rng.choice(_NAMES),
        dir=folder,
        dir2=rng.choice(_WORDS),
        folder=rng.choice(_FOLDERS),
        ext=extension,
        file=f"{folder}/{word}.{extension}",
        file2=f"{rng.choice(_WORDS)}/{word}_{rng.choice(_WORDS)}.{extension}",
        branch=rng.choice(_BRANCHES),
        package=rng.choice(_PACKAGES),
        message=rng.choice(_MESSAGES),
        n=start,
        m=start + rng.randint(5, 200),
        port=rng.choice((3000, 5000, 5173, 8000, 8080, 9000)),
        pid=rng.randint(300, 99999),
    )


def _command(rng: random.Random) -> tuple[str, str]:
    text = _fill(rng, rng.choice(_COMMANDS))
    if rng.random() < 0.2:
        text = rng.choice(("/usr/bin/", "/bin/", "/usr/local/bin/")) + text
    if rng.random() < 0.15:
        text += rng.choice(
            (" 2>&1", " 2>/dev/null", " | head -50", " | tail -20", " 2>&1 | tail -n 40", " || true", " > /tmp/out.txt")
        )
    return "shell", text


def _wrapped(rng: random.Random) -> tuple[str, str]:
    inner = _fill(rng, rng.choice(_COMMANDS))
    shell = rng.choice(
        ("bash -lc", "bash -c", "/bin/sh -c", "sh -c", "/bin/bash -c", "zsh -lc", "/usr/bin/env bash -c")
    )
    inner = f"cd {rng.choice(_FOLDERS)} && {inner}" if rng.random() < 0.6 else inner
    return "shell", f"{shell} {inner}" if rng.random() < 0.4 or "'" in inner else f"{shell} '{inner}'"


def _harness(rng: random.Random) -> tuple[str, str]:
    """What agents put around a command: snapshots of the shell that are sourced, the folder noted for the next call, relays of a sandbox's
    own proxy on sockets, waits for them, process supervisors. Only what is inside can be harmful.
    """
    inner = _fill(rng, rng.choice(_COMMANDS)).replace("'", "'\\''")
    if rng.random() < 0.3:
        inner = f"cd {rng.choice(_FOLDERS)} && {inner}"
    number = rng.randint(10**4, 10**12)
    quoted = f"eval '{inner}' < /dev/null && pwd -P >| /tmp/agent-{number:x}-cwd"
    source = f"source {rng.choice(_FOLDERS)}/.agent/shell-snapshots/snapshot-bash-{number}.sh 2>/dev/null || true"
    call = rng.choice((f"{source} && {quoted}", f"{source} && shopt -u extglob 2>/dev/null || true && {quoted}", inner))
    if rng.random() < 0.5:
        return "shell", rng.choice(_SUPERVISED).format(call=call, n=rng.randint(2, 600))
    ports = rng.sample((3128, 1080, 8118, 9050, 8888), k=rng.randint(1, 2))
    relays = [rng.choice(_RELAYS).format(port=port, name=f"proxy-{number:x}") for port in ports]
    wait = rng.choice(_WAITS)
    return "shell", "\n".join(
        [*relays, "trap 'kill %1 %2 2>/dev/null; exit $?' EXIT", wait, f"/proc/self/fd/3 /bin/bash -c '{call}'"]
    )


def _chain(rng: random.Random) -> tuple[str, str]:
    parts = [_fill(rng, rng.choice(_COMMANDS)) for _ in range(rng.randint(2, 7))]
    return "shell", rng.choice((" && ", "\n", "; ", " && ")).join(parts)


def _here_document(rng: random.Random) -> tuple[str, str]:
    extension = rng.choice(tuple(_BODIES))
    body = "\n".join(_fill(rng, rng.choice(_BODIES[extension])) for _ in range(rng.randint(1, 4)))
    opening = rng.choice(
        (
            "cat > {target} << 'EOF'",
            "cat <<EOF > {target}",
            "tee {target} <<'EOF'",
            "cat > {target} <<'PY'",
            "python3 - <<'EOF'",
        )
    )
    mark = "PY" if opening.endswith("'PY'") else "EOF"
    target = f"{rng.choice(_WORDS)}/{rng.choice(_WORDS)}.{extension}"
    return "shell", f"{opening.format(target=target)}\n{body}\n{mark}"


def _python(rng: random.Random) -> tuple[str, str]:
    return "python", "\n".join(_fill(rng, rng.choice(_BODIES["py"])) for _ in range(rng.randint(1, 3)))


def _sql(rng: random.Random) -> tuple[str, str]:
    return "sql", _fill(rng, rng.choice(_SQL))


def _network(rng: random.Random) -> tuple[str, str]:
    return "network", _fill(rng, rng.choice(_NETWORK))


def _file(rng: random.Random) -> tuple[str, str]:
    text = _fill(rng, rng.choice(_FILE))
    if text.startswith(("write", "create", "append", "edit")) and rng.random() < 0.5:
        text += "\n" + _fill(rng, rng.choice(_BODIES[rng.choice(tuple(_BODIES))]))
    return "file", text
