"""The progress of a run, as a person sees it: bars on a terminal and in a notebook, lines elsewhere.

May import runs and everything below it; nothing of archives, reports, flows or the command line.
"""
