"""The door for DICOM, and the only room of pydicom, which `source` brings; `files` needs no library."""
