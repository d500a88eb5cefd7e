"""Constants as text: the same in every process, on every Python and machine, and another for every other value.

Libraries of data are known by what their values can do, and not imported.
"""

from __future__ import annotations

import array
import datetime as dt
import hashlib
import json
import re
import sys
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Final

ATOMS: Final = (bool, int, float, complex, str, bytes, type(None), type(...), type(NotImplemented))

_SLICE = 100_000
"""How many values of a frame are looked at together."""
_JSON = frozenset({bool, int, float, str, type(None)})


class Opaque(Exception):
    """A value of which nobody can say whether it is the same in another process."""


def plain(value: Any, homes: Sequence[Path] = ()) -> str | None:
    """A constant that holds no others, as text; None: it is something else.

    Parameters:
        value: the value
        homes: folders that lie elsewhere on other machines; paths below them are relative to them

    Examples:
        >>> plain(1.0), plain(1), plain(True), plain("1")
        ('1.0', '0x1', 'True', "'1'")
        >>> plain(Path("/home/me/shop/rates.csv"), [Path("/home/me/shop")])
        "path './rates.csv'"
    """
    kind = type(value)
    if kind in ATOMS:
        return _atom(value, homes)
    match value:
        case PurePath():
            return f"path {_below(value.as_posix(), homes)!a}"
        case dt.datetime():
            return f"{_name(kind)} {value.replace(tzinfo=None).isoformat()} {value.fold} {_zone(value.tzinfo)}"
        case dt.time():
            return f"{_name(kind)} {value.replace(tzinfo=None).isoformat()} {value.fold} {_zone(value.tzinfo)}"
        case dt.date() | uuid.UUID() | Decimal() | Fraction():
            return f"{_name(kind)} {value!s}"
        case dt.timedelta():
            return f"{_name(kind)} {value.days} {value.seconds} {value.microseconds}"
        case dt.tzinfo():
            return _zone(value)
        case re.Pattern():
            return f"pattern {_atom(value.pattern, homes)} {int(value.flags)}"
        case range() | slice():
            return f"{kind.__name__} {value.start!r} {value.stop!r} {value.step!r}"
        case bytearray() | memoryview():
            return f"{kind.__name__} {hashed(bytes(value))}"
    return None


def is_plain(value: Any) -> bool:
    """Whether a value is data: a constant, a container, or a frame or the like."""
    return plain(value) is not None or type(value) in (list, tuple, dict, set, frozenset) or _kind(value) is not None


def hashed(data: bytes) -> str:
    """Stands for some bytes."""
    return hashlib.sha256(data).hexdigest()


def brief(text: str) -> str:
    """A text, or what stands for it if it is long."""
    return text if len(text) <= 200 else hashed(text.encode())


def many(values: Sequence[Any]) -> str | None:
    """A long sequence of simple values as text, without a look at each; None: look at each."""
    if len(values) < 100 or not _JSON.issuperset(map(type, values)):
        return None
    try:
        return hashed(json.dumps(values).encode())
    except ValueError:  # a number of thousands of digits
        return None


def _atom(value: Any, homes: Sequence[Path]) -> str:
    match value:
        case str():
            return brief(ascii(_below(value, homes)))
        case bytes():
            return brief(ascii(value))
        case bool():
            return str(value)
        case int():
            return f"{value:#x}"
    return repr(value)


def _below(path: str, homes: Sequence[Path]) -> str:
    for home in map(Path.as_posix, homes):
        if path == home or path.startswith(f"{home}/"):
            return f".{path[len(home) :]}"
    return path


def _zone(zone: dt.tzinfo | None) -> str:
    match zone:
        case None:
            return "naive"
        case dt.timezone():
            return f"offset {zone.utcoffset(None).total_seconds()} {zone.tzname(None)}"
        case zoneinfo.ZoneInfo() if zone.key:
            return f"zone {zone.key}"
    key = getattr(zone, "zone", None)  # pytz
    if isinstance(key, str):
        return f"zone {key}"
    raise Opaque


def _name(kind: type) -> str:
    return kind.__name__


# ── frames and arrays ─────────────────────────────────────────────────────────────────────


def frame(value: Any, inside: Callable[[Any], str]) -> str | None:
    """A frame, column, array, type or expression of polars, pandas, numpy or Arrow as text; None: it is none of these.

    Parameters:
        value: the value
        inside: gives values that it holds and that are not these libraries' own as text

    Raises:
        Opaque: it reads what lies elsewhere, such as a file
    """
    match _kind(value):
        case ("polars", "DataFrame"):
            return _columns(((c.name, c) for c in value.get_columns()), _polars_column, inside)
        case ("polars", "Series"):
            return f"series {value.name!a} {_polars_column(value, inside)}"
        case ("polars", "LazyFrame"):
            return _lazy(value, inside)
        case ("polars", "Expr"):
            return _expression(value, inside)
        case ("polars", "Schema"):
            return ascii([(name, str(dtype)) for name, dtype in value.items()])
        case ("polars", "DataType") | ("numpy", "dtype") | ("pyarrow", "DataType" | "Schema" | "Field"):
            return f"type {value!s}"
        case ("numpy", "ndarray"):
            return _array(value, inside)
        case ("numpy", "generic"):
            return f"{value.dtype!s} {hashed(value.tobytes())}"
        case ("pandas", "DataFrame"):
            parts = [(position, value.iloc[:, position]) for position in range(value.shape[1])]
            return f"{_pandas_index(value.columns, inside)} {_columns(parts, _pandas_series, inside)}"
        case ("pandas", "Series"):
            return f"series {inside(value.name)} {_pandas_series(value, inside)}"
        case ("pandas", "Index"):
            return _pandas_index(value, inside)
        case ("pyarrow", "Table" | "RecordBatch"):
            return _columns(zip(value.schema.names, value.columns, strict=True), _arrow_column, inside)
        case ("pyarrow", "Array" | "ChunkedArray"):
            return _arrow_column(value, inside)
    return None


