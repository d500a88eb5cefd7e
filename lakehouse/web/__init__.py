"""The page that people look at: served by ``lakehouse ui``, written by ``lakehouse catalog``, from the same templates.

Knows what lineage has folded, the definitions, and how to draw them. It must not build or change anything, and opens no
table to draw an overview; nothing but the command line imports it.
"""
