"""Models built for inference on a device: numerics, test-time augmentation, and predictors for the engine.

May import the networks, cards and stored models; nothing of jobs, runs or the command line.
"""