def _kind(value: Any) -> tuple[str, str] | None:
    kinds = ((base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__)
    return next((kind for kind in kinds if kind in _FRAMES), None)


_FRAMES = {
    *(("polars", name) for name in ("DataFrame", "Series", "LazyFrame", "Expr", "Schema", "DataType")),
    *(("pandas", name) for name in ("DataFrame", "Series", "Index")),
    *(("pyarrow", name) for name in ("Table", "RecordBatch", "Array", "ChunkedArray", "DataType", "Schema", "Field")),
    *(("numpy", name) for name in ("ndarray", "generic", "dtype")),
}


def _columns(
    columns: Iterable[tuple[Any, Any]],
    column_text: Callable[[Any, Callable[[Any], str]], str],
    inside: Callable[[Any], str],
) -> str:
    return f"frame {hashed(ascii([(name, column_text(column, inside)) for name, column in columns]).encode())}"


_NUMBERS = {
    **{f"Int{bits}": code for bits, code in ((8, "b"), (16, "h"), (32, "i"), (64, "q"))},
    **{f"UInt{bits}": code for bits, code in ((8, "B"), (16, "H"), (32, "I"), (64, "Q"))},
    "Float32": "f",
    "Float64": "d",
}


def _polars_column(column: Any, inside: Callable[[Any], str]) -> str:
    dtype = str(column.dtype)
    if dtype.startswith(("Categorical", "Enum")):
        column = column.cast(str)
    elif dtype.partition("(")[0] in ("Date", "Datetime", "Duration", "Time", "Decimal"):
        column = column.to_physical()
    code = _NUMBERS.get(str(column.dtype))
    found = hashlib.sha256()
    for start in range(0, len(column), _SLICE):
        part = column.slice(start, _SLICE)
        if code is None:
            found.update(_listed(part.to_list(), inside))
            continue
        found.update(json.dumps(part.is_null().arg_true().to_list()).encode())
        numbers = array.array(code, part.fill_null(0).to_list())
        if sys.byteorder == "big":
            numbers.byteswap()
        found.update(numbers.tobytes())
    return f"{dtype} {len(column)} {found.hexdigest()}"


def _listed(values: list[Any], inside: Callable[[Any], str]) -> bytes:
    """Values, however nested, as bytes."""
    try:
        return json.dumps(values, default=lambda one: [inside(one)]).encode()
    except (TypeError, ValueError):
        return inside(values).encode()


def _array(value: Any, inside: Callable[[Any], str]) -> str:
    dtype = value.dtype
    data = _listed(value.tolist(), inside) if dtype.hasobject else value.astype(dtype.newbyteorder("<")).tobytes()
    return f"array {dtype.newbyteorder('<')!s} {value.shape} {hashed(data)}"


def _pandas_series(value: Any, inside: Callable[[Any], str]) -> str:
    return f"{_pandas_index(value.index, inside)} {_pandas_values(value, inside)}"


def _pandas_index(value: Any, inside: Callable[[Any], str]) -> str:
    return f"{inside(list(value.names))} {_pandas_values(value, inside)}"


def _pandas_values(value: Any, inside: Callable[[Any], str]) -> str:
    if value.dtype.__class__.__module__.startswith("numpy") and not value.dtype.hasobject:
        return _array(value.to_numpy(), inside)
    return f"{value.dtype!s} {hashed(_listed(value.tolist(), inside))}"


def _arrow_column(value: Any, inside: Callable[[Any], str]) -> str:
    return f"{value.type!s} {hashed(_listed(value.to_pylist(), inside))}"


def _lazy(value: Any, inside: Callable[[Any], str]) -> str:
    """A lazy frame is what it comes to, if all of it is in memory."""
    plan = str(value.explain(optimized=False))
    if any(word in plan for word in ("SCAN", "PYTHON", "python_udf")):
        raise Opaque
    return f"lazy {inside(value.collect())}"


def _expression(value: Any, inside: Callable[[Any], str]) -> str:
    """An expression, as polars writes it down; what it holds of data and functions as these are."""
    try:
        tree = json.loads(value.meta.serialize(format="json"))
    except Exception as error:
        raise Opaque from error
    return f"expression {hashed(_node(tree, inside).encode())}"


def _node(node: Any, inside: Callable[[Any], str]) -> str:
    if isinstance(node, dict):
        # What is left at its default may be new in the next polars.
        written = [
            f"{name}:{_node(one, inside)}" for name, one in sorted(node.items()) if one not in (None, False, [], {})
        ]
        return f"{{{','.join(written)}}}" if written or not node else f"{{{sorted(node)}}}"
    if isinstance(node, list):
        if len(node) > 8 and all(type(one) is int and 0 <= one < 256 for one in node):
            return _embedded(bytes(node), inside)
        return f"[{','.join(_node(one, inside) for one in node)}]"
    return ascii(node)


def _embedded(data: bytes, inside: Callable[[Any], str]) -> str:
    """What an expression holds as bytes: rows in Arrow's form, or a pickled function."""
    import io
    import pickle

    if data.startswith(b"\xff\xff\xff\xff"):
        frames = sys.modules["polars"].read_ipc_stream(io.BytesIO(data))
        return inside(frames)
    place = data.find(b"\x80")
    try:
        return inside(pickle.loads(data[place:]))
    except Opaque:
        raise
    except Exception as error:
        raise Opaque from error
