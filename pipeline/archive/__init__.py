"""Many inputs: which are done, which are left, which failed and why; and the run that goes through them."""
