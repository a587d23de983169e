"""What `invoke patterns` finds in TypeScript, JavaScript and Python, and what it can't follow there."""

from pathlib import Path

import pytest

from checks.nanoclaw.discovery import form
from checks.nanoclaw.discovery.discover import discover
from tests.discovery import found, write


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


MANY = [f"git {number}" for number in range(24)]
LAST = "docker kill --signal=KILL x"
GO = "function go(it) { spawn(it.bin, ['ps']) }"


CHOICE = " : ".join(f"x{at} ? `{each}`" for at, each in enumerate(MANY))
ASSIGNED = " ".join(f"if (x) c = `{each}`;" for each in [*MANY, LAST])
HALF = " || ".join(map(repr, MANY[:12]))


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        (f"const all = {[*MANY, LAST]}; for (const c of all) execSync(c)", ["? …+alternatives…"]),
        (f"execSync({CHOICE} : '{LAST}')", ["? …+alternatives…"]),
        (f"let c = ''; {ASSIGNED} execSync(c)", ["? …+alternatives…"]),
        (
            f"function go(a, b) {{ execSync(`${{a}} ${{b}}`) }} go({HALF} || 'docker', x ? 'ps' : 'info')",
            ["? --…alternatives"],
        ),
        (f"const a = {HALF}, b = {HALF}; spawn('docker', ['run', `${{a}}${{b}}`])", ["docker run --…alternatives"]),
        (f"const all = [{'{ bin: `git` }, ' * 24} {{ bin: 'docker' }}]; {GO}", ["docker ps"]),
        (f"const all = [{'{ bin: `git` }, ' * 200} {{ bin: 'docker' }}]; {GO}", ["? …it.bin… ps"]),
        (f"{GO} {'go({ bin: `git` }); ' * 200} go({{ bin: 'docker' }})", ["? …it.bin… ps"]),
    ],
)
def test_more_alternatives_than_are_told_apart_are_not_followed(tmp_path: Path, source: str, forms: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == forms


def test_more_alternatives_of_a_script_than_are_told_apart_are_not_followed(tmp_path: Path) -> None:
    source = "\n".join(f"C={word}" for word in [*(f"git{at}" for at in range(24)), "docker"])
    assert found(tmp_path, "a.sh", f"{source}\n$C ps") == ["? --…alternatives ps"]


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("cp['execSync']('docker swarm init')", "cp['execSync']"),
        ("cp[m]('docker', ['swarm', 'init'])", "cp[m]"),
        ("cp.execSync.call(null, 'docker swarm init')", "cp.execSync"),
        ("cp.spawnSync.apply(null, ['docker', ['swarm', 'init']])", "cp.spawnSync"),
        ("Reflect.apply(cp.execSync, null, ['docker swarm init'])", "cp.execSync"),
        ("['docker swarm init'].forEach(cp.execSync)", "cp.execSync"),
        ("const run = cp.execSync; ['docker swarm init'].forEach(run)", "run"),
        ("const d = cp.spawnSync.bind(null, 'docker'); d(['swarm', 'init'])", "cp.spawnSync"),
        ("go(cp.execSync); function go(run) { run('docker swarm init') }", "cp.execSync"),
    ],
)
def test_a_function_that_starts_programs_and_is_used_in_another_way_is_reported(
    tmp_path: Path, source: str, used: str
) -> None:
    unread = found(tmp_path, "src/a.ts", f"import * as cp from 'node:child_process'; {source}")
    assert f"? {form.hole(used)}" in unread


@pytest.mark.parametrize(
    "source",
    [
        "const run = util.promisify(cp.execFile); run('docker', ['ps'])",
        "const run = cp.spawnSync.bind(cp); run('docker', ['ps'])",
        "go(cp.execSync); function go(execSync) { execSync('docker ps') }",
    ],
)
def test_a_function_that_starts_programs_and_is_followed_is_not_reported(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", f"import * as cp from 'child_process'; {source}") == ["docker ps"]


@pytest.mark.parametrize(
    "source",
    [
        "execSync(['doc', 'ker', ' ps'].join(''))",
        "execSync(['cd x', 'docker ps'].join(' && '))",
        "execSync(['cd x', 'docker ps'].join('\\n'))",
        r"execSync('dock\x65r ps')",
        r"execSync('\u0064ock\u{65}r ps')",
    ],
)
def test_a_text_is_put_together_as_the_program_does(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", source) == ["docker ps"]


def test_a_text_of_python_is_put_together_as_the_program_does(tmp_path: Path) -> None:
    source = "import os\nos.system(''.join(['dock\\x65', 'r ps']))"
    assert found(tmp_path, "scripts/a.py", source) == ["docker ps"]


@pytest.mark.parametrize(
    "source",
    [
        "let x = <any‹;\nexecSync('docker swarm init')",
        "<<<<<<< ours\nexecSync(`docker swarm init`)\n=======\nrun()\n>>>>>>> theirs\n",
        "const a = 'docker'; f(",
    ],
)
def test_a_source_that_is_not_valid_is_reported_if_it_names_a_runtime(tmp_path: Path, source: str) -> None:
    assert "? a syntax error, in a source with docker" in found(tmp_path, "src/a.ts", source)
    assert "? a syntax error, in a source with docker" not in found(tmp_path, "src/a.ts", source.replace("docker", "d"))


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
