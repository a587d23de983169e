import signal

from checks.mutation.faults.catalogue import FAULTS, Fault, RunOutcome

FAULT = Fault("name", "what happens", (3,), "lost its power", lambda host: iter(()))


def test_a_run_that_ends_as_it_should_has_nothing_wrong() -> None:
    assert FAULT.problems(RunOutcome(3, "The guest lost its power.", [])) == []


def test_a_wrong_status_a_missing_word_and_what_is_left_are_each_told() -> None:
    wrong = FAULT.problems(RunOutcome(0, "All is well.", ["process 7: qemu"]))
    assert wrong == [
        "left behind: process 7: qemu",
        "exit status 0, not 3",
        "its output does not match “lost its power”: All is well.",
    ]


def test_a_traceback_is_wrong_whatever_else_is_right() -> None:
    output = "lost its power\nTraceback (most recent call last):\n"
    assert FAULT.problems(RunOutcome(3, output, [])) == ["it printed a traceback"]


def test_a_death_by_signal_is_told_as_such() -> None:
    killed = next(fault for fault in FAULTS if fault.name == "runner-killed")
    assert killed.problems(RunOutcome(-signal.SIGKILL, "", [])) == []


def test_faults_have_names_of_their_own() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 10
