"""A folder of this machine and the prefix that it mirrors, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

from pipeline.errors import DamagedError, OutputError
from pipeline.files.atomic import whole_file
from pipeline.files.object_path import ObjectPath
from pipeline.io.objects.bucket import AT_ONCE, Entry, bucket_of

_State = tuple[int, int]
"""Size and time of change of a file."""


class Mirror:
    """A folder, and a prefix with objects of the same names: what is new or changed on one side is sent to the other.

    Any thread may call.
    """

    def __init__(self, folder: Path, prefix: ObjectPath) -> None:
        self.folder, self.prefix = folder, prefix
        self._bucket = bucket_of(prefix)
        self._sent: dict[str, tuple[_State, str]] = {}
        self._lock = Lock()

    def push(self, files: Iterable[Path], *, may_go: bool = False) -> None:
        """Put the files that are not there as they are here.

        Raises:
            DamagedError: If a file is gone, unless it `may_go`: then it is left out.

        """
        put = self._put_if_there if may_go else self._put
        with ThreadPoolExecutor(AT_ONCE, "put") as pool:
            list(pool.map(put, filter(self._is_changed, files)))

    def pull(self, file: Path) -> None:
        """Fetch an object, if there is one and it is not here as it is there."""
        alone = self._bucket.head(self.key(file))
        self._fetch_all([] if alone is None else [alone])

    def pull_below(self, folder: Path, wanted: Callable[[str], bool] = lambda key: True) -> None:
        """Fetch the objects below a folder, as far as they are not here as they are there."""
        self._fetch_all(entry for entry in self._bucket.list(self.key(folder)) if wanted(entry.key))

    def fetch(self, files: Iterable[Path]) -> None:
        """Fetch files that are not here yet, those of which there is an object."""
        missing = [file for file in files if not file.exists()]
        with ThreadPoolExecutor(AT_ONCE, "get") as pool:
            list(pool.map(self._get, missing))

    def drop(self, files: Iterable[Path]) -> None:
        """Delete the objects of files, and the files."""
        for file in files:
            self._bucket.delete([self.key(file)])
            file.unlink(missing_ok=True)
            self._sent.pop(self.key(file), None)

    def any_below(self, folder: Path) -> bool:
        """Return whether there are objects below a folder."""
        return bool(self._bucket.list(self.key(folder)))

    def forget(self, below: Path, last: Callable[[str], bool] = lambda key: False) -> None:
        """Delete the objects below a folder, those for which `last` holds after all others."""
        keys = [entry.key for entry in self._bucket.list(self.key(below))]
        self._bucket.delete([key for key in keys if not last(key)])
        self._bucket.delete(filter(last, keys))
        with self._lock:
            self._sent = {key: known for key, known in self._sent.items() if key not in set(keys)}

    def prune(self, below: Path, files: Iterable[Path]) -> None:
        """Delete the objects below a folder that are none of these files."""
        kept = set(map(self.key, files))
        self._bucket.delete([entry.key for entry in self._bucket.list(self.key(below)) if entry.key not in kept])

    def _fetch_all(self, entries: Iterable[Entry]) -> None:
        missing = [entry for entry in entries if not self._is_here(entry)]
        with ThreadPoolExecutor(AT_ONCE, "get") as pool:
            list(pool.map(self._fetch, missing))

    def _fetch(self, entry: Entry) -> None:
        file = self._file(entry.key)
        self._write(file, lambda: self._bucket.fetch(entry, file))
        self._remember(file, entry.tag)

    def _write(self, file: Path, write: Callable[[], object]) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write()
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{file}: cannot be written ({error.strerror or error})") from error

    def _get(self, file: Path) -> None:
        """Fetch an object in one request, if there is one."""
        if (found := self._bucket.get(self.key(file))) is not None:
            content, entry = found
            self._write(file, lambda: _put_whole(file, content))
            self._remember(file, entry.tag)

    def _is_changed(self, file: Path) -> bool:
        try:
            return self._state(file) != self._known(file)
        except FileNotFoundError:
            return True

    def _put_if_there(self, file: Path) -> None:
        with suppress(DamagedError):
            self._put(file)

    def _put(self, file: Path) -> None:
        try:
            state = self._state(file)
            tag = self._bucket.put(self.key(file), file.read_bytes() if state[0] < 1 << 20 else file)
        except FileNotFoundError as error:
            raise DamagedError(f"{file}: is gone") from error
        with self._lock:
            self._sent[self.key(file)] = state, tag

    def _is_here(self, entry: Entry) -> bool:
        file = self._file(entry.key)
        state, tag = self._sent.get(entry.key, (None, ""))
        return tag == entry.tag and file.exists() and state == self._state(file)

    def _remember(self, file: Path, tag: str) -> None:
        with self._lock:
            self._sent[self.key(file)] = self._state(file), tag

    def _known(self, file: Path) -> _State | None:
        return self._sent.get(self.key(file), (None, ""))[0]

    def _state(self, file: Path) -> _State:
        about = file.stat()
        return about.st_size, about.st_mtime_ns

    def stamp(self, file: Path) -> str | None:
        """Return size and ETag of a file that was sent, as the store told; None if it told none."""
        (size, _), tag = self._sent.get(self.key(file), ((0, 0), ""))
        return f"{size} {tag}" if tag else None

    def key(self, file: Path) -> str:
        """Return the key of the object that a file is."""
        return (self.prefix / file.relative_to(self.folder)).key

    def _file(self, key: str) -> Path:
        return self.folder / key.removeprefix(f"{self.prefix.key}/" if self.prefix.key else "")


def _put_whole(file: Path, content: bytes) -> None:
    """Write a file that is there once it is whole."""
    with whole_file(file) as draft:
        draft.write_bytes(content)
