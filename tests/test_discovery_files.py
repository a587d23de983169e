"""What `invoke patterns` finds in shell scripts and in every other kind of file, and which files it reads."""

from pathlib import Path

import pytest

from checks.nanoclaw.discovery.discover import discover
from tests.discovery import found, write


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("docker info >/dev/null 2>&1 || exit 1", ["docker info"]),
        ('R="${R:-docker}"\n${R} build -t "$I:$T" .', ["docker build -t"]),
        ('A=()\nA+=(--build-arg X=1)\ndocker build "${A[@]}" -t x .', ["docker build --build-arg -t"]),
        ("V=$(docker --version 2>/dev/null | head -1)", ["docker --version"]),
        ('with() { timeout 5 "$@"; }\nif with docker image inspect "$I"; then :; fi', ["docker image inspect"]),
        (
            "sudo -n docker ps\ntimeout -k 2 5 docker ps\nsudo $X --user me docker ps",
            ["docker ps", "docker ps", "? …+X… --user me"],
        ),
        ("docker ps -q | xargs -n 1 docker rm -f", ["docker ps -q", "docker rm -f"]),
        ("sh -ce 'docker ps -a'; eval \"docker info\"", ["docker info", "docker ps -a"]),
        ('bash -lc "cd x && docker run --gpus=all $X y"', ["docker run --gpus --…X"]),
        ('docker run "$@"', ["docker run --…@"]),
        ('docker "$@"', ["docker --…@"]),
        ("docker run --rm $ARGS IMAGE", ["docker run --rm --…ARGS"]),
        ('docker run "${ARGS[@]}" IMAGE', ["docker run --…ARGS"]),
        ("docker stop $NAMES", ["docker stop --…NAMES"]),
        ("docker rm $(docker ps -q)", ["docker ps -q", "docker rm"]),
        ('docker stop "$NAME"; docker stop -t $SECONDS x', ["docker stop", "docker stop -t"]),
        ('O="-a"\n[ x ] && O="$O -q"\ndocker ps $O', ["docker ps -a", "docker ps -a -q"]),
        ("O=-a\n[ x ] && O=\ndocker ps $O", ["docker ps -a"]),
        ("D=$(command -v docker)\n$D ps -a 2>&1 --no-trunc", ["docker ps --no-trunc -a"]),
        ("command -v docker; echo docker run; # docker stop", []),
        ('"$TOOL" ps', ["? …TOOL… ps"]),
        ('eval "$(tool env)"', ["? …toolenv…"]),
        ("curl x | sh", ["? …sh.stdin…"]),
    ],
)
def test_commands_are_found_in_shell(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "a.sh", source) == forms


