"""Read CT and MR series in DICOM, and write DICOM Segmentation.

The only package that imports pydicom and highdicom (`files` needs neither). May import the modules of `pipeline.io`,
but no other format's package.
"""
