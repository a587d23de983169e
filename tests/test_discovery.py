from pathlib import Path

import pytest

from checks.nanoclaw.discovery import discover
from checks.nanoclaw.invocation import shape_of
from checks.nanoclaw.patterns import catalogue, cover


def found(folder: Path, name: str, text: str, **others: str) -> list[str]:
    for each, content in {name: text, **others}.items():
        path = folder / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return [each.shape.text for each in discover(folder) if each.file == name]


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
        ("sudo -n docker ps\ntimeout -k 2 5 docker ps", ["docker ps", "docker ps"]),
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


def test_an_exception_does_not_excuse_what_nanoclaw_itself_runs(tmp_path: Path) -> None:
    for folder in ("src", "scripts"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.ts").write_text("execSync('docker logs x')")
    hot, script = sorted(discover(tmp_path), key=lambda each: not each.hot)
    assert cover(hot, catalogue()) is None
    assert cover(script, catalogue())


def test_a_filter_and_a_format_are_part_of_what_is_asked() -> None:
    def shape(*words: str) -> object:
        return shape_of(["ps", *words])

    assert shape("--filter", "name=a") == shape("--filter", "name=b") != shape("--filter", "label=a")
    assert shape("--format", "{{.Names}}") != shape("--format", "{{.ID}}")
    assert shape("--filter=name=a") == shape("--filter", "name=a")
