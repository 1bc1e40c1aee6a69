"""Predictions against truth: figures by class, by item and over all, in constant memory for scenes."""
