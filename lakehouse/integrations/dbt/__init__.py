"""A dbt project as Gold assets: its models are made by dbt, and published by the same gate as everything else."""

from lakehouse.integrations.dbt.project import DbtProject, dbt_assets

__all__ = ["DbtProject", "dbt_assets"]
