"""Partitions as a strip and as a calendar, numbers as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from html import escape
from typing import Final

from lakehouse.drawing.state import Piece, State, Stretch, said, stretches
from lakehouse.partitions import Partitions, TimePartitions

WIDTH: Final = 720
"""Pixels of a strip: where there are more stretches than these, the state that needs most attention a pixel."""

_NARROWEST = 2.0  # pixels of a state that needs attention, however few partitions are in it
_YEARS = 12
_CELL, _LEFT, _TOP, _YEAR = 13, 34, 16, 112
_BARS = 160
_WIDEST = 36.0


def strip(pieces: Sequence[Piece], *, width: int = WIDTH, titles: bool = False) -> str:
    """A bar of all partitions in their order, each stretch in the class of its state; empty: there is none.

    Parameters:
        pieces: disjoint pieces
        width: how finely it is drawn
        titles: whether each stretch says what it is, where there are not too many
    """
    found = stretches(pieces)
    if not found:
        return ""
    label = escape(said(pieces))
    head = f'<svg class="strip" viewBox="0 0 {width} 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
    if titles and len(found) <= _BARS:
        partitions = pieces[0].partitions.partitions
        shapes = "".join(
            f'<path class="{state.mark}" d="M{compact(x)} 5h{compact(w)}">'
            f"<title>{_title(partitions, one)}</title></path>"
            for one, (state, x, w) in zip(found, _placed(found, width), strict=True)
        )
        return f"{head}{shapes}</svg>"
    return f"{head}{_paths(_worst(found, width) if len(found) > width else _placed(found, width))}</svg>"


def bar(numbers: Iterable[tuple[State, int]], *, width: float, x: float = 0, y: float = 0, height: float = 6) -> str:
    """How many are in each state, side by side: shapes for inside another picture."""
    some = [(state, number) for state, number in numbers if number]
    total, at, found = sum(number for _, number in some), x, []
    for state, number in some:
        wide = number / total * width
        found.append(
            f'<rect class="{state.mark}" x="{compact(at)}" y="{y:g}" width="{compact(wide)}" height="{height:g}"/>'
        )
        at += wide
    return "".join(found)


def _placed(found: Sequence[Stretch], width: int) -> list[tuple[State, float, float]]:
    """Where each stretch lies; gaps between scattered ordinals are closed."""
    scale = width / sum(map(len, found))
    at, placed = 0, []
    for one in found:
        x, w = at * scale, len(one) * scale
        if one.piece.state.weight <= State.STALE.weight and w < _NARROWEST:
            x, w = max(min(x, width - _NARROWEST), 0), _NARROWEST
        placed.append((one.piece.state, x, w))
        at += len(one)
    return placed


def _worst(found: Sequence[Stretch], width: int) -> list[tuple[State, float, float]]:
    """For each pixel the state that needs most attention."""
    scale = width / sum(map(len, found))
    worst = [State.PUBLISHED] * width
    at = 0
    for one in found:
        first, last = int(at * scale), int((at + len(one)) * scale - 1e-9)
        for x in range(first, min(last, width - 1) + 1):
            if one.piece.state.weight < worst[x].weight:
                worst[x] = one.piece.state
        at += len(one)
    joined: list[tuple[State, float, float]] = []
    for x, state in enumerate(worst):
        if joined and joined[-1][0] is state:
            joined[-1] = (state, joined[-1][1], joined[-1][2] + 1)
        else:
            joined.append((state, x, 1))
    return joined


def _paths(placed: Iterable[tuple[State, float, float]]) -> str:
    """One path a state; those that need attention last, so that nothing covers them."""
    lines: dict[State, str] = {}
    for state, x, wide in placed:
        lines[state] = lines.get(state, "") + f"M{compact(x)} 5h{compact(wide)}"
    order = sorted(lines, key=lambda state: -state.weight)
    return "".join(f'<path class="{state.mark}" d="{lines[state]}"/>' for state in order)


def _title(partitions: Partitions, one: Stretch) -> str:
    why = f": {one.piece.why}" if one.piece.why else ""
    which = partitions.text(one.low, one.high)
    return escape(f"{which} {one.piece.state}{why}".strip())


def compact(number: float) -> str:
    """A number with no more digits than a picture needs."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


# ── calendar ──────────────────────────────────────────────────────────────────────────────


def has_calendar(partitions: Partitions) -> bool:
    """Whether partitions are pieces of time that a calendar's days tell apart: a day, or shorter."""
    return isinstance(partitions, TimePartitions) and partitions.kind not in ("weekly", "monthly", "cron")


