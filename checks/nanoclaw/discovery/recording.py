"""Commands that fixtures/discovery/docker recorded while nanoclaw ran: each must be one that its sources show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from checks.core.errors import WrongUsage
from checks.nanoclaw.checkout import read, walk
from checks.nanoclaw.discovery.catalogue import Catalogue
from checks.nanoclaw.discovery.discover import Found
from checks.nanoclaw.discovery.form import Form, form_of

_MAX = 20_000


def recorded(directory: Path) -> list[Form]:
    """The forms of the recorded commands. Raises WrongUsage for what is not a recording."""
    if not directory.is_dir():
        raise WrongUsage(f"{directory} is not a directory.", "Record with fixtures/discovery/docker; it says how.")
    forms = set()
    for count, path in enumerate(walk(directory)):
        words = read(path, directory, 1 << 20).decode(errors="replace").split("\0") if count < _MAX else []
        if len(words) < 2 or words[-1]:
            raise WrongUsage(f"{path} is not a recorded command, or one of more than {_MAX}.")
        forms.add(form_of(words[:-1]))
    return sorted(forms)


def unexplained(forms: Sequence[Form], found: Sequence[Found], known: Catalogue) -> list[Form]:
    """The recorded commands that no place in the sources runs, with the arguments that the catalogue knows."""
    shown = [known.completed(each)[0] for each in found if each.form]
    return [form for form in forms if not any(each and each.covers(form) for each in shown)]
