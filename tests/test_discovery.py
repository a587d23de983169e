import contextlib
import time
from pathlib import Path

import pytest

from checks.core.errors import WrongUsage
from checks.nanoclaw.discovery import discover as discovering
from checks.nanoclaw.discovery.discover import Found, discover
from checks.nanoclaw.discovery.invocation import shape_of
from checks.nanoclaw.discovery.patterns import catalogue, cover, told


def found(directory: Path, name: str, text: str, **others: str) -> list[str]:
    for each, content in {name: text, **others}.items():
        path = directory / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return [each.shape.text for each in discover(directory) if each.file == name]


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("execSync('docker info', { timeout: 1 })", ["docker info"]),
        ("const B = 'docker'; execSync(`${B} stop -t 1 ${name}`)", ["docker stop -t"]),
        ("exec(stop(n)); function stop(n: string) { return `docker stop ${n}`; }", ["docker stop"]),
        ("execSync('systemd-run --user --pipe --wait docker info')", ["docker info"]),
        ("execSync(`echo '{}' | docker run -i --rm IMAGE docker ps`)", ["docker run --rm -i"]),
        ("const c = x ? 'container build' : 'docker build'; execSync(`${c} -t ${i} .`)", ["docker build -t"]),
        ("const c = 'docker build'; f(c.split(' ')[0], [...c.split(' ').slice(1), '-t', i])", ["docker build -t"]),
        ("spawn('docker', ['rm', '-f', name])", ["docker rm -f"]),
        ("spawnSync('sg', ['docker', '-c', 'x']); spawnSync('sudo', ['usermod', '-aG', 'docker', me])", []),
        ("execSync('sudo systemctl start docker'); console.log('Run: docker info')", []),
        (
            "exec(`docker ps --filter name=${x} --format '{{.Names}}'`)",
            ["docker ps --filter name= --format {{.Names}}"],
        ),
    ],
)
def test_commands_are_found_in_typescript(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("spawn('docker run --rm --gpus=all IMAGE', { shell: true })", ["docker run --gpus --rm"]),
        ("spawn('docker run -i', ['--gpus=all', 'IMAGE'], { shell: '/bin/bash' })", ["docker run --gpus -i"]),
        ("const o = { shell: true }; spawnSync('cd x && docker ps -a', o)", ["docker ps -a"]),
    ],
)
def test_a_whole_command_line_may_stand_where_a_program_does(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("spawn('sh', ['-c', 'docker ps -a'])", ["docker ps -a"]),
        ("execFile('/bin/bash', ['-lc', `cd x; docker rm -f ${name}`])", ["docker rm -f"]),
        ("run('sudo', ['-u', 'me', 'bash', '-e', '-c', 'docker info'])", ["docker info"]),
        ("spawn('sg', ['docker', '-c', 'docker info'])", ["docker info"]),
        ("spawn('sh', ['docker.sh']); spawn('sh', ['-c', 'echo docker info'])", []),
    ],
)
def test_the_command_line_that_a_shell_is_told_is_looked_into(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


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
    ],
)
def test_what_starts_programs_is_known_under_any_name(tmp_path: Path, source: str) -> None:
    assert found(tmp_path, "src/a.ts", source) == ["docker ps -a"]


