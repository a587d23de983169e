"""The id-mapped layers of an image on a disk: what Podman forgets of them when it copies the image's record."""

from __future__ import annotations

import json
from typing import Any

from checks.core.bounded import parsed
from checks.hosts.base import Host


def keep(host: Host, disk: str) -> None:
    """Give the records of the account's images the names of the id-mapped layers that those of the disk have."""
    doing = "naming the agent's image"
    engine = host.facts().engine
    root = host.ask([engine, "info", "--format", "{{.Store.GraphRoot}}"], str.strip, doing=doing)
    own, of_disk = (f"{store}/overlay-images/images.json" for store in (root, disk))
    mapped = host.ask(["cat", of_disk], _mapped, doing=doing)
    records = host.ask(["cat", own], _records, doing=doing)
    for each in records:
        each.update(mapped.get(each["id"], {}))
    host.put(own, json.dumps(records).encode(), mode=0o600)


def _records(text: str) -> list[dict[str, Any]]:
    """The records of an image store."""
    records = parsed(text)
    if not isinstance(records, list) or not all(isinstance(each, dict) and "id" in each for each in records):
        raise TypeError("it is not a list of images")
    return records


def _mapped(text: str) -> dict[str, dict[str, Any]]:
    """The key for id-mapped layers of each image that has it, by the image's id."""
    key = "mapped-layers"
    return {each["id"]: {key: each[key]} for each in _records(text) if key in each}
