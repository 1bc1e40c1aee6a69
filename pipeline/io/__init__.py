"""The doors: one library each, and one place that picks the door."""
