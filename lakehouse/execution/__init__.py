"""One step at a time: load, compute, stage, audit, publish, record; and the engines that walk a plan.

Knows plans, tables and stores by their protocols alone. It must not know Prefect, Delta Lake or pandera.
"""
