"""What `invoke patterns` was reported to read wrongly, in a form of our own. The ids are those of the reports."""

from pathlib import Path

import pytest

from checks.nanoclaw.discovery.discover import discover
from tests.discovery import found, write

CLI = """
import { execFileSync, spawn } from 'node:child_process';
export interface Cli { run(words: string[], limits?: { ms?: number }): string; follow(words: string[]): unknown }
export function cliOf(bin: string): Cli {
  return { run(words, limits) { return execFileSync(bin, words, { timeout: limits?.ms }).toString(); },
           follow(words) { return spawn(bin, words); } };
}
"""
DRIVER = """
import { cliOf, type Cli } from './cli.js';
export class Driver {
  readonly #cli: Cli;
  constructor(given?: Cli) { this.#cli = given ?? cliOf('docker'); }
  check() { this.#cli.run(['info'], { ms: 5000 }); }
  all(label: string) { return this.#cli.run(['ps', '-a', '--filter', `label=${label}`]); }
  follow() { return this.#cli.follow(['events', '--filter', 'type=container']); }
  end(name: string) { this.#cli.run(['stop', '-t', '2', name]); }
}
export function ready(cli: Cli = cliOf('docker')) { cli.run(['version']); }
"""
COMMANDS = [
    "docker events --filter type=container",
    "docker info",
    "docker ps --filter label= -a",
    "docker stop -t",
    "docker version",
]


@pytest.mark.parametrize(
    "other",
    [
        "export function put(db: { run(s: string): void }) { db.run('DELETE FROM t'); }",
        "const o = { run(x: string) { return x; } }; o.run('a');",
    ],
    ids=["P26", "P27"],
)
def test_another_object_with_a_method_of_that_name_changes_nothing(tmp_path: Path, other: str) -> None:
    write(tmp_path, **{"src/cli.ts": CLI, "src/other.ts": other})
    assert sorted(found(tmp_path, "src/driver.ts", DRIVER)) == COMMANDS
    assert {each.file for each in discover(tmp_path)} == {"src/driver.ts"}


CLASSES = {
    "P30": """
class C { constructor(private readonly bin = 'docker') {} run(words: string[]) { return spawn(this.bin, words); } }
const c = new C();
c.run(['rename', 'x', 'y']);
""",
    "P31": """
class C { constructor(private readonly bin: string) {} run(words: string[]) { return spawn(this.bin, words); } }
new C('docker').run(['rename', 'x', 'y']);
""",
    "P34": """
class C {
  #name = process.env.B ?? 'docker';
  get bin() { return this.#name; }
  run(words: string[]) { return spawn(this.bin, words); }
}
new C().run(['rename', 'x', 'y']);
""",
    "P12": """
class C {
  bin = 'docker'; words: string[] = [];
  add(...more: string[]) { this.words.push(...more); return this; }
  go() { return spawn(this.bin, this.words); }
}
new C().add('run', '-d').add('--shm-size=64m').add('image').go();
""",
    "P04": """
spawn('docker', ['exec', '-i', name, 'sh', '-c', line]);
execFile('docker', ['exec', '-d', '-u', '1000', name, 'node', '-e', script]);
""",
}


@pytest.mark.parametrize(
    ("row", "forms"),
    [
        ("P30", ["docker rename"]),
        ("P31", ["docker rename"]),
        ("P34", ["docker rename"]),
        ("P12", ["docker run --shm-size -d"]),
        ("P04", ["docker exec -d -u", "docker exec -i"]),
    ],
)
def test_a_program_of_a_class_is_found(tmp_path: Path, row: str, forms: list[str]) -> None:
    assert sorted(found(tmp_path, "src/a.ts", CLASSES[row])) == forms


FROM = "import { execSync } from 'node:child_process';"


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("src/a.js", "require('child_process').execSync('docker restart a');", "docker restart"),
        ("scripts/a.mjs", f"{FROM} execSync('docker commit a b');", "docker commit"),
        ("setup/a.tsx", f"{FROM} export const A = () => execSync('docker tag a b');", "docker tag"),
        ("scripts/a.py", "import subprocess\nsubprocess.run(['docker', 'save', 'a'])\n", "docker save"),
        ("a.bash", "docker push a\n", "docker push"),
        ("Makefile", "all:\n\tdocker compose up -d\n", "docker compose up -d"),
        ("bin/start", "#!/bin/bash\ndocker load -i a.tar\n", "docker load -i"),
    ],
    ids=["P10-js", "P10-mjs", "P10-tsx", "P10-py", "P10-bash", "P10-make", "P10-no-suffix"],
)
def test_a_file_of_any_language_is_read(tmp_path: Path, name: str, text: str, form: str) -> None:
    assert found(tmp_path, name, text) == [form]
