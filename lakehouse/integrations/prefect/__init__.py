"""Prefect: the engine that runs a plan as a flow, its events, and the deployments that assets declare.

Knows Prefect and how a plan is walked. It must not know how a step works, how rows are stored, or dbt.
"""
