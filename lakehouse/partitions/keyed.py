"""Partitions that go by their keys: none, a fixed list of them, or those that are registered as time goes by."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, final

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten
from lakehouse.partitions.core import (
    LONGEST_TOKEN,
    Key,
    Now,
    Pairs,
    PartitionRange,
    Partitions,
    PartitionSet,
    Present,
    Span,
    misspelt_range,
)


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


@dataclass(frozen=True, kw_only=True)
class KeyedPartitions(Partitions):
    """Partitions whose keys are text that people give: see [Static][] and [Dynamic][]."""

    @property
    def ordered(self) -> bool:
        return False

    @abstractmethod
    def _known(self, now: Present | None) -> Collection[str]:
        """The keys that are there, as far as that can be said."""

    def token(self, ordinal: int) -> str:
        return escaped(self.key(ordinal))

    def from_token(self, token: str) -> int:
        return self.parse(_plain(token))

    def _spans_of_text(self, text: str, now: Present | None) -> Iterator[Span]:
        known = self._known(now)
        words = [text] if text in known else text.split(",")
        self._check_clear(text, words, known)
        for word in words:
            # A key may hold dots or blanks of its own.
            key = next((one for one in (word, word.strip()) if one in known), None)
            if key is None:
                yield from super()._spans_of_text(word, now)
            else:
                yield from self._spans_of_item(key, now)

    def _check_clear(self, text: str, words: Sequence[str], known: Collection[str]) -> None:
        """See that no neighbours among words could also be one key, which holds the commas between them."""
        most = max((key.count(",") for key in known), default=0) if len(words) > 1 else 0
        for first in range(len(words)):
            for last in range(first + 2, min(first + most + 1, len(words)) + 1):
                both = ",".join(words[first:last])
                if both in known or both.strip() in known:
                    raise PartitionError(
                        f"{text!r} can be read in more than one way: {both.strip()!r} is a key too",
                        hint="give a list of keys; on the command line, each with --partition",
                    )


@final
@dataclass(frozen=True, kw_only=True)
class Static(KeyedPartitions):
    """A partition for each of a fixed list of keys.

    Parameters:
        keys: the keys; integers are taken as their text
        column: the column whose value (as text) is the key

    Raises:
        DefinitionError: no keys, an empty one, one twice, or one that can be no name in storage

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
        for key in listed:
            if why := _unfit(key, LONGEST_TOKEN):
                raise DefinitionError(f"static partitions can't have the key {key!r:.60}: {why}")
        object.__setattr__(self, "keys", listed)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "_index", index)

    def __hash__(self) -> int:
        return hash((self.keys, self.column))

    @cached_property
    def longest(self) -> int:
        """How many characters the longest of their names in storage has."""
        return max(len(escaped(key)) for key in self.keys)

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
                hint=misspelt_range(key) or nearest(str(key), self.keys),
            ) from None

    def _known(self, now: Present | None) -> Collection[str]:
        return self._index

    def __str__(self) -> str:
        return f"static {shorten(self.keys, 3)}"


@final
@dataclass(frozen=True, kw_only=True)
class Dynamic(KeyedPartitions):
    """A partition for each key that was registered under a name; keys may be added at any time.

    Which keys there are is no part of the definition: a [Present][] brings them along. A key is any text
    without control characters and ``|``; in a path it takes 200 characters at most (a letter of the alphabet, a
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
    LONGEST: ClassVar[int] = 200

    def __init__(self, name: str, *, column: str | None = None) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DefinitionError(
                f"dynamic partitions need a name to register keys under; given {name!r}",
                hint="e.g. Dynamic('customers', column='customer')",
            )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "column", column)

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
        return f"text of 1 to {self.LONGEST} printable characters, without |"

    def all(self, now: Now) -> PartitionSet:
        return self.of_keys(Present.of(now).keys.get(self.name, ()))

    def possible(self, chosen: PartitionSet) -> PartitionSet:
        return chosen

    def key(self, ordinal: int) -> str:
        number = ordinal >> 1
        return number.to_bytes((number.bit_length() + 7) // 8, "big")[1:].decode()

    def parse(self, key: object) -> int:
        text = str(key) if isinstance(key, str | int) and not isinstance(key, bool) else ""
        # Most keys are plain and short; only of others it takes counting.
        plain = text.isalnum() and text.isascii() and len(text) <= self.LONGEST
        if not plain and (why := self._unfit(text)):
            raise PartitionError(self._wrong(key).message, hint=why)
        # Text and integer for each other, without a list of keys. A one stands before the text, so that its length is
        # kept; only every other integer is a key, so that no two keys touch and no range is more than one of them.
        return int.from_bytes(b"\x01" + text.encode(), "big") << 1

    def _unfit(self, text: str) -> str | None:
        if "|" in text:
            return "| stands between the keys of several dimensions"
        if _CONTROL.search(text):
            return "it holds a control character"
        return _unfit(text, self.LONGEST)

    def contiguous(self, low: int, high: int) -> bool:
        return high - low == 1

    def _known(self, now: Present | None) -> Collection[str]:
        return () if now is None else now.keys.get(self.name, ())

    def range(self, first: Key, last: Key) -> PartitionRange:
        raise PartitionError(
            f"{first}...{last} is no range of {self}: dynamic keys have no order", hint="name them one by one"
        )

    def _span_of_range(self, first: str, last: str, now: Present | None) -> Span:
        found = self.range(first, last)
        return found.low, found.high

    def __str__(self) -> str:
        return self.label


_UNSPEAKABLE = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Written out: which characters count as printable differs between versions of Python."""


def _unfit(key: str, longest: int) -> str | None:
    """Why text can't be a key; None: it can."""
    if not key:
        return "it is empty"
    if _UNSPEAKABLE.search(key):
        return "it holds a character that no file's name and no command line can"
    if (length := len(escaped(key))) > longest:
        return (
            f"it takes {length} characters in a path, and {longest} is the most: one for a letter of the alphabet, "
            "a digit, - or _, and three for each byte of any other"
        )
    return None


_ODD = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"(?:~[0-9a-f]{2})+")


def escaped(key: str) -> str:
    """A key as a name that is safe in a path. Table formats escape percent signs once more, so it is a tilde."""
    return _ODD.sub(lambda m: "".join(f"~{b:02x}" for b in m[0].encode()), key)


def _plain(token: str) -> str:
    """The key of a token."""
    try:
        key = _ESCAPED.sub(lambda m: bytes.fromhex(m[0].replace("~", "")).decode(), token)
    except ValueError:
        key = ""
    if not key or escaped(key) != token:
        raise PartitionError(f"{token!r} names no partition in storage")
    return key
