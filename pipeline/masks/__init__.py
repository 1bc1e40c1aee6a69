"""What comes after a mask."""
