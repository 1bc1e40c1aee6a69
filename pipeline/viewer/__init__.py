"""A local viewer: scenes as tiles in their own pixel grid and volumes as NIfTI, served to the browser of this machine.

The only package that imports starlette and uvicorn. May import masks, jobs, io, web and everything below them; nothing
of runs, training, archives or the command line.
"""
