"""`pipeline run` against the ways in which others segment an image that fits into memory."""
