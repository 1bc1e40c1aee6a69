"""Files as the operating system has them: written whole, renamed, hashed.

Knows no format and no library of ours, so that every room may use it.
"""
