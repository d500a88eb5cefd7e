"""The types of a frame's columns as text, for another process."""

from __future__ import annotations

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
