"""What `invoke patterns` finds in TypeScript, JavaScript and Python, and what it can't follow there."""

from pathlib import Path

import pytest

from checks.nanoclaw.discovery import form
from tests.discovery import found


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
    ("method", "calls", "forms"),
    [
        ("add(...given: string[]) { this.words.push(...given); return this; }",
         "new R().add('run', '-d').add('--shm-size=1g').add('img').go();", ["docker run --shm-size -d"]),
        ("one(given: string) { this.words.push(given); }",
         "const r = new R(); r.one('run'); r.one('--init'); const s = new R(); s.one('stop'); s.one('-t'); s.go();",
         ["docker run --init", "docker stop -t"]),
        ("now(...given: string[]) { spawn('docker', given); }",
         "const r = new R(); r.now('info'); r.now('ps', '-a');", ["docker info", "docker ps -a"]),
    ],
    ids=("chained", "of-a-variable", "not-gathered"),
)  # fmt: skip
def test_what_several_calls_add_to_an_object_is_one_command(
    tmp_path: Path, method: str, calls: str, forms: list[str]
) -> None:
    go = "go() { spawn('docker', this.words); }" if "words" in method else ""
    text = f"class R {{ private words: string[] = []; {method} {go} }} {calls}"
    assert found(tmp_path, "src/a.ts", text) == forms


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