def test_a_name_may_be_given_in_another_file(tmp_path: Path) -> None:
    others = {
        "src/index.ts": "export { run as go } from './run.js'",
        "src/run.ts": "export const run = promisify(exec)",
        "src/other.ts": "export const run = console.log",
    }
    source = "import { go } from './index.js'; go('docker ps -a')"
    assert found(tmp_path, "src/a.ts", source, **others) == ["docker ps -a"]


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("await $`docker rm -f ${name}`", ["docker rm -f"]),
        ("Bun.$`docker ps ${['-a', '-q']}`", ["docker ps -a -q"]),
        ("import { $ as sh } from 'zx'; const quiet = sh({ verbose: false }); quiet`docker info`", ["docker info"]),
        (
            "import { execa as run } from 'execa'; run`docker ps -a`; $.sync`docker ps -q`",
            ["docker ps -a", "docker ps -q"],
        ),
        ("$`docker run --rm ${flags} IMAGE`", ["docker run --rm --…flags"]),
        ("html`docker info`; print`docker ps`", []),
    ],
)
def test_templates_of_shell_libraries_are_command_lines(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("execFile('docker', ['ps', '-a'], done)", ["docker ps -a"]),
        ("execFileSync('/usr/bin/docker', ['ps', '-a'])", ["docker ps -a"]),
        ("spawnSync('docker', ['ps', '-a'])", ["docker ps -a"]),
        ("fork('docker', ['ps', '-a'])", ["docker ps -a"]),
        ("execa('docker', ['ps', '-a'])", ["docker ps -a"]),
        ("execaSync('docker ps -a', { shell: true })", ["docker ps -a"]),
        ("execaCommand('docker ps -a')", ["docker ps -a"]),
        ("Bun.spawn(['docker', 'ps', '-a'])", ["docker ps -a"]),
        ("Bun.spawnSync(['sh', '-c', 'docker ps -a'], { cwd })", ["docker ps -a"]),
        ("Bun.spawn({ cmd: ['docker', 'ps', '-a'], cwd })", ["docker ps -a"]),
        ("const all = ['docker', 'ps', '-a']; Bun.spawn(all)", ["docker ps -a"]),
        ("import { spawn as start } from 'bun'; start(['docker', 'ps', '-a'])", ["docker ps -a"]),
        ("import start from 'cross-spawn'; start.sync('docker', ['ps', '-a'])", ["docker ps -a"]),
        ("spawn('docker', { stdio: 'inherit' })", ["docker"]),
    ],
)
def test_every_function_that_starts_a_program_is_known(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        ("execFileSync('docker', ['run', '--rm', ...args, 'IMAGE'])", ["docker run --rm --…args"]),
        ("execFileSync('docker', ['run', '--rm', flag, 'IMAGE'])", ["docker run --rm --…flag"]),
        ("execFileSync('docker', ['run', '-e', ...args, 'IMAGE'])", ["docker run --…args -e"]),
        ("execFileSync('docker', ['stop', one, other])", ["docker stop --…one --…other"]),
        ("execFileSync('docker', args)", ["docker --…args"]),
        ("Bun.spawn(['docker', ...args])", ["docker --…args"]),
        ("execSync(`docker run ${flags} IMAGE`)", ["docker run --…flags"]),
        ("execSync(`docker run ${args.join(' ')} IMAGE`)", ["docker run --…args"]),
        ("execSync('docker ' + args.join(' '))", ["docker --…args"]),
        ("execSync(`docker run ${extra || ''} IMAGE`)", ["docker run", "docker run --…extra"]),
        ("execSync('docker rm $(list)')", ["docker rm --…list"]),
        ("const a = ['run']; library.add(a); a.push('IMAGE'); spawn('docker', a)", ["docker run --…library.add"]),
        (
            "const a = ['ps']; Array.prototype.push.apply(a, b); f('docker', a)",
            ["docker ps --…Array.prototype.push.apply"],
        ),
        ("const a = ['ps']; console.log(a); log.info('x', a); spawn('docker', a)", ["docker ps"]),
        ("spawn('docker', ['run', ...list.map((x) => x), 'IMAGE'])", ["docker run --…list"]),
        ("spawn('docker', args.slice(1))", ["docker --…args"]),
        ("spawn('docker', ['run', '--name', name, '-v', `${x}:/y`, 'IMAGE', ...args])", ["docker run --name -v"]),
    ],
)
def test_arguments_that_cannot_be_followed_are_an_option(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
    [
        # what a variable becomes, wherever that is written
        ("let c = 'docker ps'; if (x) c += ' -a'; exec(c)", ["docker ps -a"]),
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
        ("spawn('docker', ['run', ...all.map((k) => `--env=${k}`), 'IMAGE'])", ["docker run --env"]),
        ("execSync(['docker', 'ps', '-a'].join(' '))", ["docker ps -a"]),
        ("const [first, ...rest] = 'docker ps -a'.split(' '); spawn(first, rest)", ["docker ps -a"]),
        # one of several
        ("spawn('docker', x ? ['ps', '-a'] : ['rm', '-f', n])", ["docker ps -a", "docker rm -f"]),
        ("spawn('docker', [x ? 'stop' : 'pause', n])", ["docker pause", "docker stop"]),
        ("for (const o of ['-a', '-q']) spawn('docker', ['ps', o])", ["docker ps -a", "docker ps -q"]),
        # objects
        ("const o = { bin: 'docker', args: ['ps'] }; o.args.push('-a'); spawn(o.bin, o.args)", ["docker ps -a"]),
        ("class A { args = ['ps']; go() { this.args.push('-a'); spawn('docker', this.args) } }", ["docker ps -a"]),
    ],
)
def test_arguments_are_followed_to_where_they_come_from(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


@pytest.mark.parametrize(
    ("source", "shapes"),
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
        ("function go({ bin, args }) { spawn(bin, args) } go({ bin: 'docker', args: ['info'] })", ["docker info"]),
        ("class A { go(a) { spawn('docker', a) } list() { this.go(['ps']) } }", ["docker ps"]),
        (
            "const a = (c) => exec(c); const b = (c) => a(`docker ${c}`); b('ps -a'); b('info')",
            ["docker info", "docker ps -a"],
        ),
        ("function go(a) { spawn('docker', a) } go(['ps']); go(elsewhere())", ["docker --…elsewhere", "docker ps"]),
        ("export function go(a) { spawn('docker', a) }", ["docker --…a"]),
    ],
)
def test_what_a_function_is_told_by_its_callers_is_followed(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "src/a.ts", source) == shapes


