"""No secret leaves: what is said of errors, settings and places is cleared of credentials before anybody reads it.

Secrets are known by where they stand in a text (in a URL, after a name such as ``password``), by their own form (a
GitHub token, a private key), and as the values that the environment keeps under such a name. In doubt too much is
hidden: a message that says too little is mended more easily than a password in a log.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

MASK: Final = "***"
"""What stands in place of a secret."""

_WORD = (
    r"(?:secret|passw(?:or)?d|passphrase|pwd|(?:access|api|account|private|encryption|signing|sas)[-_. ]?key"
    r"|sse[-_]customer|token(?!s|iz)|signature|credential|authorization|cookie|session[-_]?id)"
)
_NAME = rf"[\w.\-]*{_WORD}[\w.\-]*"
_ALONE = r"(?:token|signature|credentials?)"
"""Words that prose also uses before a colon: an unexpected token: ..."""

# A quote may itself be escaped, as in JSON within JSON, and a text that was cut off lacks the second one.
_TEXT = r'"(?:[^"\\]|\\.)*"' r"|'(?:[^'\\]|\\.)*'"
_QUOTED = rf"""[bru]?(?:{_TEXT}|(?P<escaped>\\+["']).*?(?P=escaped)|\\*["'].*)"""
_LISTED = rf"""\[(?:{_TEXT}|[^\]"'])*\]?|\((?:{_TEXT}|[^)"'])*\)?|{{(?:{_TEXT}|[^}}"'])*}}?"""
# Up to the next blank, or to what can only be the next pair; the brackets and quotes around all of it stay.
_ENDS = r"""(?=[)\]}>"',;.\\]*(?:\s|$)|[,;&]\s*\\*["']?[\w.\-]+\\*["']?\s*[=:]|["']\s*[,)\]}])"""
_BARE = rf"(?:(?:Bearer|Basic|Digest|Token)\s+)?\S+?{_ENDS}"
_HIDDEN = r"""\*{3}(?![^\s,;&)\]}>"'\\])"""
_VALUE = rf"(?:{_HIDDEN}|{_QUOTED}|{_LISTED}|{_BARE})"


def _rule(kept: str, hidden: str, then: str = "") -> tuple[re.Pattern[str], str]:
    flags = re.IGNORECASE | re.DOTALL
    return re.compile(f"(?P<kept>{kept}){hidden}(?P<then>{then})", flags), rf"\g<kept>{MASK}\g<then>"


_RULES: Final = (
    # scheme://user:password@host, percent-encoded too; a password may have slashes and ats that nobody escaped.
    _rule(r"://|%3A%2F%2F", r"[^\s/?#:]*(?::|%3A)(?:(?!://|%3A%2F%2F)\S)*", r"@|%40"),
    # https://token@host; where storage names a container before an @, it is no secret.
    _rule(r"https?://", r"[^\s/?#:@]+", "@"),
    _rule(r"[?&](?:sig|key|auth|jwt|code)=", _BARE),
    # Headers go on to the end of their line.
    _rule(r"(?<![\w.\-])(?:(?:proxy-)?authorization|(?:set-)?cookie):\s*", r"""[^\n"'\\]+"""),
    _rule(rf"""(?P<quote>\\*["']){_NAME}(?P=quote)\s*(?:[:=]|=>)\s*""", _VALUE),
    _rule(rf"""(?P<quote>\\*["']){_NAME}(?P=quote)\s*,\s*""", _QUOTED),
    _rule(rf"(?<![\w.\-]){_NAME}\s*={{1,2}}>?\s*", _VALUE),
    _rule(rf"(?<![\w.\-])(?!{_ALONE}:){_NAME}:\s*(?!//)", _VALUE),
    _rule(rf"<(?P<tag>{_NAME})>", r"[^<]*", r"</(?P=tag)>"),
    _rule(r"\b(?:Bearer|Basic)\s+", r"[\w.~+/\-]{8,}=*"),
    _rule("", r"\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*"),
    _rule("", r"\b(?:gh[pousr]_|github_pat_|xox[abeprs]-|sk-|pnu_|pnb_|AIza)[\w\-]{16,}"),
    _rule("", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _rule(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", r".*?", r"-----END [A-Z ]*PRIVATE KEY-----|$"),
)

_SECRET_NAME = re.compile(_WORD, re.IGNORECASE)
_PLACE = re.compile(r"_(?:FILE|PATH|DIR|URL|URI|PROVIDER|PLUGIN)$", re.IGNORECASE)
_FOLDERS = ("PWD", "OLDPWD")
_SHORTEST = 8


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without the credentials in it.

    Parameters:
        text: what is to be said
        secrets: values that are known to be secret, besides those that the environment keeps

    Returns:
        the text, with `MASK` in place of each

    Examples:
        >>> redacted("postgresql://ann:hunter2@db/orders is not there")
        'postgresql://***@db/orders is not there'
        >>> redacted("GET https://lake/a.csv?X-Amz-Expires=60&X-Amz-Signature=3f9a failed")
        'GET https://lake/a.csv?X-Amz-Expires=60&X-Amz-Signature=*** failed'
        >>> redacted("{'aws_region': 'eu-central-1', 'aws_secret_access_key': 'abc'}")
        "{'aws_region': 'eu-central-1', 'aws_secret_access_key': ***}"
    """
    for secret in sorted({*secrets, *_kept_by_the_environment()}, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), repr(secret)[1:-1]}:
            text = text.replace(form, MASK)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def names_secret(name: str) -> bool:
    """Whether what bears such a name is a secret.

    Examples:
        >>> names_secret("aws_secret_access_key"), names_secret("aws_region")
        (True, False)
    """
    return _SECRET_NAME.search(name) is not None


def holds_credentials(uri: str) -> bool:
    """Whether a place is named together with the credentials for it.

    Examples:
        >>> holds_credentials("s3://key:secret@lake"), holds_credentials("s3://lake/a@b")
        (True, False)
    """
    _, mark, rest = uri.partition("://")
    host, *_ = re.split("[/?#]", rest)
    # A password that nobody escaped may have a slash: then what stands before it is no host with its port.
    return bool(mark) and ("@" in host or ("@" in rest and re.search(r":(?!\d+$)", host) is not None))


def _kept_by_the_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) < _SHORTEST or not names_secret(name) or name in _FOLDERS or _PLACE.search(name):
            continue
        # A word or a path under such a name is more likely a setting, and may stand anywhere.
        if not value.isalpha() and not (os.path.isabs(value) and os.path.exists(value)):
            yield value


class Redacting(logging.Filter):
    """Clears what is logged, with its traceback, before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, cleared."""
        try:
            text = record.getMessage()
        except Exception:  # a record that can't be formatted is for its handlers to complain of
            return True
        cleared = redacted(text)
        if cleared != text:
            record.msg, record.args = cleared, None
        if record.exc_info and not record.exc_text:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


REDACTING: Final = Redacting()
"""The one filter; a logger that has it already doesn't get it a second time."""


def logger(name: str = "lakehouse") -> logging.Logger:
    """A logger whose records hold no secrets.

    Parameters:
        name: its name

    Examples:
        >>> logger().name
        'lakehouse'
    """
    found = logging.getLogger(name)  # noqa: TID251
    found.addFilter(REDACTING)
    return found
