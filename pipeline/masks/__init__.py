"""Finished masks: information, checks, export, areas, measurements and sidecars.

May import jobs, io, models and everything below them; nothing of runs, training, archives or the command line.
"""
