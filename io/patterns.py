"""Patterns of names: which files are meant, and which partition each of them belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, final

from lakehouse.errors import DefinitionError, PartitionError, nearest, shorten
from lakehouse.partitions import Multi, Partitions, TimePartitions, Unpartitioned

_WORD = re.compile(r"(\{[^{}]*\}|\*\*/|\*\*|\*)")
_PLACE = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_TIME = re.compile(r"[\dTWZ:+-]+")
"""What keys of time consist of. Most names are no key, and to be told so by an error takes long."""
_WHOLE: Final = "partition"


@final
@dataclass(frozen=True)
class Place:
    """Where a name says which partition a file belongs to.

    Parameters:
        name: ``partition``, or a dimension's name
        format: how a time is written there; empty: as the key is
    """

    name: str
    format: str = ""

    @property
    def slashes(self) -> int:
        """How many folders it goes down."""
        return self.format.count("/")


@final
@dataclass(frozen=True)
class Pattern:
    """The names of files below a folder.

    Parameters:
        text: the names: ``*`` stands for any part of one, ``**/`` for any folders, ``{partition}``, or the name of a
            dimension, for the key, or the part of it, that the file belongs to; ``{partition:%Y/%m/%d}`` where it is
            written otherwise

    Examples:
        >>> from lakehouse.partitions import Daily
        >>> Pattern("{partition}*.csv").keys("2013-01-31-a.csv", Daily("2013-01-01"))
        ('2013-01-31',)
    """

    text: str

    @staticmethod
    def begins(text: str) -> int:
        """Where the first thing stands that stands for others; the end, if there is none."""
        found = re.search(r"[*{]", text)
        return found.start() if found else len(text)

    def fits(self, path: str) -> bool:
        """Whether it may be the name of one of them."""
        return self._regex.fullmatch(path) is not None

    def check(self, partitions: Partitions) -> None:
        """See that it says which partition a file belongs to.

        Raises:
            DefinitionError: it doesn't, or as it can't be
        """
        named = {place.name: place for place in self._places}
        dimensions = [name for name, _ in partitions.parts] if isinstance(partitions, Multi) else []
        known = [_WHOLE, *dimensions]
        for name in named:
            if name not in known:
                raise DefinitionError(
                    f"{{{name}}} in the files {self.text!r} is none of {shorten([f'{{{one}}}' for one in known])}",
                    hint=nearest(name, known) or "{partition} stands for the partition's key, * for anything",
                )
        whole = not isinstance(partitions, Unpartitioned)
        if whole != bool(named) or (_WHOLE not in named and set(named) != set(dimensions)):
            lacking = [name for name in dimensions if named and name not in named]
            raise DefinitionError(
                f"the files {self.text!r} can't be those of {partitions}"
                + (f": nothing says which {' and '.join(lacking)}" if lacking else ""),
                hint="{partition} in the pattern stands for the partition's key: landing/{partition}/*.csv"
                if whole
                else "leave {partition} out, or give the source partitions",
            )
        for place in self._places:
            try:
                datetime.strptime(datetime(2013, 1, 31).strftime(place.format), place.format)
            except ValueError as error:
                raise DefinitionError(f"{{{place.name}:{place.format}}} can't be read as a time: {error}") from None

    def keys(
        self, path: str, partitions: Partitions, read: Callable[[Place, str, bool], str | None] | None = None
    ) -> tuple[str, ...]:
        """The partitions that a file may belong to by its name: at most one, but where that can't be told.

        Parameters:
            path: its path, below the folder
            partitions: what there may be
            read: what [reading][] gives; for many files it is made once
        """
        match = self._regex.fullmatch(path)
        if match is None:
            return ()
        read = read or reading(partitions)
        ways: Iterable[Mapping[str, str]]
        if self._sure:
            given = {place.name: read(place, match[f"p{i}"], False) for i, place in self._first.items()}
            told = {name: key for name, key in given.items() if key is not None}
            ways = [told] if len(told) == len(given) else []
        else:
            ways = self._ways(path, 0, 0, {}, {}, read)
        return tuple(dict.fromkeys(key for way in ways if (key := _joined(way, partitions)) is not None))

    def _ways(
        self,
        path: str,
        at: int,
        step: int,
        texts: Mapping[str, str],
        keys: Mapping[str, str],
        read: Callable[[Place, str, bool], str | None],
    ) -> Iterator[Mapping[str, str]]:
        """What each place may say, for each way in which the words from one on may make up the rest of a path."""
        if step == len(self._words):
            if at == len(path):
                yield keys
            return
        word = self._words[step]
        if isinstance(word, str) and word.startswith("*"):
            folder = path.find("/", at)
            last = len(path) if word != "*" or folder < 0 else folder
            for end in range(at, last + 1):
                if word != "**/" or end == at or path[end - 1] == "/":
                    yield from self._ways(path, end, step + 1, texts, keys, read)
        elif isinstance(word, str) or word.name in texts:
            text = word if isinstance(word, str) else texts[word.name]
            if path.startswith(text, at):
                yield from self._ways(path, at + len(text), step + 1, texts, keys, read)
        else:
            for end in range(at + 1, len(path) + 1):
                text = path[at:end]
                if text.count("/") > word.slashes:
                    break
                if (key := read(word, text, True)) is not None:
                    more = {**texts, word.name: text}, {**keys, word.name: key}
                    yield from self._ways(path, end, step + 1, *more, read)

    @cached_property
    def _words(self) -> tuple[str | Place, ...]:
        pieces = [piece for piece in _WORD.split(self.text) if piece]
        places = [_PLACE.fullmatch(piece) for piece in pieces]
        return tuple(
            Place(found[1], found[2] or "") if found else piece for piece, found in zip(pieces, places, strict=True)
        )

    @property
    def _places(self) -> list[Place]:
        return [word for word in self._words if isinstance(word, Place)]

    @cached_property
    def _first(self) -> dict[int, Place]:
        """Of each name the first place, by the number of its word."""
        found: dict[str, int] = {}
        for i, word in enumerate(self._words):
            if isinstance(word, Place):
                found.setdefault(word.name, i)
        return {i: word for i, word in enumerate(self._words) if isinstance(word, Place) and found[word.name] == i}

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        text = ""
        numbers = {place.name: i for i, place in self._first.items()}
        for i, word in enumerate(self._words):
            if isinstance(word, Place):
                piece = "[^/]+?" + "/[^/]+?" * word.slashes
                text += f"(?P<p{i}>{piece})" if numbers[word.name] == i else f"(?P=p{numbers[word.name]})"
            else:
                text += {"*": "[^/]*", "**": ".*", "**/": "(?:.*/)?"}.get(word) or re.escape(word)
        return re.compile(text, re.DOTALL)

    @cached_property
    def _sure(self) -> bool:
        """Whether a name can be read in one way alone: in no folder's name a place stands with what may be anything."""
        folders: list[list[str | Place]] = [[]]
        for word in self._words:
            if isinstance(word, Place) or word.startswith("*"):
                folders[-1].append(word)
            elif "/" in word:
                folders.append([])
        alone = (len(folder) == 1 or not any(isinstance(word, Place) for word in folder) for folder in folders)
        return "**" not in self.text and all(alone)


