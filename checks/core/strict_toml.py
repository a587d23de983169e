"""TOML read strictly into a type: a missing, unknown or mistyped key is reported by file and key."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

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
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the types that TOML is read into: a field for each key.

    A ``ValueError`` of ``__post_init__`` is reported like any other mistake; it names the key as “key”.
    """


def load(path: Path, kind: type[T]) -> T:
    """Read a file into ``kind``. Raises WrongUsage that names the file, the key and the mistake."""
    try:
        values = parsed_toml(read_text(path))
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{path} can't be read: {error}.") from error
    return convert(values, kind, str(path))


def convert(values: dict[str, Any], kind: type[T], source: str) -> T:
    """Convert a table into ``kind``. ``source`` names the table in the WrongUsage raised for a mistake."""
    values = _stripped(values)
    try:
        return msgspec.convert(values, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise WrongUsage(f"{source}{_explanation(str(error), values, kind)}.") from error


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


def _explanation(message: str, values: Any, kind: Any) -> str:
    """Put an error of msgspec into words: the table, the key and what is wrong."""
    reason, _, path = message.partition(" - at `$")
    places: list[str] = []
    node, info = values, inspect.type_info(kind)
    step: Any = 0
    for hit in _STEP.finditer(path.rstrip("`")):
        step = int(hit[2]) if (hit[2] or "").isdigit() else hit[1] or _wrong_key(node, values, kind)
        places.append(f"{places.pop()} {step + 1}" if isinstance(step, int) else step)
        with contextlib.suppress(KeyError, IndexError, TypeError):
            node = node[step]
        info = _type_within(info, step)
    key = "" if isinstance(step, int) or reason.startswith(("Object", "“")) else places.pop()
    reason = _in_words(reason, info)
    return "".join(f", {each}" for each in places) + (f": “{key}” {reason}" if key else f": {reason}")


def _wrong_key(node: dict[str, Any], values: Any, kind: Any) -> str:
    """Find the key of a table that msgspec's path has only as ``[...]``: the first that is wrong by itself."""
    entries = dict(node)
    try:
        for key, value in entries.items():
            node.clear()
            node[key] = value
            try:
                msgspec.convert(values, kind, dec_hook=_decode)
            except msgspec.ValidationError:
                return key
    finally:
        node.clear()
        node.update(entries)
    return "?"


def _type_within(info: Any, step: Any) -> Any:
    info = _bare(info)
    if isinstance(info, inspect.StructType):
        return next((field.type for field in info.fields if field.encode_name == step), None)
    return getattr(info, "item_type", None) or getattr(info, "value_type", None)


def _bare(info: Any) -> Any:
    """The type without its metadata and without None."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        return _bare(next(each for each in info.types if not isinstance(each, inspect.NoneType)))
    return info


def _in_words(reason: str, info: Any) -> str:
    if hit := re.fullmatch(r"Object missing required field `(.+)`", reason):
        return f"“{hit[1]}” is missing"
    if hit := re.fullmatch(r"Object contains unknown field `(.+)`", reason):
        return f"“{hit[1]}” is not a key here"
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
