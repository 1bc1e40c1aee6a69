"""Libraries that run in a browser, shipped as their projects publish them, each with its license and version.

May import nothing of the project.
"""
