"""Networks made ready for a machine."""
