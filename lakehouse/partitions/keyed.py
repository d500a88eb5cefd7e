"""Partitions that go by their keys: none, a fixed list of them, or those that are registered as time goes by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten
from lakehouse.partitions.core import Key, Now, Pairs, PartitionRange, Partitions, PartitionSet, Present, Span


@final
@dataclass(frozen=True, kw_only=True)
class Unpartitioned(Partitions):
    """An asset that is built as a whole: one partition, with an empty key."""

    kind: ClassVar[str] = "unpartitioned"

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind,)

    @property
    def form(self) -> str:
        return "nothing"

    def all(self, now: Now) -> PartitionSet:
        return PartitionSet(self, ((0, 1),))

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        return chosen

    def key(self, ordinal: int) -> str:
        return ""

    def parse(self, key: object) -> int:
        if key == "":
            return 0
        raise PartitionError(
            f"partition {key!r} was given, but the asset is not partitioned", hint="leave partitions out"
        )

    def token(self, ordinal: int) -> str:
        return ""

    def from_token(self, token: str) -> int:
        return self.parse(token)

    def __str__(self) -> str:
        return "unpartitioned"


@final
@dataclass(frozen=True, kw_only=True)
class Static(Partitions):
    """A partition for each of a fixed list of keys.

    Parameters:
        keys: the keys; integers are taken as their text
        column: the column whose value (as text) is the key

    Raises:
        DefinitionError: no keys, an empty one, or one twice

    Examples:
        >>> Static(["EWR", "JFK", "LGA"], column="origin").select("JFK").keys()
        ['JFK']
    """

    keys: tuple[str, ...]
    kind: ClassVar[str] = "static"
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __init__(self, keys: Iterable[str | int], *, column: str | None = None) -> None:
        listed = tuple(str(key) for key in keys) if isinstance(keys, Iterable) else ()
        index = {key: i for i, key in enumerate(listed)}
        if isinstance(keys, str) or not listed or "" in index or len(index) != len(listed):
            raise DefinitionError(f"static partitions need a list of different, non-empty keys; given {keys!r:.100}")
        object.__setattr__(self, "keys", listed)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "_index", index)

    def __hash__(self) -> int:
        return hash((self.keys, self.column))

    @property
    def ordered(self) -> bool:
        return False

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind, self.keys)

    @property
    def form(self) -> str:
        return shorten(self.keys)

    def including(self, pairs: Pairs) -> Static:
        # At the end, so that ordinals stay what they are. Two different keys are a range of something else.
        more = dict.fromkeys(first for first, last in pairs if first == last and first and first not in self._index)
        return Static([*self.keys, *more], column=self.column) if more else self

    def all(self, now: Now) -> PartitionSet:
        return PartitionSet(self, ((0, len(self.keys)),))

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        return chosen & PartitionSet(self, ((0, len(self.keys)),))

    def key(self, ordinal: int) -> str:
        return self.keys[ordinal]

    def parse(self, key: object) -> int:
        try:
            return self._index[str(key)]
        except KeyError:
            raise PartitionError(
                f"{key!r} is no partition key of {self}; the keys are {shorten(self.keys)}",
                hint=nearest(str(key), self.keys),
            ) from None

    def _spans_of_text(self, text: str, now: Present | None) -> Iterator[Span]:
        if text in self._index:  # a key may hold a comma or dots of its own
            yield self._index[text], self._index[text] + 1
        else:
            yield from super()._spans_of_text(text, now)

    def token(self, ordinal: int) -> str:
        return _escaped(self.keys[ordinal])

    def from_token(self, token: str) -> int:
        return self.parse(_plain(token))

    def __str__(self) -> str:
        return f"static {shorten(self.keys, 3)}"


@final
@dataclass(frozen=True, kw_only=True)
class Dynamic(Partitions):
    """A partition for each key that was registered under a name; keys may be added at any time.

    Which keys there are is no part of the definition: a [Present][] brings them along. A key is any printable text
    without ``|``; as a path it takes 200 characters at most (a letter of the alphabet, a
    digit, ``-`` and ``_`` take one; any other character three for each byte).

    Parameters:
        name: what the keys are registered under; assets that give the same name share them
        column: the column whose value (as text) is the key

    Raises:
        DefinitionError: an empty name

    Examples:
        >>> from datetime import UTC, datetime
        >>> customers = Dynamic("customers", column="customer")
        >>> present = Present(datetime(2013, 1, 1, tzinfo=UTC), {"customers": ["acme", "globex"]})
        >>> customers.all(present).keys()
        ['acme', 'globex']
        >>> customers.select("acme", now=present).keys()
        ['acme']
    """

    name: str
    kind: ClassVar[str] = "dynamic"
    _LONGEST: ClassVar[int] = 200

    def __init__(self, name: str, *, column: str | None = None) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(
                f"dynamic partitions need a name to register keys under; given {name!r}",
                hint="e.g. Dynamic('customers', column='customer')",
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "column", column)

    @property
    def ordered(self) -> bool:
        return False

    @property
    def scattered(self) -> bool:
        return True

    @property
    def unending(self) -> bool:
        return True

    @property
    def comes(self) -> str:
        return "a dynamic partition is there once its key is registered"

    @property
    def label(self) -> str:
        return f"dynamic {self.name}"

    @property
    def domain(self) -> tuple[Any, ...]:
        return (self.kind, self.name)

    @property
    def form(self) -> str:
        return f"text of 1 to {self._LONGEST} printable characters, without |"

    def all(self, now: Now) -> PartitionSet:
        ordinals = (self.parse(key) for key in Present.of(now).keys.get(self.name, ()))
        return PartitionSet(self, tuple((o, o + 1) for o in ordinals))

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        return chosen

    def key(self, ordinal: int) -> str:
        number = ordinal >> 1
        return number.to_bytes((number.bit_length() + 7) // 8, "big")[1:].decode()

    def parse(self, key: object) -> int:
        text = str(key) if isinstance(key, str | int) and not isinstance(key, bool) else ""
        # Most keys are plain and short; only of others it takes counting.
        plain = text.isalnum() and text.isascii() and len(text) <= self._LONGEST
        if not plain and (not text.isprintable() or "|" in text or not 0 < len(_escaped(text)) <= self._LONGEST):
            raise self._wrong(key)
        # Text and integer for each other, without a list of keys. A one stands before the text, so that its length is
        # kept; only every other integer is a key, so that no two keys touch and no range is more than one of them.
        return int.from_bytes(b"\x01" + text.encode(), "big") << 1

    def contiguous(self, low: int, high: int) -> bool:
        return high - low == 1

    def _spans_of_text(self, text: str, now: Present | None) -> Iterator[Span]:
        if now is not None and text in now.keys.get(self.name, ()):  # a key may hold a comma or dots of its own
            ordinal = self.parse(text)
            yield ordinal, ordinal + 1
        else:
            yield from super()._spans_of_text(text, now)

    def range(self, first: Key, last: Key) -> PartitionRange:
        raise PartitionError(
            f"{first}...{last} is no range of {self}: dynamic keys have no order", hint="name them one by one"
        )

    def _span_of_range(self, first: str, last: str, now: Present | None) -> Span:
        found = self.range(first, last)
        return found.low, found.high

    def token(self, ordinal: int) -> str:
        return _escaped(self.key(ordinal))

    def from_token(self, token: str) -> int:
        return self.parse(_plain(token))

    def __str__(self) -> str:
        return self.label


_ODD = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"(?:~[0-9a-f]{2})+")


def _escaped(key: str) -> str:
    """A key as a name that is safe in a path. Table formats escape percent signs once more, so it is a tilde."""
    return _ODD.sub(lambda m: "".join(f"~{b:02x}" for b in m[0].encode()), key)


def _plain(token: str) -> str:
    """The key of a token."""
    try:
        key = _ESCAPED.sub(lambda m: bytes.fromhex(m[0].replace("~", "")).decode(), token)
    except ValueError:
        key = ""
    if not key or _escaped(key) != token:
        raise PartitionError(f"{token!r} names no partition in storage")
    return key
