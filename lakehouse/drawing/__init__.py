"""Pictures of partitions, numbers and graphs, as SVG text: for pages and notebooks.

Knows partitions and plain values. It must not read anything, and holds no colour, no style and no script: what a shape
stands for is said by its class.
"""
