"""Whether WSL can read a value, type by type; where not, what to write instead."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal

from checks.capacity.wslconfig.keys import Key, nearest

_SIZE = re.compile(r"(\d+)(B|KB?|MB?|GB?|TB?)?")
_NEARLY_A_SIZE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([KMGT])i?(?:B|bytes?)?", re.IGNORECASE)
_PERCENT = re.compile(r"\d+(?:[.,]\d+)?\s*%")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:|\\)[\\/]")

_SMALLER = {"T": "GB", "G": "MB", "M": "KB", "K": "B"}
_LONGEST = 4000  # characters: Python refuses to read a longer number, and Windows a longer path
_MIB = 1 << 20


def problem(key: Key, value: str) -> str:
    """What is wrong with the value and what to write, as sentences; "" where nothing is."""
    if len(value) > _LONGEST:
        return f"the value of {key.name} has {len(value)} characters, which no value of it has."
    return _CHECKS[key.type](key, value)


def _size(key: Key, value: str) -> str:
    amount = _SIZE.fullmatch(value)
    if amount:
        if amount[2] or int(amount[1]) >= _MIB or not int(amount[1]):
            return ""
        return f"“{value}” is {value} bytes: without a unit a size is in bytes. Write {key.name}={value}GB."
    if _PERCENT.fullmatch(value):
        remedy = f"Write the amount, e.g. {key.name}=8GB"
        return f"“{value}” is a share; a size must be an amount. {remedy}, or leave the line out for WSL's default."
    nearly = _NEARLY_A_SIZE.fullmatch(value)
    if nearly:
        why = "a size is a whole number and its unit, in capitals, with nothing between"
        return f"“{value}” is no size: {why}. Write {key.name}={_mended(nearly[1], nearly[2].upper())}."
    return f"“{value}” is no size. Write a whole number and its unit, e.g. {key.name}=8GB or {key.name}=512MB."


def _mended(amount: str, unit: str) -> str:
    number = Decimal(amount.replace(",", "."))
    if number == int(number):
        return f"{int(number)}{unit}B"
    return f"{int(number * 1024)}{_SMALLER[unit]}"


def _number(key: Key, value: str) -> str:
    if _NUMBER.fullmatch(value) and abs(int(value, 0) if value.lstrip("+-")[:1] != "0" else 0) < 1 << 31:
        return ""
    return f"“{value}” is no whole number. Write digits alone, e.g. {key.name}=4."


def _boolean(key: Key, value: str) -> str:
    if value.lower() in ("true", "false", "1", "0"):
        return ""
    return f"“{value}” is neither true nor false. Write {key.name}=true or {key.name}=false."


def _choice(key: Key, value: str) -> str:
    if value.lower() in (choice.lower() for choice in key.choices):
        return ""
    near = nearest(value, key.choices)
    meant = f" Did you mean {near}?" if near else ""
    return f"“{value}” is no value of {key.name}; these are: {', '.join(key.choices)}.{meant}"


def _path(key: Key, value: str) -> str:
    if not value or _ABSOLUTE.match(value):
        return ""
    return f"“{value}” is no absolute Windows path. Write one such as {key.name}=C:\\\\Users\\\\YOU\\\\file."


def _address(key: Key, value: str) -> str:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return f"“{value}” is no IPv4 address. Write one such as {key.name}=10.255.255.254."
    return ""


def _ports(key: Key, value: str) -> str:
    wrong = [port for port in value.split(",") if not (re.fullmatch(r"\s*\d{1,5}", port) and 0 < int(port) < 1 << 16)]
    if not wrong:
        return ""
    return f"“{wrong[0].strip()}” is no port. Write numbers from 1 to 65535 with commas between: {key.name}=3000,9000."


def _mac(key: Key, value: str) -> str:
    if _MAC.fullmatch(value):
        return ""
    return f"“{value}” is no MAC address. Write six pairs of hexadecimal digits: {key.name}=00:11:22:33:44:55."


def _string(_: Key, __: str) -> str:
    return ""


_CHECKS: dict[str, Callable[[Key, str], str]] = {
    "size": _size, "number": _number, "boolean": _boolean, "choice": _choice, "path": _path, "string": _string,
    "address": _address, "ports": _ports, "mac": _mac,
}  # fmt: skip
TYPES = frozenset(_CHECKS)
