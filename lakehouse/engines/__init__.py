"""Engines: they walk a plan. `inline` does so by itself, `prefect` as a Prefect flow."""
