"""Which tags a concurrency limit is set on: a task run bears these alone, for each tag costs calls to Prefect's API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prefect.context import SyncClientContext

from lakehouse.redaction import logger

_TAG = "tag:"
"""What the name of a limit begins with that is set on a tag (``prefect concurrency-limit create TAG N``)."""

_PAGE = 200

log = logger()


def limited(tags: Iterable[str]) -> frozenset[str]:
    """Those of some tags that have a concurrency limit just now. Asked once a run, of all limits together.

    Where Prefect doesn't say, it is all of them: a limit that a person has set is kept at any price.

    Parameters:
        tags: the tags in question
    """
    wanted = frozenset(tags)
    if not wanted:
        return wanted
    try:
        return wanted & {name.removeprefix(_TAG) for name in _limits() if name.startswith(_TAG)}
    except Exception as error:
        log.warning("Prefect doesn't say which tags have a concurrency limit, so steps bear all of theirs: %s", error)
        return wanted


def _limits() -> Iterator[str]:
    """The names of all concurrency limits."""
    with SyncClientContext.get_or_create() as context:
        offset = 0
        while True:
            page = context.client.read_global_concurrency_limits(limit=_PAGE, offset=offset)
            yield from (limit.name for limit in page)
            if len(page) < _PAGE:
                return
            offset += _PAGE
