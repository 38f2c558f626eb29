"""What is wrong with settings, in words: the key, where it came from, and what is allowed there.

All that is said comes from the schema of the settings, never from the values: a value may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

Schema = Mapping[str, Any]
Location = Sequence[str | int]

_DOT = "."
_NEAR = 0.75


@dataclass(frozen=True, slots=True)
class Variable:
    """A setting from the environment; ``keys`` is where it goes."""

    name: str
    keys: tuple[str, ...]
    value: Any = field(repr=False)

    def holds(self, location: Sequence[str]) -> bool:
        """Whether what is at ``location``, or something below it, is from here."""
        above = min(len(self.keys), len(location))
        if self.keys[:above] != tuple(location[:above]):
            return False
        inner = self.value
        for key in location[above:]:
            if not isinstance(inner, Mapping) or key not in inner:
                return False
            inner = inner[key]
        return True


def faults_of(error: ValidationError, schema: Schema, variables: Sequence[Variable]) -> list[str]:
    """Every fault as one line.

    Args:
        schema: JSON Schema of the settings.
    """
    words = _Words(schema, variables)
    return [words.fault(item["type"], item["loc"], item["msg"]) for item in error.errors(include_input=False)]


@dataclass(frozen=True, slots=True)
class _Words:
    schema: Schema
    variables: Sequence[Variable]

    def fault(self, kind: str, location: Location, message: str) -> str:
        where = self._where(location)
        match kind:
            case "union_tag_invalid" | "union_tag_not_found":
                where = self._where([*location, "type"])
                return f"{where}: must be {_one_of(list(_tags(self.at(location))))}"
            case "extra_forbidden":
                return f"{where}: there is no such setting; {self._instead(location)}"
            case "value_error":
                return f"{where}: {message.removeprefix('Value error, ')}"
            case "missing":
                return f"{where}: is missing; it must be {self._allowed(self.at(location))}"
            case _:
                return f"{where}: must be {self._allowed(self.at(location))}"

    def _where(self, location: Location) -> str:
        """The key, and the variable that set it or something in it."""
        source = self._source(location)
        return f"{self._key(location)} ({source.name})" if source else self._key(location)

    def _key(self, location: Location) -> str:
        parts = self._without_tags(location)
        key = "".join(f"[{part}]" if isinstance(part, int) else f"{_DOT}{part}" for part in parts)
        return key.removeprefix(_DOT) or "settings"

    def _source(self, location: Location) -> Variable | None:
        plain = [str(part) for part in self._without_tags(location)]
        return next((variable for variable in reversed(self.variables) if variable.holds(plain)), None)

    def _without_tags(self, location: Location) -> list[str | int]:
        """``location`` without the tag that pydantic puts after the index of a tagged value."""
        return [part for i, part in enumerate(location) if part not in _tags(self.at(location[:i]))]

    def _instead(self, location: Location) -> str:
        """The nearest key beside the unknown one, or anywhere if that is a section, else all keys beside it."""
        *above, name = location
        parent = f"{self._key(above)}{_DOT}" if above else ""
        beside = {key: f"{parent}{key}" for key in self.at(above).get("properties", {})}
        source = self._source(location)
        by_name = source if source and len(source.keys) >= len(location) else None
        asked = "_".join(by_name.keys) if by_name and not above else str(name)
        known = beside if above else {_flat(key): key for key in self._keys_below(self.schema, "")}
        if near := difflib.get_close_matches(_flat(asked), known, n=1, cutoff=_NEAR):
            return f"did you mean {_as_written(known[near[0]], by_name)}?"
        return f"there are {', '.join(beside.values())}"

    def _keys_below(self, node: Schema, parent: str) -> Iterator[str]:
        for name, inner in self._resolved(node).get("properties", {}).items():
            yield f"{parent}{name}"
            yield from self._keys_below(inner, f"{parent}{name}{_DOT}")

    def at(self, location: Location) -> Schema:
        """The schema of what is at ``location``; empty where there is nothing."""
        node = self._resolved(self.schema)
        for part in location:
            if isinstance(part, int):
                node = self._resolved(node.get("items", {}))
            elif part in _tags(node):
                node = self._resolved({"$ref": _tags(node)[part]})
            else:
                node = self._resolved(node.get("properties", {}).get(part, {}))
        return node

    def _resolved(self, node: Schema) -> Schema:
        """``node`` with its reference followed, and without "or null"."""
        if "$ref" in node:
            return self._resolved(self.schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        some = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
        return self._resolved(some[0]) if len(some) == 1 else node

    def _allowed(self, node: Schema) -> str:
        if "enum" in node or "const" in node:
            return _one_of(node.get("enum", [node.get("const")]))
        match node.get("type"):
            case "boolean":
                return "true or false"
            case "integer" | "number":
                return _number(node)
            case "array":
                least = " of at least one item" if node.get("minItems") else ""
                return f"a list{least}: {self._allowed(self._resolved(node['items']))}"
            case "string":
                return _text(node)
            case _:
                return "a table"


def _tags(node: Schema) -> Mapping[Any, str]:
    tags: Mapping[Any, str] = node.get("discriminator", {}).get("mapping", {})
    return tags


def _as_written(key: str, source: Variable | None) -> str:
    """``key`` as the name of a variable, if the faulty one is the name of ``source``."""
    if source is None:
        return key
    prefix = source.name[: len(source.name) - len("__".join(source.keys))]
    return prefix + key.replace(_DOT, "__").upper()


def _flat(key: str) -> str:
    return key.lower().replace(_DOT, "_").replace("__", "_")


def _one_of(values: Sequence[Any]) -> str:
    names = [str(value) for value in values]
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _number(node: Schema) -> str:
    what = "a whole number" if node["type"] == "integer" else "a number"
    words = (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "up to"))
    return f"{what} {', '.join(f'{word} {node[name]:,}' for name, word in words if name in node)}"


def _text(node: Schema) -> str:
    if "description" in node:
        return str(node["description"])
    if node.get("format") == "uri":
        return "an address that starts with http:// or https://"
    if node.get("format") == "path":
        return "a path"
    return "text, not empty" if node.get("minLength") else "text"
