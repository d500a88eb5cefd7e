"""What connects lakehouse to other products, one package for each: the only rooms that import them.

They know what they integrate with, and not each other. Nothing but the edges and what opens an engine imports them.
"""
