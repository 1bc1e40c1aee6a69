"""Models on a hub: their addresses, and the room of the hub's own client. An extra, which may be missing.

May import nothing of the project but the floors below models; the catalogue calls it.
"""
