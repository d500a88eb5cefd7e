"""Schemas as they are published: what is registered of each asset, and which changes of it break its consumers.

Knows lineage, definitions and the words for types. It must not know planning, execution, or which AWS there is.
"""
