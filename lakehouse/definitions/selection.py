"""Selections: a few words that name many assets.

silver.flights              one asset
gold.*                      every asset whose key fits the pattern
gold                        a layer
tag:daily  group:x  owner:y assets that bear the word
+gold.*                     with everything they depend on
silver.flights+             with everything that depends on it
a and b, a or b, not a      combined; parentheses group; a comma or a space is "or"
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from lakehouse.definitions.asset import Asset, Layer
from lakehouse.definitions.graph import AssetGraph
from lakehouse.errors import SelectionError, UnknownAsset, nearest, shorten

Targets = Asset | str | Sequence[Asset | str]
"""What a person may name: an asset, a selection, or several."""

_TOKEN = re.compile(r"\s*([(),]|[^\s(),]+)")
_WORDS: dict[str, Callable[[Asset], Iterable[str]]] = {
    "tag": lambda asset: asset.tags,
    "group": lambda asset: (asset.group,) if asset.group else (),
    "owner": lambda asset: asset.owners,
    "layer": lambda asset: (str(asset.layer),),
}


def select(graph: AssetGraph, targets: Targets) -> tuple[Asset, ...]:
    """The assets that were named, producers before consumers.

    Parameters:
        graph: where to look
        targets: an asset, a selection string, or several of them

    Raises:
        UnknownAsset: a name that no asset has; says the nearest ones
        SelectionError: a selection that can't be read, or that names nothing

    Examples:
        >>> from lakehouse import bronze, silver
        >>> @bronze(tags=["daily"])
        ... def raw(): ...
        >>> @silver
        ... def clean(raw): ...
        >>> select(AssetGraph([clean]), "+silver.* and not tag:daily")
        (Asset(silver.clean),)
    """
    if isinstance(targets, str):
        keys = _Parser(graph, targets).parse()
    elif isinstance(targets, Asset):
        keys = {graph[targets].key}
    elif isinstance(targets, Iterable):
        keys = {key for target in targets for key in _keys(graph, target)}
    else:
        raise SelectionError(f"{targets!r} is no asset", hint="name an asset, a selection such as +gold.*, or several")
    if not keys:
        raise SelectionError(
            f"{targets!r} selects no asset; there are {shorten(graph.assets)}",
            hint="lakehouse ls shows them all",
        )
    return tuple(asset for key, asset in graph.assets.items() if key in keys)


def _keys(graph: AssetGraph, target: Targets) -> Iterable[str]:
    return [graph[target].key] if isinstance(target, Asset) else (asset.key for asset in select(graph, target))


def among(graph: AssetGraph, selection: str) -> frozenset[str]:
    """Keys of the assets that a selection names, be they none: what a name that no asset has would name is left out.

    Parameters:
        graph: where to look
        selection: a selection, for all graphs that it may be held against

    Raises:
        SelectionError: it can't be read

    Examples:
        >>> among(AssetGraph([]), "bronze and not tag:daily")
        frozenset()
    """
    return frozenset(_Lenient(graph, selection).parse())


class _Parser:
    """Recursive descent over: or -> and -> not -> (group) | +name+."""

    def __init__(self, graph: AssetGraph, text: str) -> None:
        self.graph = graph
        self.text = text
        self.tokens = _TOKEN.findall(text)
        self.at = 0

    def parse(self) -> set[str]:
        if not self.tokens:
            raise SelectionError("the selection is empty", hint="name an asset, e.g. silver.flights, or +gold.*")
        found = self.any_of()
        if self.at < len(self.tokens):
            raise self.fault(f"{self.tokens[self.at]!r} is not expected there")
        return found

    def any_of(self) -> set[str]:
        found = self.all_of()
        while (token := self.peek()) is not None and token != ")":
            if token in ("or", ","):
                self.at += 1
            found = found | self.all_of()
        return found

    def all_of(self) -> set[str]:
        found = self.one()
        while self.peek() == "and":
            self.at += 1
            found = found & self.one()
        return found

    def one(self) -> set[str]:
        token = self.peek()
        self.at += 1
        if token == "not":
            return set(self.graph.assets) - self.one()
        if token == "(":
            found = self.any_of()
            if self.peek() != ")":
                raise self.fault("a parenthesis is not closed")
            self.at += 1
            return found
        if token is None:
            raise self.fault("it ends where a name should stand")
        if token in (")", ",", "and", "or"):
            raise self.fault(f"a name is missing before {token!r}")
        return self.named(token)

    def named(self, token: str) -> set[str]:
        name = token.removeprefix("+").removesuffix("+")
        if not name:
            raise self.fault(f"{token!r} names nothing")
        found = self.match(name)
        if token.startswith("+"):
            found |= {a.key for key in list(found) for a in self.graph.ancestors(key)}
        if token.endswith("+"):
            found |= {a.key for key in list(found) for a in self.graph.descendants(key)}
        return found

    def match(self, name: str) -> set[str]:
        word, colon, value = name.partition(":")
        if colon:
            if word not in _WORDS:
                raise self.fault(f"{name!r} is not known; there are {', '.join(f'{w}:' for w in _WORDS)}")
            found = {a.key for a in self.graph if any(fnmatch.fnmatchcase(w, value) for w in _WORDS[word](a))}
            there = sorted({w for a in self.graph for w in _WORDS[word](a) if w})
            if not found:
                raise SelectionError(
                    f"no asset has the {word} {value!r}; there are {shorten(there) or 'none'}",
                    hint=nearest(value, there),
                )
            return found
        if name in list(Layer):
            return {a.key for a in self.graph if a.layer == name}
        found = {key for key in self.graph.assets if fnmatch.fnmatchcase(key, name)}
        if not found:
            known = self.graph.assets
            raise UnknownAsset(f"there is no asset {name!r}; there are {shorten(known)}", hint=nearest(name, known))
        return found

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def fault(self, why: str) -> SelectionError:
        return SelectionError(
            f"the selection {self.text!r} can't be read: {why}",
            hint="for example: +gold.*, silver.flights+, tag:daily and not bronze",
        )


class _Lenient(_Parser):
    """The same, where a name may be that of no asset."""

    def match(self, name: str) -> set[str]:
        word, colon, _ = name.partition(":")
        try:
            return super().match(name)
        except UnknownAsset:
            return set()
        except SelectionError:
            if colon and word in _WORDS:
                return set()
            raise
