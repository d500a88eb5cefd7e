"""What ``--help`` says, and how it looks."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

_LABEL = 24

OVERVIEW: Final = """\
Software-defined data assets for Prefect.

Start with

  lakehouse ls                  which assets there are
  lakehouse ui                  a page of them: what needs attention, and why
  lakehouse plan '+gold.*'      what would be built, and why
  lakehouse refresh '+gold.*'   build what is missing

`lakehouse COMMAND --help` shows the options of a command, with examples.
"""

DETAILS: Final = """\
Selections name assets; quote them, or the shell takes * and ( for its own

  silver.flights                one asset
  'gold.*'  gold                a pattern; a layer
  tag:daily  group:x  owner:y   assets that bear the word
  '+gold.*'                     with all that they are made from
  silver.flights+               with all that is made from it
  'tag:daily and not bronze'    and, or, not, ( ); a space is "or"

Partitions are written as their keys, in a range both ends are included

  2013-01-31                    a day; 2013-01 a month, 2013-01-31T05:00 an hour
  2013-01-01...2013-01-31       a range
  2013-01-01,2013-02-01...2013-02-05
  --partition 'Acme, Inc.'      one key as it is, whatever it holds; may be repeated
                                (--partition=-x for one that begins with -)

Exit codes

  0    all well, also when there was nothing to do
  1    something failed or was held back
  2    the request can't be: usage, unknown asset, bad partitions, settings
  3    storage, lineage or engine can't be reached
  4    what could be built is there; the rest waits for what its source lacks
  130  interrupted; what was published stays
  143  terminated; likewise

Settings come from LAKEHOUSE_... in the environment, then from [tool.lakehouse]
in pyproject.toml: module, storage, lineage, engine, chunk, workers, runner,
work_pool, page.
--traceback (or LAKEHOUSE_TRACEBACK=1), with any command, shows where an error
comes from. NO_COLOR=1 does without colours.
"""


def sections(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Draw commands and parameters as aligned lines, without boxes."""
    if not panel.entries:
        return
    console.print(f"{panel.title}\n")
    for entry in panel.entries:
        label = ", ".join(entry.display_labels_with_metavar if panel.format == "parameter" else entry.display_labels)
        lines = textwrap.wrap(_plain(entry.description), options.max_width - _LABEL - 4)
        if len(label) > _LABEL:
            lines.insert(0, "")
        for number, line in enumerate(lines or [""]):
            console.print(f"  {'' if number else label:<{_LABEL}}  {line}".rstrip())
    console.print()


def _plain(description: object) -> str:
    """A description is text, wrapped in cyclopts' own class or not."""
    return str(getattr(description, "primary_renderable", description) or "")