ARRAY = "<array><string>docker</string> <string>ps</string>\n<string>-a</string></array>"
FILES = {
    "src/a.ts": "execSync('docker ps -a')",
    "src/a.mts": "execSync('docker ps -a')",
    "src/a.tsx": "const x = <p>hello</p>; execSync('docker ps -a')",
    "src/a.js": "execSync('docker ps -a')",
    "src/a.mjs": "execSync('docker ps -a')",
    "src/a.cjs": "execSync('docker ps -a')",
    "src/nul.ts": "const key = `a\0b`; execSync('docker ps -a')",
    "bin/tool": "#!/usr/bin/env bash\ndocker ps -a\n",
    "bin/python": "#!/usr/bin/env -S python3 -u\nimport os\nos.system('docker ps -a')\n",
    "bin/node": "#!/usr/bin/node\nrequire('child_process').execSync('docker ps -a')\n",
    "Makefile": "DOCKER ?= docker\n\nall:\n\t@$(DOCKER) ps -a\n",
    "package.json": '{"name": "x", "scripts": {"list": "cd x && docker ps -a"}}',
    "Dockerfile": "FROM x\nRUN echo a && \\\n    docker ps -a\n",
    "units/a.service": "[Service]\nExecStart=-/usr/bin/docker ps -a\n",
    "a.plist": f"<key>Label</key><string>a</string><key>ProgramArguments</key>{ARRAY}",
    "src/unit.ts": "const unit = `[Service]\nExecStart=docker ps -a\n`",
    ".github/workflows/a.yml": "jobs:\n  a:\n    steps:\n      - run: |\n          cd x\n          docker ps -a\n",
    ".claude/skills/a/SKILL.md": "Run:\n\n1. this\n   ```bash\n   docker ps -a\n   ```\n",
    ".claude/skills/b/SKILL.md": "> ```bash\n> docker ps -a\n> ```\n",
    ".claude/skills/c/SKILL.md": "```nc:run effect:build\ndocker ps -a\n```\n",
    ".claude/skills/d/SKILL.md": "Then run `docker ps -a` again.\n",
    ".claude/skills/f/SKILL.md": "Then run `sudo -u me docker ps -a` again.\n",
    ".claude/skills/g/SKILL.md": "```fish\ndocker ps -a\n```\n",
    ".claude/skills/h/SKILL.md": "```shell-session\n$ cd x\n$ docker ps -a\nNAMES\n```\n",
    ".claude/skills/e/SKILL.md": "```ts\nexecSync('docker ps -a')\n```\n",
}


@pytest.mark.parametrize("name", FILES)
def test_commands_are_found_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name, FILES[name]) == ["docker ps -a"]


@pytest.mark.parametrize(
    "source",
    [
        "trap 'docker swarm leave --force' EXIT", "alias d=docker", "ssh host docker ps", "flock /tmp/l docker ps",
        "watch docker ps", "find . -exec docker rm {} \\;", 'script -c "docker ps" /dev/null',
        "runuser -u bob -- docker ps", "coproc docker ps",
        "sudo flock /tmp/l /usr/bin/docker ps", "parallel 'podman rm'",
    ],
)  # fmt: skip
def test_a_program_that_may_start_what_its_arguments_name_is_reported(tmp_path: Path, source: str) -> None:
    (one,) = found(tmp_path, "a.sh", source)
    assert one.startswith("? ")
    (one,) = found(tmp_path, "src/a.ts", f"execSync(`{source}`)".replace("\\", ""))
    assert one.startswith("? ")


@pytest.mark.parametrize("source", ["which docker", "systemctl start docker", "echo docker ps", "ssh host ls"])
def test_a_program_that_starts_nothing_is_not_reported(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "a.sh", source) == []


def test_a_test_that_is_imported_or_run_is_reported(tmp_path: Path) -> None:
    call = "execSync('docker swarm init')"
    write(tmp_path, **{
        "src/test/a.ts": call, "src/b.test.ts": call, "src/test/none.ts": call, "tests/x.sh": "docker ps",
        "src/index.ts": "import './test/a.js'\n\nconst b = await import('./b.test.js')",
        "package.json": '{"scripts": {"test": "vitest run src/b.test.ts", "e2e": "bash tests/x.sh"}}',
    })  # fmt: skip
    assert [(each.file, each.line, each.unread) for each in discover(tmp_path)] == [
        ("package.json", 1, "tests/x.sh, a test, which is not read"),
        ("src/index.ts", 1, "src/test/a.js, a test, which is not read"),
        ("src/index.ts", 3, "src/b.test.js, a test, which is not read"),
    ]


def test_a_file_with_the_name_of_a_directory_of_tests_is_read(tmp_path: Path) -> None:
    assert found(tmp_path, "scripts/test", "#!/bin/sh\ndocker ps -a") == ["docker ps -a"]


