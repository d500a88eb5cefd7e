"""How plans, runs, states and lineage look to a person, and as JSON to a program.

Knows what it shows, and reads it. It must not change anything, and nothing but the command line imports it.
"""
