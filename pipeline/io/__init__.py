"""Read inputs and write masks: a subpackage for each library, `formats` to choose between them, `opening` to open.

May import the packages below it (geometry, classes, engine protocols, sources, files), never jobs, runs or archive.
"""
