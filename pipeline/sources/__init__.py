"""Sources that wrap other sources, and passes over a source: calibration, statistics, components, sieve.

May import the engine, geometry, files and errors; nothing of io, models or what is above them.
"""
