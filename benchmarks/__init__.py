"""Scripts that measure; each can be rerun by anyone."""
