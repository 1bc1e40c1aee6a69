"""How one input goes, from a job to its mask."""
