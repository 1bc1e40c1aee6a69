"""Strict decoding of what users write, in files and on the command line, to frozen dataclasses, and back.

May import errors only; each field is described once, in its dataclass.
"""

from pipeline.decoding.decoder import DecodeError, decode, did_you_mean, read_toml
from pipeline.decoding.encoder import encode
from pipeline.decoding.keys import Key, Meaning, given, keys_of
from pipeline.decoding.readers import Reader

__all__ = [
    "DecodeError",
    "Key",
    "Meaning",
    "Reader",
    "decode",
    "did_you_mean",
    "encode",
    "given",
    "keys_of",
    "read_toml",
]
