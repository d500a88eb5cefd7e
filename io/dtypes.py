"""The types of a frame's columns as text: for another process, and for people."""

from __future__ import annotations

import ast
import base64
import io
from collections.abc import Mapping
from typing import Any


def dtypes_to_text(dtypes: Mapping[str, Any]) -> str:
    """Types by column, as text.

    Parameters:
        dtypes: polars' types, by column

    Examples:
        >>> import polars as pl
        >>> dtypes_from_text(dtypes_to_text({"n": pl.UInt8, "when": pl.Duration("us")}))
        {'n': UInt8, 'when': Duration(time_unit='us')}
    """
    import polars as pl

    written = io.BytesIO()
    pl.DataFrame(schema=dtypes).write_ipc_stream(written)
    return base64.b64encode(written.getvalue()).decode()


def dtypes_from_text(text: str) -> dict[str, Any]:
    """Reads back what [dtypes_to_text][] wrote."""
    import polars as pl

    return dict(pl.read_ipc_stream(io.BytesIO(base64.b64decode(text))).schema)


def dtype_from_word(word: str) -> Any:
    """The type that polars calls by a word, as ``str`` gives it.

    Parameters:
        word: the type's name

    Raises:
        ValueError: polars has no such type

    Examples:
        >>> dtype_from_word("Struct({'when': Datetime(time_unit='us', time_zone='UTC'), 'n': List(Int8)})")
        Struct({'when': Datetime(time_unit='us', time_zone='UTC'), 'n': List(Int8)})
    """
    try:
        return _dtype(ast.parse(word, mode="eval").body)
    except (SyntaxError, TypeError, RecursionError) as error:
        raise ValueError(f"{word!r} is no type of polars") from error


def _dtype(node: ast.expr) -> Any:
    import polars as pl

    def named(name: ast.expr) -> Any:
        found = getattr(pl, name.id, None) if isinstance(name, ast.Name) else None
        if not (isinstance(found, type) and issubclass(found, pl.DataType)):
            raise ValueError(f"{ast.unparse(name)!r} is no type of polars")
        return found

    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return tuple(map(_dtype, node.elts)) if isinstance(node, ast.Tuple) else list(map(_dtype, node.elts))
        case ast.Dict():
            keys = [_dtype(key) for key in node.keys if key is not None]
            return dict(zip(keys, map(_dtype, node.values), strict=True))
        case ast.Name():
            return named(node)()
        case ast.Call():
            options = {one.arg: _dtype(one.value) for one in node.keywords if one.arg}
            return named(node.func)(*map(_dtype, node.args), **options)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is no type of polars")
