"""Read and write volumes in NIfTI, NRRD and MetaImage.

The only package that imports nibabel, pynrrd and isal. May import the modules of `pipeline.io`, but no other format's.
"""
