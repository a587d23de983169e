"""A template: copy this file to checks/cases/NAME.py, or its case to a module here. Files starting with _ are not run.

A new case needs nothing else: `invoke verify --only NAME` runs it, and `scripts/test.sh` passes without a host. To show
that the case can fail, add a mutation to fixtures/sabotage/: a docker with the fault that the case must detect.
`invoke sabotage --check-complete --only CASE` says whether a case has one.
"""

from __future__ import annotations

import secrets

import pytest

from checks.engine.case_context import CaseContext
from checks.engine.docker import run
from checks.engine.expect import expect, expect_run

# The heading in the report. Cases of one module are a group.
GROUP = "Edge cases"


# The label is the case's line in the report; the id is the function's name without test_. `fix` names a troubleshooting
# entry, a file in fixtures/troubleshooting/; without it, a failure links to a general entry.
@pytest.mark.case("docker run --workdir", fix="the-container-does-not-start")
def test_workdir(ctx: CaseContext) -> None:
    # ctx.make and ctx.write make directories and files on the host, below a directory of this case.
    word = secrets.token_hex(8)
    directory = ctx.make("data")
    ctx.write("data/word", word)

    # ctx.docker runs the docker under test; `run` and `build` separate its options from the image and its command.
    # Other commands are words: ctx.docker("cp", source, f"{name}:/word"). After `run -d`, the container's command
    # may not have begun: `agent` in setup_and_skills.py starts one that is ready.
    # ctx.probe is an image with busybox. Containers get a name like nanoclaw's, and a label for cleanup.
    name = ctx.name("workdir")
    options = ["--rm", "--name", name, "-v", f"{directory}:/data", "--workdir", "/data"]
    done = ctx.docker(run(ctx.probe, "cat", "word", options=options))

    # Assert the effect, seen from inside the container or on the host: never what `inspect` says. The first text
    # completes “expected …”, the second “got …”.
    expect_run(done, stdout=word)
    owner = ctx.owner_of("data/word")
    expect(owner == f"{ctx.uid}:{ctx.facts.gid}", "the file to keep its owner", owner)

    # Kept in the evidence (--json), and in the comparison of two hosts.
    ctx.record.observe("owner", owner)

    # Every case checks that its container is gone. Other leftovers on the host fail the case by themselves.
    ctx.expect_gone(name)