def reading(partitions: Partitions) -> Callable[[Place, str, bool], str | None]:
    """What reads the text at a place as a key, each text once; it gives None where the text is none.

    It is told whether the text has to be as the key itself would be written, so that ``2013111`` is no day.
    """
    told: dict[tuple[Place, str, bool], str | None] = {}
    named = dict(partitions.parts) if isinstance(partitions, Multi) else {}

    def read(place: Place, text: str, exactly: bool) -> str | None:
        asked = (place, text, exactly)
        if asked not in told:
            told[asked] = _key(named.get(place.name, partitions), place, text, exactly)
        return told[asked]

    return read


def _key(partitions: Partitions, place: Place, text: str, exactly: bool) -> str | None:
    value: Any = text
    if not place.format and isinstance(partitions, TimePartitions) and not _TIME.fullmatch(text):
        return None
    try:
        if place.format:
            moment = datetime.strptime(text, place.format)
            if exactly and moment.strftime(place.format) != text:
                return None
            value = moment if any(code in place.format for code in ("%H", "%I", "%M")) else moment.date()
        key = partitions.key(partitions.parse(value))
    except (ValueError, PartitionError):
        return None
    return None if exactly and not place.format and key != text else key


def _joined(way: Mapping[str, str], partitions: Partitions) -> str | None:
    """The key that places make up together."""
    if isinstance(partitions, Unpartitioned):
        return ""
    try:
        return way[_WHOLE] if _WHOLE in way else partitions.key(partitions.parse(way))
    except PartitionError:
        return None
