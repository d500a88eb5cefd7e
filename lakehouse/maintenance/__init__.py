"""Changes of what is stored and recorded: rename, forget, wipe, retain, rebuild; each shown before it is done.

Knows tables, lineage and the lake that it looks after. It must not know engines, plans or Prefect.
"""

from lakehouse.maintenance.changes import Action, Change
from lakehouse.maintenance.maintenance import Maintenance

__all__ = ["Action", "Change", "Maintenance"]
