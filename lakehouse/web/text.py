"""Text of other people as HTML: Markdown without HTML in it, code in colours. Nothing of it can do anything."""

from __future__ import annotations

import inspect
import textwrap
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from lakehouse.redaction import redacted


@lru_cache(maxsize=1)
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # Pictures would be fetched from wherever they are said to be.
    return MarkdownIt("commonmark", {"html": False, "typographer": False}).enable("table").disable("image")


@lru_cache(maxsize=4096)
def markdown(text: str) -> Markup:
    """Markdown as HTML; HTML in it is shown as it stands there.

    Examples:
        >>> markdown("a *b* <i>c</i>")
        Markup('<p>a <em>b</em> &lt;i&gt;c&lt;/i&gt;</p>\\n')
    """
    return Markup(_markdown().render(redacted(inspect.cleandoc(text)))) if text.strip() else Markup("")


def first_line(text: str) -> str:
    """The first paragraph of a description, as plain text of one line."""
    paragraph = inspect.cleandoc(text).partition("\n\n")[0] if text.strip() else ""
    return " ".join(redacted(paragraph).split())


@lru_cache(maxsize=4096)
def code(text: str, language: str) -> Markup:
    """Code in colours.

    Parameters:
        text: the code
        language: ``python`` or ``sql``
    """
    from pygments import highlight  # type: ignore[import-untyped]
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

    formatter: Any = HtmlFormatter(nowrap=True)
    return Markup(highlight(redacted(textwrap.dedent(text)), get_lexer_by_name(language), formatter))
