"""Where a step's function is called: orders, what becomes of them, and the places that carry them out.

Knows the words of an order and how a process is watched. It must not know publishing, the gate, or an orchestrator.
"""
