"""Read and write NIfTI volumes in one forward pass, keeping the geometry of the header.

The NIfTI array (i, j, k) is used transposed, as (z, y, x) = (k, j, i): the order of its bytes. Nothing is resampled.
"""

from __future__ import annotations

from contextlib import closing
from math import prod

from pipeline.errors import InputError
from pipeline.io.remote_files import File
from pipeline.io.volume.nifti_header import STRICT, grid_of, read_header, volume_count, voxels_of
from pipeline.io.volume.nifti_pairs import halves
from pipeline.io.volume.nifti_text import text_of
from pipeline.io.volume.nifti_write import write_nifti, write_nifti_layer
from pipeline.io.volume.stream import ByteStream, NiftiSource, VoxelLayout, open_stream

__all__ = ["NiftiSource", "open_volume", "write_nifti", "write_nifti_layer"]


def open_volume(path: File, *, affine: str = STRICT, volume: int | None = None, keep_text: bool = False) -> NiftiSource:
    """Open the NIfTI volume at `path`: version 1 or 2, either byte order, plain or gzip by its content, or a pair.

    `affine` is what holds where sform and qform disagree: "sform", "qform", or "strict" for neither. `volume` is one of
    the volumes of a 4-D file, from 0. `keep_text` takes the header's free text and extensions into the grid's
    reference, from which they are written to a mask. Only the header is read.

    Raises:
        InputError: The file is not such a volume: 4-D without `volume`, complex, RGB, shorter than its header claims,
            or without a usable affine.

    """
    pair = halves(path)
    head, body = pair or (path, path)
    try:
        with closing(_stream(head)) as stream:
            header = read_header(stream, paired=pair is not None)
            text = text_of(header, stream, paired=pair is not None) if keep_text else {}
        grid, voxels, times = grid_of(header, affine, volume, text), voxels_of(header), volume_count(header)
        stream = _stream(body)
        try:
            _check_length(voxels, times * prod(grid.shape), header["dim"].tolist(), stream)
        except BaseException:
            stream.close()
            raise
    except InputError as error:
        raise error.at(path) from error.__cause__
    return NiftiSource(path, stream, grid, voxels.after((volume or 0) * prod(grid.shape)), times)


def _stream(path: File) -> ByteStream:
    try:
        return open_stream(path)
    except FileNotFoundError as error:
        raise InputError(
            f"cannot be opened: {path.name} does not exist; check the path, and keep both halves together"
        ) from error
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror}); check the path and its permissions") from error


def _check_length(voxels: VoxelLayout, count: int, dim: list[int], stream: ByteStream) -> None:
    needed = voxels.offset + count * voxels.stored.itemsize
    if needed > stream.most:
        raise InputError(
            f"needs {needed} bytes for its dimensions {dim[1 : dim[0] + 1]}, but holds "
            f"{'at most ' * stream.packed}{stream.most}: it is cut short, or its header is damaged; fetch the file "
            "again from where it came"
        )
    stream.expect(needed)
