"""What a sweep costs, measured here, and played through for many workers."""
