"""What `invoke patterns` finds in sources, and what it says of what it can't follow."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from checks.core import strict_toml
from checks.core.errors import Exit, WrongUsage
from checks.core.paths import FIXTURES
from checks.nanoclaw.discovery import discover as discovering
from checks.nanoclaw.discovery import patterns as command
from checks.nanoclaw.discovery.catalogue import Catalogue, catalogue, judge
from checks.nanoclaw.discovery.discover import Found, discover
from checks.nanoclaw.discovery.facts import FACTS, compare
from checks.nanoclaw.discovery.form import form_of


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(directory: Path, name: str, text: str, **others: str) -> list[str]:
    """What is found in the file of a project; a question mark stands before what could not be followed."""
    write(directory, **{name: text}, **others)
    return [each.text if each.form else f"? {each.text}" for each in discover(directory) if each.file == name]


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("execSync('docker info', { timeout: 1 })", ["docker info"]),
        ("const B = 'docker'; execSync(`${B} stop -t 1 ${name}`)", ["docker stop -t"]),
        ("exec(stop(n)); function stop(n: string) { return `docker stop ${n}`; }", ["docker stop"]),
        ("execSync('systemd-run --user --pipe --wait docker info')", ["docker info"]),
        ("execSync(`echo '{}' | docker run -i --rm IMAGE docker ps`)", ["docker run --rm -i"]),
        (
            "const c = x ? 'container build' : 'docker build'; execSync(`${c} -t ${i} .`)",
            ["container build -t", "docker build -t"],
        ),
        ("const c = 'docker build'; f(c.split(' ')[0], [...c.split(' ').slice(1), '-t', i])", ["docker build -t"]),
        ("spawn('docker', ['rm', '-f', name])", ["docker rm -f"]),
        ("spawn('podman', ['rm', '--force', name])", ["podman rm -f"]),
        ("execSync('docker-compose up -d')", ["docker-compose up -d"]),
        ("execSync('docker compose -f x.yml up -d --wait')", ["docker compose up --wait -d -f"]),
        ("execSync('docker --host X ps -aq')", ["docker ps --host -a -q"]),
        ("spawnSync('sg', ['docker', '-c', 'x']); spawnSync('sudo', ['usermod', '-aG', 'docker', me])", []),
        ("execSync('sudo systemctl start docker'); console.log('Run: docker info')", []),
        ("execSync('container writes to the disk')", []),
        (
            "exec(`docker ps --filter name=${x} --format '{{.Names}}'`)",
            ["docker ps --filter name= --format {{.Names}}"],
        ),
        ("execSync('docker ps --filter status=dead')", ["docker ps --filter status=dead"]),
    ],
)
def test_commands_are_found_in_typescript(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("spawn('docker run --rm --gpus=all IMAGE', { shell: true })", ["docker run --gpus --rm"]),
        ("spawn('docker run -i', ['--gpus=all', 'IMAGE'], { shell: '/bin/bash' })", ["docker run --gpus -i"]),
        ("const o = { shell: true }; spawnSync('cd x && docker ps -a', o)", ["docker ps -a"]),
        ("spawn('sh', ['-c', 'docker ps -a'])", ["docker ps -a"]),
        ("execFile('/bin/bash', ['-lc', `cd x; docker rm -f ${name}`])", ["docker rm -f"]),
        ("run('sudo', ['-u', 'me', 'bash', '-e', '-c', 'docker info'])", ["docker info"]),
        ("spawn('sg', ['docker', '-c', 'docker info'])", ["docker info"]),
        ("spawn('sh', ['docker.sh']); spawn('sh', ['-c', 'echo docker info'])", []),
        ("execSync('curl -fsSL get.example.org | sudo -E bash -')", ["? …bash.stdin…"]),
    ],
)
def test_a_command_line_may_stand_in_another_one(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


@pytest.mark.parametrize(
    "source",
    [
        "const run = promisify(exec); run('docker ps -a')",
        "import * as util from 'node:util'; const run = util.promisify(execFile); run('docker', ['ps', '-a'])",
        "const run = execSync; run('docker ps -a')",
        "import { execSync as run } from 'node:child_process'; run('docker ps -a')",
        "import { exec as run } from 'child_process'; const again = promisify(run); again('docker ps -a')",
        "import * as cp from 'child_process'; cp.exec('docker ps -a')",
        "import * as cp from 'child_process'; const run = cp.execSync; run('docker ps -a')",
        "child_process.execSync('docker ps -a')",
        "const { execSync: run } = require('child_process'); run('docker ps -a')",
        "const { execSync: run } = await import('node:child_process'); run('docker ps -a')",
        "const run = require('child_process').execSync.bind(null); run('docker ps -a')",
        "promisify(exec)('docker ps -a')",
        "deps.spawn('docker', ['ps', '-a'])",
        "const run = deps.run ?? ((c: string) => execSync(c)); run('docker ps -a')",
        "execFile('docker', ['ps', '-a'], done)",
        "execFileSync('/usr/bin/docker', ['ps', '-a'])",
        "fork('docker', ['ps', '-a'])",
        "execa('docker', ['ps', '-a'])",
        "execaSync('docker ps -a', { shell: true })",
        "execaCommand('docker ps -a')",
        "Bun.spawn(['docker', 'ps', '-a'])",
        "Bun.spawnSync(['sh', '-c', 'docker ps -a'], { cwd })",
        "Bun.spawn({ cmd: ['docker', 'ps', '-a'], cwd })",
        "const all = ['docker', 'ps', '-a']; Bun.spawn(all)",
        "import { spawn as start } from 'bun'; start(['docker', 'ps', '-a'])",
        "import start from 'cross-spawn'; start.sync('docker', ['ps', '-a'])",
        "await $`docker ps -a`",
        "Bun.$`docker ps ${['-a']}`",
        "import { $ as sh } from 'zx'; const quiet = sh({ verbose: false }); quiet`docker ps -a`",
        "import { execa as run } from 'execa'; run`docker ps -a`",
    ],
)
def test_what_starts_programs_is_known_under_any_name(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", source) == ["docker ps -a"]


@pytest.mark.parametrize(
    "source", ["html`docker info`; print`docker ps`", "/docker ps/.exec(text)", "db.exec('docker ps')"]
)
def test_other_functions_start_nothing(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", source) == []


def test_a_name_may_be_given_in_another_file(tmp_path: Path) -> None:
    others = {
        "src/index.ts": "export { run as go } from './run.js'",
        "src/run.ts": "export const run = promisify(exec)",
        "src/other.ts": "export const run = console.log",
    }
    source = "import { go } from './index.js'; go('docker ps -a')"
    assert found(tmp_path, "src/a.ts", source, **others) == ["docker ps -a"]


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("execFileSync('docker', ['run', '--rm', ...args, 'IMAGE'])", ["docker run --rm --…args"]),
        ("execFileSync('docker', ['run', '--rm', flag, 'IMAGE'])", ["docker run --rm --…flag"]),
        ("execFileSync('docker', ['ps', flag])", ["docker ps --…flag"]),
        ("execFileSync('docker', ['run', '-e', ...args, 'IMAGE'])", ["docker run --…args -e"]),
        ("execFileSync('docker', args)", ["docker --…args"]),
        ("Bun.spawn(['docker', ...args])", ["docker --…args"]),
        ("execSync(`docker run ${flags} IMAGE`)", ["docker run --…flags"]),
        ("execSync(`docker run ${args.join(' ')} IMAGE`)", ["docker run --…args"]),
        ("execSync('docker ' + args.join(' '))", ["docker --…args"]),
        ("execSync(`docker run ${extra || ''} IMAGE`)", ["docker run --…extra"]),
        ("$`docker run --rm ${flags} IMAGE`", ["docker run --rm --…flags"]),
        ("const a = ['run']; library.add(a); a.push('IMAGE'); spawn('docker', a)", ["docker run --…library.add"]),
        ("const a = ['ps']; console.log(a); log.info('x', a); spawn('docker', a)", ["docker ps"]),
        ("spawn('docker', ['run', ...list.map((x) => x), 'IMAGE'])", ["docker run --…list.map"]),
        ("spawn('docker', args.slice(1))", ["docker --…args.slice"]),
        ("spawn('docker', ['run', '--name', name, '-v', `${x}:/y`, 'IMAGE', ...args])", ["docker run --name -v"]),
        ("export function go(a) { spawn('docker', a) }", ["docker --…a"]),
        ("spawn(config.program, ['ps'])", ["? …config.program… ps"]),
        ("export function go(program) { spawn(program, ['ps']) }", ["? …program… ps"]),
        ("execSync(command)", ["? …command…"]),
        ("execSync(`${tool} ps`)", ["? …tool… ps"]),
        ("spawn('sh', ['-c', command])", ["? …command…"]),
        ("function go(program) { spawn(program, ['ps']) } go('ls'); go('git')", []),
    ],
)
def test_what_cannot_be_followed_is_named(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        # what a variable becomes, wherever that is written
        ("let c = 'docker ps'; if (x) c += ' -a'; exec(c)", ["docker ps", "docker ps -a"]),
        ("let a = ['ps']; a = [...a, '-a']; spawn('docker', a)", ["docker ps", "docker ps -a"]),
        ("const a = ['run']; a.push('-i'); a.push('IMAGE'); f(() => spawn('docker', a))", ["docker run -i"]),
        ("const a = ['run']; user(a); spawn('docker', a); function user(x) { x.push('-u', u) }", ["docker run -u"]),
        ("const a = ['ps']; const b = a; b.push('-a'); spawn('docker', a)", ["docker ps -a"]),
        ("const a = []; a[0] = 'ps'; a[1] = '-a'; spawn('docker', a)", ["docker ps -a"]),
        (
            "{ const a = ['ps']; spawn('docker', a) } { const a = ['info']; spawn('docker', a) }",
            ["docker info", "docker ps"],
        ),
        # arrays that are made of others
        ("spawn('docker', ['run', ...(x ? ['-i'] : []), ...(y && ['-u', u]), 'IMAGE'])", ["docker run -i -u"]),
        ("spawn('docker', ['run', ...all.flatMap((m) => ['-v', `${m.a}:${m.b}`]), 'IMAGE'])", ["docker run -v"]),
        ("spawn('docker', ['run', ...all.map((k) => `--env=${k}`), 'IMAGE'])", ["docker run -e"]),
        ("execSync(['docker', 'ps', '-a'].join(' '))", ["docker ps -a"]),
        ("const [first, ...rest] = 'docker ps -a'.split(' '); spawn(first, rest)", ["docker ps -a"]),
        # one of several
        ("spawn('docker', x ? ['ps', '-a'] : ['rm', '-f', n])", ["docker ps -a", "docker rm -f"]),
        ("spawn('docker', [x ? 'stop' : 'pause', n])", ["docker pause", "docker stop"]),
        ("for (const o of ['-a', '-q']) spawn('docker', ['ps', o])", ["docker ps -a", "docker ps -q"]),
        ("const o = { bin: 'docker', args: ['ps'] }; o.args.push('-a'); spawn(o.bin, o.args)", ["docker ps -a"]),
        ("class A { args = ['ps']; go() { this.args.push('-a'); spawn('docker', this.args) } }", ["docker ps -a"]),
    ],
)
def test_arguments_are_followed_to_where_they_come_from(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


@pytest.mark.parametrize(
    "source",
    [
        "class A { bin = 'docker'; go() { spawn(this.bin, ['ps', '-a']) } }",
        "class A { #bin; constructor() { this.#bin = 'docker' } go() { spawn(this.#bin, ['ps', '-a']) } }",
        "class A { get bin() { return 'docker' } go() { spawn(this.bin, ['ps', '-a']) } }",
        "class A { constructor(private bin: string) {} go() { spawn(this.bin, ['ps', '-a']) } } new A('docker')",
        "class A { bin; constructor(bin = 'docker') { this.bin = bin } go() { spawn(this.bin, ['ps', '-a']) } }",
        "enum Runtime { Default = 'docker' }; spawn(Runtime.Default, ['ps', '-a'])",
        "const PROGRAMS = { linux: 'docker', darwin: 'docker' }; spawn(PROGRAMS[os.platform()], ['ps', '-a'])",
        "const a = { runtime: process.env.R ?? 'docker' }; go(a); function go(x) { spawn(x.runtime, ['ps', '-a']) }",
        "function go({ bin, args }) { spawn(bin, args) } go({ bin: 'docker', args: ['ps', '-a'] })",
        "function go(bin = 'docker') { spawn(bin, ['ps', '-a']) }",
        "const bin = await detect(); async function detect() { return x ? 'docker' : null } spawn(bin, ['ps', '-a'])",
    ],
)
def test_the_runtime_is_followed_to_where_it_is_named(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", source) == ["docker ps -a"]


TWO = "class A {{ run(a) {{ spawn('{}', a) }} }} class B {{ run(a) {{ spawn('{}', a) }} }}"


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("function go(c: string) { execSync(c) } go('docker ps -a'); go('ls')", ["docker ps -a"]),
        (
            "const go = (...a: string[]) => execFile('docker', a); go('ps', '-a'); go('info')",
            ["docker info", "docker ps -a"],
        ),
        (
            "function go(a) { a.push('-q'); spawn('docker', a) } go(['ps']); go(['ps', '-a'])",
            ["docker ps -a -q", "docker ps -q"],
        ),
        ("class A { go(a) { spawn('docker', a) } list() { this.go(['ps']) } }", ["docker ps"]),
        (
            "const a = (c) => exec(c); const b = (c) => a(`docker ${c}`); b('ps -a'); b('info')",
            ["docker info", "docker ps -a"],
        ),
        ("function go(a) { spawn('docker', a) } go(['ps']); go(elsewhere())", ["docker --…elsewhere", "docker ps"]),
        # methods of one name
        (f"{TWO.format('docker', 'git')} new A().run(['ps']); const b = new B(); b.run(['info'])", ["docker ps"]),
        (
            f"{TWO.format('docker', 'podman')} const a = new A(); a.run(['ps']); const b = new B(); b.run(['info'])",
            ["docker ps", "podman info"],
        ),
    ],
)
def test_a_function_of_the_project_is_known_by_what_its_callers_hand_over(
    tmp_path: Path, source: str, forms: list[str]
) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


CLI = """
export interface Cli { run(args: string[]): string }
export function realCli(bin: string): Cli {
  return { run(args) { return execFileSync(bin, args).toString() } };
}
"""
DRIVER = """
import { realCli, type Cli } from './cli.js';
class Driver {
  readonly #cli: Cli;
  constructor(opts: { cli?: Cli }) { this.#cli = opts.cli ?? realCli('docker'); }
  stop(name: string) { this.#cli.run(['stop', '-t', '1', name]); db.prepare('DELETE').run([name]); db.run(['ps']); }
}
class Handle { constructor(private readonly cli: Cli) {} status() { return this.cli.run(['inspect', 'x']) } }
export function ready(cli: Cli = realCli('docker')) { cli.run(['info']) }
"""


def test_a_runtime_that_is_injected_is_followed_and_a_database_is_not_one(tmp_path: Path) -> None:
    assert found(tmp_path, "src/driver.ts", DRIVER, **{"src/cli.ts": CLI}) == [
        "docker stop -t",
        "docker inspect",
        "docker info",
    ]


def test_a_runtime_that_travels_in_an_object_is_followed(tmp_path: Path) -> None:
    scan = (
        "export function scan(deps: Deps) { const runtime = process.env.R ?? 'docker'; return { containers: runtime } }"
    )
    plan = "export const plan = (inv: Inventory) => [{ kind: 'rmi', runtime: inv.containers }]"
    flow = "const runCommand: RunCommand = (cmd, args) => spawnSync(cmd, args)"
    source = (
        "export function remove(action: Action, deps: Deps) { const { runCommand } = deps; "
        "runCommand(action.runtime, ['rmi', x]); runCommand('pkill', ['-f', x]) }"
    )
    others = {"setup/scan.ts": scan, "setup/plan.ts": plan, "setup/flow.ts": flow}
    assert found(tmp_path, "setup/remove.ts", source, **others) == ["docker rmi"]


def test_a_command_is_where_it_is_written_not_where_it_is_run(tmp_path: Path) -> None:
    write(tmp_path, **{
        "lib/docker.ts": "export function docker(...a: string[]) {\n  return execFile('docker', a)\n}\n",
        "src/a.ts": "import { docker as d } from '../lib/docker.js';\n\nd('stop', '--gpus=all', name)\n",
    })  # fmt: skip
    (one,) = discover(tmp_path)
    assert (one.file, one.line, one.text) == ("src/a.ts", 3, "docker stop --gpus")


def test_a_source_that_leads_round_in_circles_comes_to_an_end(tmp_path: Path) -> None:
    source = (
        "function a(x) { return b([...x, '-a']) } function b(x) { return a([...x, '-b']) } spawn('docker', a(['ps']))"
    )
    assert [each.partition("--…")[1] for each in found(tmp_path, "src/a.ts", source)] == ["--…"]


def test_arguments_that_helpers_put_together_are_followed_into_other_files(tmp_path: Path) -> None:
    source = """
        function build(mounts: Mount[]): string[] {
          const args: string[] = ['run', '--rm'];
          if (uid !== 0) args.push('--user', `${uid}:${gid}`);
          for (const m of mounts) args.push(...readonlyArgs(m.from, m.to));
          return args;
        }
        const args = build(mounts);
        const child = spawn(RUNTIME, args, { stdio: 'pipe' });
    """
    helpers = """
        export const RUNTIME = process.env.RUNTIME || 'docker';
        export function readonlyArgs(from: string, to: string) { return ['-v', `${from}:${to}:ro`]; }
    """
    assert found(tmp_path, "src/a.ts", source, **{"src/b.ts": helpers}) == ["docker run --rm --user -v :ro"]


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


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(['docker', 'ps', '-a'], check=True)",
        "from subprocess import Popen as start\nstart('docker ps -a', shell=True)",
        "import os\nos.system('docker ps -a')",
        "import subprocess as sp\ndef go(it):\n    a = [it, 'ps']\n    a += ['-a']\n    sp.run(a)\ngo('docker')",
        "import subprocess\nflags = ['-a']\nsubprocess.check_output(['docker', 'ps', *flags])",
        "import os\nos.execlp('docker', 'ps', '-a')",
    ],
)
def test_commands_are_found_in_python(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "scripts/a.py", source) == ["docker ps -a"]


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
    ".claude/skills/e/SKILL.md": "```ts\nexecSync('docker ps -a')\n```\n",
}


@pytest.mark.parametrize("name", FILES)
def test_commands_are_found_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name, FILES[name]) == ["docker ps -a"]


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


def test_a_link_out_of_the_checkout_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.ts").write_text("execSync('docker info')")
    (tmp_path / "checkout/src").mkdir(parents=True)
    (tmp_path / "checkout/src/a.ts").symlink_to("../../elsewhere.ts")
    assert discover(tmp_path / "checkout") == []


KNOWN = strict_toml.convert(
    {
        "covered": [{"command": "docker run --rm -v A:B IMAGE", "cases": ["a-case"]}],
        "exception": [
            {"command": "docker logs NAME", "files": ["scripts/*.ts", "setup.sh"], "reason": "a developer's"},
            {"command": "container *", "files": ["*"], "reason": "macOS only"},
            {"arguments": "library.add", "adds": "-v A:B", "files": ["src/runner.ts"], "reason": "read in its source"},
            {"unread": "…command…*", "files": ["src/runner.ts"], "reason": "read by hand"},
        ],
    },
    Catalogue,
    "a test",
)


def place(*words: str, file: str) -> Found:
    return Found(file, 1, form_of(["docker", *words]))


@pytest.mark.parametrize(
    ("file", "excused"),
    [
        ("scripts/a.ts", True),
        ("scripts/further/a.ts", True),
        ("setup.sh", True),
        ("setup/scripts/a.ts", False),
        ("scripts/a.sh", False),
        ("src/container-runner.ts", False),
    ],
)
def test_an_exception_is_one_for_the_files_that_it_names(file: str, excused: bool) -> None:
    assert (judge(place("logs", "x", file=file), KNOWN).problem == "") == excused


def test_an_exception_does_not_excuse_what_nanoclaw_itself_runs() -> None:
    for file, excused in (("setup/a.ts", True), ("src/a.ts", False)):
        apple = Found(file, 1, form_of(["container", "system", "start"]))
        assert (judge(apple, KNOWN).problem == "") == excused


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "docker logs NAME", "reason": "none"},
        {"files": ["*"], "reason": "nothing is excepted"},
        {"files": ["*"], "reason": "two things", "command": "docker ps", "unread": "x"},
    ],
)
def test_an_exception_is_complete(entry: dict[str, object]) -> None:
    with pytest.raises(WrongUsage, match="a test, exception"):
        strict_toml.convert({"exception": [entry]}, Catalogue, "a test")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--rm", "IMAGE"], "a-case"),
        (["run", "--rm", "--…library.add", "IMAGE"], "a-case; read in its source"),
        (["run", "--gpus=all", "--…library.add", "IMAGE"], "NO CASE"),
        (["run", "--rm", "--…library.more", "IMAGE"], "NOT FOLLOWED: arguments from library.more"),
        (["run", "--…flags", "--…args", "IMAGE"], "NOT FOLLOWED: arguments from args, flags"),
        (["…command…"], "NOT FOLLOWED: arguments from command"),
    ],
)
def test_the_report_names_what_could_not_be_followed(words: list[str], said: str) -> None:
    assert judge(place(*words, file="src/runner.ts"), KNOWN).text == said


def test_what_is_not_followed_is_accepted_for_a_reason_only() -> None:
    assert judge(Found("src/runner.ts", 1, None, "…command… ps"), KNOWN).text == "exception: read by hand"
    assert judge(Found("src/other.ts", 1, None, "…command… ps"), KNOWN).text == "NOT FOLLOWED"


def test_the_cases_of_the_catalogue_exist() -> None:
    text = "".join(path.read_text() for path in (Path(__file__).parents[1] / "checks" / "cases").glob("*.py"))
    for entry in catalogue().covered:
        for case in entry.cases:
            assert f"def test_{case.replace('-', '_')}(" in text, case


def test_a_filter_and_a_format_are_part_of_what_is_asked() -> None:
    def form(*words: str) -> object:
        return form_of(["docker", "ps", *words])

    assert form("--filter", "name=a") == form("--filter", "name=b") != form("--filter", "label=a")
    assert form("--format", "{{.Names}}") != form("--format", "{{.ID}}")
    assert form("--filter=name=a") == form("--filter", "name=a")


def checkout(directory: Path, source: str) -> str:
    write(directory, **{"package.json": '{"version": "9.9.9"}', "src/container-runner.ts": source})
    return str(directory)


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("execSync('docker info')", Exit.OK, "1 places, 0 not covered"),
        ("execSync('docker run --gpus all IMAGE')", Exit.CASE_FAILED, "NO CASE"),
        ("execSync('docker info'); execSync(command)", Exit.CASE_FAILED, "NOT FOLLOWED"),
        ("execSync('ls')", Exit.CASE_FAILED, "No place in src/"),
    ],
)
def test_the_status_says_whether_all_is_covered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, status: Exit, said: str
) -> None:
    assert command.patterns(checkout(tmp_path, source)) is status
    assert said in capsys.readouterr().out


def test_a_checkout_without_a_version_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, **{"src/container-runner.ts": "execSync('docker info')"})
    assert command.patterns(str(tmp_path)) is Exit.OK
    assert "nanoclaw ?: 1 places" in capsys.readouterr().out


RECORDER = FIXTURES / "discovery" / "docker"


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [
        (["stop", "-t", "1", "a name\nof two lines"], Exit.OK, "1 forms of commands were recorded, 0 of them"),
        (["stop", "--signal", "KILL", "x"], Exit.CASE_FAILED, "not found in the sources: docker stop --signal"),
        (["rm", "x"], Exit.CASE_FAILED, "not found in the sources: docker rm"),
    ],
)
def test_a_recorded_command_must_be_one_of_the_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: list[str], status: Exit, said: str
) -> None:
    directory = tmp_path / "recorded"
    directory.mkdir()
    done = subprocess.run(
        [RECORDER, *run], env={**os.environ, "DOCKER_RECORD": str(directory), "DOCKER_REAL": "/bin/echo"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == " ".join(run) + "\n"
    source = checkout(tmp_path / "nanoclaw", "execSync(`docker stop -t 1 ${name}`)")
    assert command.patterns(source, recorded=str(directory)) is status
    assert said in capsys.readouterr().out


def test_a_recording_without_commands_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    source = checkout(tmp_path / "nanoclaw", "execSync('docker info')")
    assert command.patterns(source, recorded=str(tmp_path / "empty")) is Exit.CASE_FAILED
    assert command.patterns(source, recorded=str(tmp_path / "nothing")) is Exit.WRONG_USAGE
    (tmp_path / "empty" / "x").write_text("docker ps")
    assert command.patterns(source, recorded=str(tmp_path / "empty")) is Exit.WRONG_USAGE
    assert "not a recorded command" in capsys.readouterr().err


def test_a_version_without_a_list_has_no_recall(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.patterns(checkout(tmp_path, "execSync('docker info')"), recall=True) is Exit.WRONG_USAGE
    assert "no list for nanoclaw 9.9.9" in capsys.readouterr().err


HEADINGS = [line.split() for line in FACTS.read_text().splitlines() if line.startswith("@")]
VERSIONS = sorted({version for words in HEADINGS for version in words[3:]})


@pytest.mark.parametrize("version", VERSIONS)
def test_every_command_that_a_reader_found_is_found(version: str) -> None:
    """With $NANOCLAW_CHECKOUTS, a directory with a checkout of each version of the list."""
    directory = Path(os.environ.get("NANOCLAW_CHECKOUTS", "/nonexistent")) / version
    if not directory.is_dir():
        pytest.skip(f"$NANOCLAW_CHECKOUTS has no {version}")
    places = discover(directory)
    whole, hot = compare(places, directory, version), compare(places, directory, version, hot=True)
    assert whole
    assert hot
    assert (whole.missed, hot.missed, hot.wrong) == ([], [], [])
    assert len(whole.wrong) <= 5


SIZE = 100_000
HOSTILE = {
    "quotes": ("a.ts", '"'), "single quotes": ("a.ts", "'"), "backticks": ("a.ts", "`"), "templates": ("a.ts", "`${"),
    "calls in calls": ("a.ts", "f("), "sinks in sinks": ("a.ts", "execSync("), "brackets": ("a.ts", "["),
    "members": ("a.ts", "a."),
    "one name declared again and again": ("a.ts", "function f(a){execSync(a)};"),
    "functions that call each other": ("a.ts", "function f(a){g(a);execSync(a)};function g(a){f(a)};"),
    "a text that grows": ("a.ts", "let x='docker';x+=x;execSync(x);"),
    "a line that grows": ("a.ts", "const x=['docker'];x.push(...x);spawn('docker',x);"),
    "quotes in sh": ("a.sh", '"'), "substitutions": ("a.sh", "$("), "here documents": ("a.sh", "cat <<E\n"),
    "a variable that doubles": ("a.sh", 'a="$a$a docker"\n'),
    "a variable that is appended to itself": ("a.sh", "a+=$a\n"),
    "an array that doubles": ("a.sh", 'a+=("${a[@]}" "${a[@]}" x)\n'), "an index": ("a.sh", 'a+=("$a[@]" x)\n'),
    "commands in commands": ("a.sh", 'eval "docker ps; '), "long commands": ("a.sh", "docker $a "),
    "fences": (".claude/a.md", "```\n"), "spans": (".claude/a.md", "`docker ps"),
    "units": ("a.plist", "<key>ProgramArguments</key>"),
    "steps": (".github/workflows/a.yml", " run: |\n"), "recipes": ("Makefile", "A=$(A)$(A)\n"),
    "python": ("a.py", "f(["),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_no_source_keeps_it_busy(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the source is: an answer, or a refusal once the time that it may take is used up."""
    monkeypatch.setattr(discovering, "_TIMEOUT", 1.0)
    name, text = HOSTILE[how]
    write(tmp_path, **{name: "a=x\n" * name.endswith("sh") + text * (SIZE // len(text))})
    before = time.process_time()
    with contextlib.suppress(WrongUsage):
        discover(tmp_path)
    assert time.process_time() - before < 15  # one step of native code is not interrupted


@pytest.mark.parametrize("name", ["a.ts", "a.sh", "noextension"])
def test_a_source_that_is_too_large_is_refused(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(WrongUsage, match="larger than"):
        discover(tmp_path)
