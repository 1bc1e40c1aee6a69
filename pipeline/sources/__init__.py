"""Sources made of sources, and passes over one."""
