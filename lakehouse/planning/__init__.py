"""What will be built, in which chunks, from which versions, and why: a pure function from a snapshot to a plan.

Knows definitions, partitions and what lineage says. It must not write anything, and must not know Prefect or storage.
"""