@pytest.mark.parametrize(
    ("name", "target", "unread"),
    [
        ("src/a.ts", "../run.txt", True),
        ("src/a.ts", "../../elsewhere.ts", True),
        ("src/lib", "../docs", True),
        ("scripts/run", "../../elsewhere.ts", True),
        ("scripts/run", "../tests/run", True),
        ("scripts/run", "../docs/a.txt", False),
        ("scripts/run", "../missing", False),
        ("AGENTS.md", "run.txt", False),
        ("node_modules", "docs", False),
        ("groups/skill", "/app/skills/missing", False),
    ],
)
def test_a_link_in_the_place_of_a_source_is_reported(tmp_path: Path, name: str, target: str, unread: bool) -> None:
    write(tmp_path, **{"elsewhere.ts": "", "x/run.txt": "execSync('docker ps')", "x/docs/a.txt": "", "x/tests/run": ""})
    link = tmp_path / "x" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    found_ = [(each.file, each.unread) for each in discover(tmp_path / "x")]
    assert found_ == [(name, f"a link to {target}")] * unread


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_source_is_decoded_by_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, **{"src/a.ts": ""})
    (tmp_path / "src/a.ts").write_bytes("execSync('docker ps -a')".encode(encoding))
    assert [each.text for each in discover(tmp_path)] == ["docker ps -a"]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (".claude/skills/a/SKILL.md", "one\n\n```bash\n# two\ndocker \\\n  ps -a\n```\n", 5),
        (".github/workflows/a.yml", "jobs:\n  a:\n    steps:\n      - run: docker ps -a\n", 4),
        ("package.json", '{\n "docker": 1,\n "scripts": {\n  "a": "x",\n  "docker": "docker ps -a"\n }\n}', 5),
        ("Makefile", "a:\n\tx\n\tdocker ps -a\n", 3),
        ("Dockerfile", "FROM x\nRUN a && \\\n  docker ps -a\n", 3),
    ],
)
def test_a_command_has_the_line_of_the_file_that_it_is_in(tmp_path: Path, name: str, text: str, line: int) -> None:
    write(tmp_path, **{name: text})
    assert [(each.line, each.text) for each in discover(tmp_path)] == [(line, "docker ps -a")]


@pytest.mark.parametrize(
    ("name", "text", "unread"),
    [
        ("tools/a.rb", "system('docker ps')", [".rb with docker"]),
        ("tools/a.json", '{"bin": "docker"}', [".json with docker"]),
        ("tools/a", "#!/usr/bin/perl\nsystem('podman ps')", ["a file of no known kind with podman"]),
        ("tools/a.rb", "system('ls')", []),
        ("README.md", "Install docker.", []),
        ("compose.yml", "services: {}", ["a compose file, whose services compose starts"]),
        ("package.json", "{", ["a package.json that is not valid"]),
        (".github/workflows/a.yml", "jobs:\n  a:\n    container: x\n", ["a workflow's “container”"]),
        (".github/workflows/a.yml", "steps:\n  - uses: docker/build-push-action@v6\n", ["a workflow's “uses”"]),
        (".github/workflows/a.yml", "steps:\n  - uses: actions/checkout@v4\n", []),
        (".claude/skills/a/SKILL.md", "- changed `docker info` → `docker ps -a`\n", []),
        (".claude/skills/a/SKILL.md", "```ruby\nsystem('docker ps')\n```\n", ["a block of “ruby” with docker"]),
        (".claude/skills/a/SKILL.md", "```json\n{'a': 'docker'}\n```\nRun `sudo systemctl start docker`.", []),
        (".claude/skills/a/SKILL.md", "```\nthe docker daemon\n└── $TOOL\n```\n", []),
    ],
)
def test_a_file_that_is_not_followed_is_named(tmp_path: Path, name: str, text: str, unread: list[str]) -> None:
    write(tmp_path, **{name: text})
    assert [each.unread for each in discover(tmp_path) if not each.form] == unread


def test_tests_and_installed_packages_are_left_out(tmp_path: Path) -> None:
    call = "execSync('docker info')"
    assert not found(tmp_path, "src/a.test.ts", call)
    assert not found(tmp_path, "node_modules/x/index.ts", call)