def test_a_command_is_where_it_is_written_not_where_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/docker.ts").write_text(
        "export function docker(...a: string[]) {\n  return execFile('docker', a)\n}\n"
    )
    (tmp_path / "src/a.ts").write_text(
        "import { docker as d } from '../lib/docker.js';\n\nd('stop', '--gpus=all', name)\n"
    )
    (one,) = discover(tmp_path)
    assert (one.file, one.line, one.shape.text) == ("src/a.ts", 3, "docker stop --gpus")


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
    ("source", "shapes"),
    [
        ("docker info >/dev/null 2>&1 || exit 1", ["docker info"]),
        ('R="${R:-docker}"\n${R} build -t "$I:$T" .', ["docker build -t"]),
        ('A=()\nA+=(--build-arg X=1)\ndocker build "${A[@]}" -t x .', ["docker build --build-arg -t"]),
        ("V=$(docker --version 2>/dev/null | head -1)", ["docker --version"]),
        ('if ! with_timeout docker image inspect "$I"; then :; fi', ["docker image inspect"]),
        ("sudo -n docker ps\ntimeout -k 2 5 docker ps\nsudo $X --user me docker ps", ["docker ps"] * 3),
        ("docker ps -q | xargs -n 1 docker rm -f", ["docker ps -q", "docker rm -f"]),
        ("sh -ce 'docker ps -a'; eval \"docker info\"", ["docker info", "docker ps -a"]),
        ('bash -lc "cd x && docker run --gpus=all $X"', ["docker run --gpus --…X"]),
        ('docker run "$@"', ["docker run --…@"]),
        ('docker "$@"', ["docker --…@"]),
        ("docker run --rm $ARGS IMAGE", ["docker run --rm --…ARGS"]),
        ('docker run "${ARGS[@]}" IMAGE', ["docker run --…ARGS"]),
        ("docker stop $NAMES", ["docker stop --…NAMES"]),
        ('docker stop "$NAME"; docker stop -t $SECONDS x', ["docker stop", "docker stop -t"]),
        ('O="-a"\n[ x ] && O="$O -q"\ndocker ps $O', ["docker ps -a", "docker ps -a -q"]),
        ("O=-a\n[ x ] && O=\ndocker ps $O", ["docker ps -a"]),
        ("D=$(command -v docker)\n$D ps -a 2>&1 --no-trunc", ["docker ps --no-trunc -a"]),
        ("command -v docker; echo docker run; # docker stop", []),
    ],
)
def test_commands_are_found_in_shell(tmp_path: Path, source: str, shapes: list[str]) -> None:
    assert found(tmp_path, "a.sh", source) == shapes


def test_tests_and_installed_packages_are_left_out(tmp_path: Path) -> None:
    call = "execSync('docker info')"
    assert not found(tmp_path, "src/a.test.ts", call)
    assert not found(tmp_path, "node_modules/x/index.ts", call)


def test_arguments_that_cannot_be_known_are_covered_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.ts").write_text("spawn('docker', somewhere(x))")
    (one,) = discover(tmp_path)
    assert cover(one, catalogue()) is None


