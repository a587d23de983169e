"""How `invoke patterns` follows a program and its arguments through variables, callers and files."""

from pathlib import Path

import pytest

from checks.nanoclaw.discovery.discover import discover
from tests.discovery import found, write


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
