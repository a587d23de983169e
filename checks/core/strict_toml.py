"""TOML read strictly into a type: a missing, unknown or mistyped key is reported by file and key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect

from checks.core.bounded import parsed_toml, read_text
from checks.core.errors import WrongUsage
from checks.core.log_patterns import Pattern, Unbounded, compiled, pattern

T = TypeVar("T")

Text = Annotated[str, msgspec.Meta(min_length=1)]
"""A text that is not empty. White space around every text is removed."""

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the types that TOML is read into: a field for each key.

    A ``ValueError`` of ``__post_init__`` is reported like any other mistake; it names the key as “key”.
    """


def load(path: Path, kind: type[T]) -> T:
    """Read a file into ``kind``. Raises WrongUsage that names the file, and the key of each mistake."""
    try:
        values = parsed_toml(read_text(path))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise WrongUsage(f"{path} can't be read: {why}.") from error
    return convert(values, kind, str(path))


def convert(values: dict[str, Any], kind: type[T], source: str) -> T:
    """Convert a table into ``kind``. ``source`` names the table in the WrongUsage raised with all its mistakes."""
    values = _stripped(values)
    try:
        return msgspec.convert(values, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        first, *others = _mistakes(values, kind) or [f": {error}"]
        raise WrongUsage("; ".join([f"{source}{first}", *(each.lstrip(",: ") for each in others)]) + ".") from error


def _stripped(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {key: _stripped(each) for key, each in value.items()}
    return [_stripped(each) for each in value] if isinstance(value, list) else value


def _decode(kind: Any, value: Any) -> Any:
    """Decode what msgspec doesn't know: regular expressions of bounded cost."""
    if not isinstance(value, str):
        raise TypeError("must be a text")
    try:
        made: Any = pattern(value) if kind is Pattern else compiled(value) if get_origin(kind) is re.Pattern else None
    except Unbounded as error:
        problem = "could take for ever" if "consecutive characters" not in str(error) else "can't be used"
        raise ValueError(f"has “{value}”, which {problem}: {error}") from error
    except (re.error, RecursionError) as error:
        raise ValueError(f"has “{value}”, which is not a regular expression: {error}") from error
    if made is None:
        raise NotImplementedError(kind)
    if (made.compiled if kind is Pattern else made).search(""):
        raise ValueError(f"has “{value}”, which matches any text")
    return made


class _Item(str):
    """An item of a list: its number, and its name if it has one."""

    __slots__ = ()


def _name(item: Any) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return f" ({name})" if isinstance(name, str) and name else ""


def _meant(key: str, known: Iterable[str]) -> str:
    return "".join(f" (did you mean “{each}”?)" for each in difflib.get_close_matches(key, known, n=1))


def _mistakes(value: Any, kind: Any, places: tuple[str, ...] = ()) -> list[str]:
    """Every mistake of a value and of what is in it; ``places`` are the keys and the items that lead to it."""
    plain = _plain(kind)
    found = [_placed(places, reason) for reason in _wrong_keys(value, plain)]
    inner = _inner(value, plain)
    found += [mistake for step, each, of in inner for mistake in _mistakes(each, of, (*places, step))]
    if not found:
        try:
            msgspec.convert(value, kind, dec_hook=_decode)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at `$")[0]
            return [_placed(places, _in_words(reason, inspect.type_info(kind)))]
    return found


def _fields(value: Any, plain: Any) -> Mapping[str, msgspec.structs.FieldInfo] | None:
    """The keys that a table can have; None for what is no table with keys of its own."""
    if isinstance(value, dict) and isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return {each.encode_name: each for each in msgspec.structs.fields(plain)}
    return None


def _wrong_keys(value: Any, plain: Any) -> Iterator[str]:
    """What is wrong with the keys of a table."""
    fields = _fields(value, plain) or {}
    if fields:
        yield from (f"“{key}” is not a key here{_meant(key, fields)}" for key in value if key not in fields)
        yield from (f"“{key}” is missing" for key, each in fields.items() if each.required and key not in value)


def _inner(value: Any, plain: Any) -> list[tuple[str, Any, Any]]:
    """What is in a value: the key or the item that leads to each, and its type."""
    if fields := _fields(value, plain):
        return [(key, value[key], each.type) for key, each in fields.items() if key in value]
    if isinstance(value, dict) and get_origin(plain) is dict:
        return [(key, each, get_args(plain)[1]) for key, each in value.items()]
    if isinstance(value, list) and get_origin(plain) in (tuple, list):
        return [(_Item(f"{number}{_name(each)}"), each, get_args(plain)[0]) for number, each in enumerate(value, 1)]
    return []


def _plain(kind: Any) -> Any:
    """The type without its metadata and without None."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    others = [each for each in get_args(kind) if each is not NoneType] if isinstance(kind, UnionType) else []
    return _plain(others[0]) if len(others) == 1 else kind


def _placed(places: tuple[str, ...], reason: str) -> str:
    """A mistake with the table and the key that have it."""
    tables: list[str] = []
    for each in places:
        tables.append(f"{tables.pop()} {each}" if isinstance(each, _Item) else each)
    key = tables.pop() if tables and not isinstance(places[-1], _Item) and not reason.startswith("“") else ""
    return "".join(f", {each}" for each in tables) + (f": “{key}” {reason}" if key else f": {reason}")


def _bare(info: Any) -> Any:
    """The type without its metadata and without None."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        return _bare(next(each for each in info.types if not isinstance(each, inspect.NoneType)))
    return info


def _in_words(reason: str, info: Any) -> str:
    if hit := re.fullmatch(r"Expected `(\w+)` of length >= 1", reason):
        return f"must be {_KINDS[hit[1]]} that is not empty"
    if hit := re.fullmatch(r"Expected `str` matching regex '(.+)'", reason):
        return f"must match {hit[1]}"
    if hit := re.fullmatch(r"Expected `(?:int|float)` ([<>]=?) (\S+)", reason):
        return f"must be {hit[1]} {hit[2]}"
    if hit := re.fullmatch(r"Expected `(.+)`, got `(.+)`", reason):
        return f"must be {_kinds(hit[1])}, not {_kinds(hit[2])}"
    if hit := re.fullmatch(r"Invalid enum value '?(.*?)'?", reason):
        info = _bare(info)
        choices = info.values if isinstance(info, inspect.LiteralType) else [each.value for each in info.cls]
        named = ", ".join(str(each) for each in choices if each)
        return f"is “{hit[1]}”; it must be one of {named}{'' if all(choices) else ', or be left out'}"
    return reason


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | ") if name != "null")