def test_an_option_that_no_case_proves_is_not_covered(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.ts").write_text("execSync('docker run -i --rm --gpus all IMAGE')")
    (one,) = discover(tmp_path)
    assert one.hot
    assert cover(one, catalogue()) is None


EXCEPTIONS = """
[[covered]]
command = "docker run --rm -v A:B IMAGE"
cases = ["a-case"]

[[exception]]
command = "docker logs NAME"
files = ["scripts/*.ts", "setup.sh"]
reason = "a developer's"

[[exception]]
arguments = "library.add"
adds = "-v A:B"
files = ["src/runner.ts"]
reason = "read in its source"
"""


def command(*words: str, file: str) -> Found:
    return Found(file, 1, shape_of(words))


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
    assert (cover(command("logs", "x", file=file), catalogue(EXCEPTIONS)) is not None) == excused


def test_an_exception_does_not_excuse_what_nanoclaw_itself_runs() -> None:
    everywhere = EXCEPTIONS.replace("scripts/*.ts", "*")
    assert cover(command("logs", "x", file="scripts/a.ts"), catalogue(everywhere))
    assert cover(command("logs", "x", file="src/a.ts"), catalogue(everywhere)) is None


def test_every_exception_names_its_files() -> None:
    with pytest.raises(KeyError, match="files"):
        catalogue('[[exception]]\ncommand = "docker logs NAME"\nreason = "none"')


def test_arguments_that_a_source_does_not_show_must_be_proven_with_the_rest() -> None:
    known = catalogue(EXCEPTIONS)
    shown = cover(command("run", "--rm", "--…library.add", "IMAGE", file="src/runner.ts"), known)
    assert shown
    assert (shown.cases, shown.reason) == (("a-case",), "read in its source")
    assert cover(command("run", "--gpus=all", "--…library.add", "IMAGE", file="src/runner.ts"), known) is None
    assert cover(command("run", "--rm", "--…library.more", "IMAGE", file="src/runner.ts"), known) is None
    assert cover(command("run", "--rm", "--…library.add", "IMAGE", file="src/other.ts"), known) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--rm", "IMAGE"], "a-case"),
        (["run", "--rm", "--…library.add", "IMAGE"], "a-case; read in its source"),
        (["run", "--gpus=all", "--…library.add", "IMAGE"], "NO CASE"),
        (
            ["run", "--…library.add", "--…flags", "--…args", "IMAGE"],
            "NO CASE: arguments that could not be followed: args, flags",
        ),
        (["…command…"], "NO CASE: arguments that could not be followed: command"),
    ],
)
def test_the_report_names_what_could_not_be_followed(words: list[str], said: str) -> None:
    assert told(command(*words, file="src/runner.ts"), catalogue(EXCEPTIONS)) == said


def test_a_filter_and_a_format_are_part_of_what_is_asked() -> None:
    def shape(*words: str) -> object:
        return shape_of(["ps", *words])

    assert shape("--filter", "name=a") == shape("--filter", "name=b") != shape("--filter", "label=a")
    assert shape("--format", "{{.Names}}") != shape("--format", "{{.ID}}")
    assert shape("--filter=name=a") == shape("--filter", "name=a")


SIZE = 100_000
HOSTILE = {
    "quotes": ("a.ts", '"'), "single quotes": ("a.ts", "'"), "backticks": ("a.ts", "`"), "templates": ("a.ts", "`${"),
    "calls in calls": ("a.ts", "f("), "brackets": ("a.ts", "["), "members": ("a.ts", "a."),
    "one name declared again and again": ("a.ts", "function f(a){execSync(a)};"),
    "functions that call each other": ("a.ts", "function f(a){g(a);execSync(a)};function g(a){f(a)};"),
    "a text that grows": ("a.ts", "let x='docker';x+=x;execSync(x);"),
    "a line that grows": ("a.ts", "const x=['docker'];x.push(...x);spawn('docker',x);"),
    "quotes in sh": ("a.sh", '"'), "substitutions": ("a.sh", "$("), "here documents": ("a.sh", "cat <<E\n"),
    "a variable that doubles": ("a.sh", 'a="$a$a docker"\n'),
    "a variable that is appended to itself": ("a.sh", "a+=$a\n"),
    "an array that doubles": ("a.sh", 'a+=("${a[@]}" "${a[@]}" x)\n'), "an index": ("a.sh", 'a+=("$a[@]" x)\n'),
    "commands in commands": ("a.sh", 'eval "docker ps; '), "long commands": ("a.sh", "docker $a "),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_no_source_keeps_it_busy(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the source is: an answer, or a refusal once the time that it may take is used up."""
    monkeypatch.setattr(discovering, "_TIMEOUT", 1.0)
    name, text = HOSTILE[how]
    (tmp_path / name).write_text("a=x\n" * name.endswith("sh") + text * (SIZE // len(text)))
    before = time.process_time()
    with contextlib.suppress(WrongUsage):
        discover(tmp_path)
    assert time.process_time() - before < 15  # one step of C code is not interrupted


def test_a_source_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text('"' * 1_500_000)
    before = time.process_time()
    with pytest.raises(WrongUsage, match="larger than"):
        discover(tmp_path)
    assert time.process_time() - before < 15  # one step of C code is not interrupted
