"""Files of the operating system: atomic writes, removal and digests.

May import errors only, and no library of a format, so that every room may use it.
"""