def calendar(pieces: Sequence[Piece]) -> str:
    """Days as weeks across and weekdays down, a block a year, the newest first; empty: they are no days.

    Of partitions that are shorter than a day, a day is shown in the state that needs most attention.

    Parameters:
        pieces: disjoint pieces
    """
    if not pieces or not has_calendar(pieces[0].partitions.partitions):
        return ""
    days = _days(pieces)
    years = sorted({day.year for day in days}, reverse=True)[:_YEARS]
    places = {year: number for number, year in enumerate(years)}
    paths: dict[State, list[str]] = {}
    for day, state in days.items():
        if day.year in places:
            x, y = _cell(day)
            paths.setdefault(state, []).append(f"M{x} {y + places[day.year] * _YEAR}h11v11h-11z")
    texts = "".join(_labels(year, number * _YEAR) for year, number in places.items())
    shapes = "".join(f'<path class="{state.mark}" d="{"".join(d)}"/>' for state, d in paths.items())
    label = escape(f"calendar: {said(pieces)}")
    height = len(years) * _YEAR
    listed = ",".join(map(str, years))
    return (
        f'<svg class="calendar" viewBox="0 0 {_LEFT + 54 * _CELL} {height}" role="img" aria-label="{label}" '
        f'data-years="{listed}">{texts}{shapes}</svg>'
    )


def _days(pieces: Sequence[Piece]) -> dict[date, State]:
    """Each day that has a partition, with the state that needs most attention."""
    found: dict[date, State] = {}
    partitions = pieces[0].partitions.partitions
    oldest: date | None = None
    for piece in sorted(pieces, key=lambda piece: -piece.state.weight):  # what needs attention is painted over the rest
        for low, high in piece.partitions.spans:
            begin, end = (moment.replace(tzinfo=None) for moment in partitions.moments(low, high))
            first, last = begin.date(), (end - timedelta(microseconds=1)).date()
            if oldest is None:
                newest = partitions.moments(*max(span for one in pieces for span in one.partitions.spans))[1]
                oldest = date(max(newest.year - _YEARS, 1), 1, 1)
            for number in range(max(first, oldest).toordinal(), last.toordinal() + 1):
                found[date.fromordinal(number)] = piece.state
    return found


def _cell(day: date) -> tuple[int, int]:
    week = (day.timetuple().tm_yday - 1 + date(day.year, 1, 1).weekday()) // 7
    return _LEFT + week * _CELL, _TOP + day.weekday() * _CELL


def _labels(year: int, top: int) -> str:
    months = "".join(
        f'<text x="{_cell(date(year, month, 1 if month == 1 else 4))[0]}" y="{top + 10}">{name}</text>'
        for month, name in enumerate(_MONTHS, 1)
    )
    return f'<text class="year" x="0" y="{top + 26}">{year}</text>{months}'


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# ── numbers ───────────────────────────────────────────────────────────────────────────────


def bars(values: Sequence[tuple[str, float]], label: str, say: Callable[[float], str]) -> str:
    """Numbers side by side; of more than there is room for, means of neighbours. Empty: there are none.

    Parameters:
        values: what each is called, and the number
        label: what they are
        say: a number in words
    """
    if not values:
        return ""
    size = -(-len(values) // _BARS)
    groups = [values[at : at + size] for at in range(0, len(values), size)]
    shown = [(_between(group), sum(number for _, number in group) / len(group)) for group in groups]
    top = max(number for _, number in shown) or 1
    wide = min(WIDTH / len(shown), _WIDEST)
    gap = min(1.0, wide / 4)
    shapes = "".join(
        f'<rect x="{compact(at * wide)}" y="{compact(60 - number / top * 60)}" width="{compact(wide - gap)}" '
        f'height="{compact(number / top * 60)}"><title>{escape(name)}: {escape(say(number))}</title></rect>'
        for at, (name, number) in enumerate(shown)
    )
    mean = " (means of neighbours)" if size > 1 else ""
    numbers = [number for _, number in values]
    what = escape(f"{label}: {len(values):,} numbers from {say(min(numbers))} to {say(max(numbers))}{mean}")
    return (
        f'<svg class="bars" viewBox="0 0 {WIDTH} 60" preserveAspectRatio="none" role="img" aria-label="{what}">'
        f"{shapes}</svg>"
    )


def _between(group: Sequence[tuple[str, float]]) -> str:
    first, last = group[0][0], group[-1][0]
    return first if first == last else f"{first}...{last}"
