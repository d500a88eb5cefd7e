"""The names of what a table consists of. Whoever writes one of them, or looks for it, asks here.

silver/flights/                    the table
├── _delta_log/                    its log: a file for each version
├── _turn                          while a process publishes to a table in a bucket: which one
├── _staged-<attempt>/             what an attempt wrote; published, its files stay here
│   ├── candidate.json             until then: what there is of it, written last
│   ├── order.json                 while it is made elsewhere: what is to be done
│   └── manifest.json              and how it ended, written last
└── _files/_partition=<token>/     of a raw asset: the files themselves, as they were sent
    └── <attempt>/<name>
silver/flights-quarantine/         beside it, the rows that were held back
└── <attempt>.parquet
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

LOG: Final = "_delta_log"
"""The folder of a table's log."""

TURN: Final = "_turn"
"""Says whose turn it is to publish to a table in a bucket."""

QUARANTINE: Final = "-quarantine"
"""What the name of the folder beside a table ends with that holds the rows that were held back."""

_FILES: Final = "_files"
"""Begins with an underscore, so that whoever vacuums the table leaves alone what its log doesn't name."""

CANDIDATE: Final = "candidate.json"
"""What there is of a candidate that is staged beside it."""

ORDER: Final = "order.json"
"""What is to be done elsewhere, beside the candidate that is staged there."""

MANIFEST: Final = "manifest.json"
"""How that ended."""

NOTES: Final = (ORDER, MANIFEST)
"""What is written beside a candidate, and goes once it is published."""

_STAGED: Final = "_staged-"
"""Likewise; tables that 0.1 wrote to have such folders without the underscore."""
_MARK: Final = "Partitions: "
_CLUSTERED: Final = "Clustered by partition: "


RESTART: Final = "lakehouse.restart"
"""What a commit says that follows on none before it: the version whose rows it has; null: it begins without any."""


def log_file(version: int) -> str:
    """The file of a version in the log.

    Examples:
        >>> log_file(7)
        '_delta_log/00000000000000000007.json'
    """
    return f"{LOG}/{version:020}.json"


def checkpoint_file(version: int) -> str:
    """The file of the log that has all that there is at a version.

    Examples:
        >>> checkpoint_file(7)
        '_delta_log/00000000000000000007.checkpoint.parquet'
    """
    return f"{LOG}/{version:020}.checkpoint.parquet"


def version_of(path: str) -> int | None:
    """The version that a file of the log makes; None: it is another file.

    Examples:
        >>> version_of(log_file(7)), version_of("_delta_log/_last_checkpoint")
        (7, None)
    """
    found = re.search(r"(?:^|/)(\d{20})\.json$", path)
    return int(found[1]) if found else None


def checkpoint_of(path: str) -> int | None:
    """The version that a file of the log is a checkpoint of, or a part of one; None: it is another file.

    Examples:
        >>> checkpoint_of(checkpoint_file(7)), checkpoint_of(log_file(7))
        (7, None)
    """
    found = re.search(r"(?:^|/)(\d{20})\.checkpoint\.(?:[^/]+\.)?parquet$", path)
    return int(found[1]) if found else None


def unfinished(path: str) -> bool:
    """Whether a file of the log is one that a writer had begun, and not yet given its name.

    Examples:
        >>> unfinished("_delta_log/_commit_9f.json.tmp"), unfinished(log_file(7))
        (True, False)
    """
    return re.search(r"/_commit_[^/]*\.tmp$|#\d+$", path) is not None


def in_log(path: str) -> bool:
    """Whether a path within the table is one of its log."""
    return path.startswith(f"{LOG}/")


def staged_folder(attempt: str) -> str:
    """The folder of what an attempt wrote."""
    return f"{_STAGED}{attempt}"


def staged_in(path: str) -> str | None:
    """The folder of the attempt that a path within the table is of; None: of none.

    Examples:
        >>> [staged_in(path) for path in ("_staged-1f/_partition=2013-01-01/0.parquet", "staged-1f/0.parquet", "a.txt")]
        ['_staged-1f', 'staged-1f', None]
    """
    found = re.match(rf"_?{_STAGED[1:]}[^/]+", path)
    return found[0] if found else None


def quarantine_of(table: str) -> str:
    """The URI of the folder beside a table that holds the rows that were held back."""
    return table + QUARANTINE


def quarantined_file(table: str, attempt: str) -> str:
    """The URI of the rows that were held back of an attempt."""
    return f"{quarantine_of(table)}/{attempt}.parquet"


def mark_of(layout: str, *, clustered: bool = False) -> str:
    """The description of a table, by which is known what its partitions are.

    Parameters:
        layout: what they are
        clustered: whether they share files; versions of this library that know no such tables then refuse it
    """
    return (_CLUSTERED if clustered else _MARK) + layout


def marked(description: str | None) -> str:
    """What a table's description says of its partitions; empty: nothing.

    Examples:
        >>> marked(mark_of("daily UTC")), marked(mark_of("daily UTC", clustered=True)), marked("somebody's notes")
        ('daily UTC', 'daily UTC', '')
    """
    text = description or ""
    return text.partition(_CLUSTERED)[2] or text.partition(_MARK)[2]


_ODD = re.compile(r"[^A-Za-z0-9._-]|^\.")
_LONGEST = 180


def raw_file(token: str, attempt: str, name: str) -> str:
    """The path of a file that a raw asset keeps.

    Parameters:
        token: of its partition; empty: the asset is not partitioned
        attempt: what landed it
        name: what it is called, whatever that is

    Examples:
        >>> raw_file("2013-01-01", "1f", "flights.csv"), raw_file("", "1f", "../a b")
        ('_files/_partition=2013-01-01/1f/flights.csv', '_files/1f/~2e.~2fa~20b')
    """
    safe = _ODD.sub(lambda m: "".join(f"~{b:02x}" for b in m[0].encode("utf-8", "surrogatepass")), name) or "~"
    if len(safe) > _LONGEST:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        safe = f"{safe[: _LONGEST // 2]}~{digest}~{safe[-_LONGEST // 3 :]}"
    return f"{landing_folder(token, attempt)}/{safe}"


def landing_folder(token: str, attempt: str) -> str:
    """The folder of the files of a partition that an attempt landed.

    Examples:
        >>> landing_folder("2013-01-01", "1f")
        '_files/_partition=2013-01-01/1f'
    """
    return "/".join([_FILES, *([f"_partition={token}"] if token else []), attempt])


def landed_by(path: str) -> str | None:
    """The attempt that landed a file which a raw asset keeps; None: the path within the table is no such file.

    Examples:
        >>> landed_by(raw_file("2013-01-01", "1f", "flights.csv")), landed_by("_staged-1f/0.parquet")
        ('1f', None)
    """
    return path.split("/")[-2] if path.startswith(f"{_FILES}/") and path.count("/") >= 2 else None
