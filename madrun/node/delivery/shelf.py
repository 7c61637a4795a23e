"""Where node 0 puts the files of one node: written beside their place, checked, and put there whole.

Every step goes by handles of directories and follows no link: a name can lead nowhere but below the node's directory.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from madrun.node.delivery.parcel import Item

SPARE = 32 << 20  # bytes that deliveries leave free on node 0's disk
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 1 << 20


class Shelf:
    """`node-<rank>/` of a run on node 0."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._root = os.open(folder, _FOLDER)
        self.partial: set[str] = set()

    def close(self) -> None:
        """Lets go of the directory; what was begun and not ended gets a name that says so."""
        for name in self.partial:
            with suppress(OSError):
                part, folder, last = self._places(Item(name))
                try:
                    os.replace(part, f"{last[:240]}.incomplete", src_dir_fd=self._root, dst_dir_fd=folder)
                finally:
                    os.close(folder)
        os.close(self._root)

    def room_for(self, size: int) -> bool:
        """Whether the disk has room for so many bytes, and a little."""
        free = os.fstatvfs(self._root)
        return free.f_bavail * free.f_frsize >= size + SPARE

    def _places(self, item: Item) -> tuple[str, int, str]:
        """Name of the partial file in the node's directory; handle of the directory of its place, and last name."""
        *folders, last = item.words
        at = os.dup(self._root)
        for word in folders:
            with suppress(FileExistsError):
                os.mkdir(word, 0o755, dir_fd=at)
            try:
                below = os.open(word, _FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = below
        digest = hashlib.sha256(item.name.encode("utf-8", "surrogateescape")).hexdigest()
        return f".{digest[:24]}.part", at, last

    def put(self, item: Item) -> None:
        """Makes a link or an empty directory, in the place of what was there under that name."""
        _, folder, last = self._places(item)
        try:
            if item.kind == "dir":
                with suppress(FileExistsError):
                    os.mkdir(last, 0o755, dir_fd=folder)
                return
            with suppress(FileNotFoundError):
                os.unlink(last, dir_fd=folder)
            os.symlink(item.link, last, dir_fd=folder)
        finally:
            os.close(folder)

    def begin(self, item: Item) -> Slot:
        """A place for the file, with as much of it as came earlier."""
        part, folder, last = self._places(item)
        try:
            with suppress(FileNotFoundError):
                there = os.stat(last, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(there.st_mode) and there.st_size == item.size and item.name not in self.partial:
                    # it came whole already, and its sender did not hear so; its content decides
                    os.replace(last, part, src_dir_fd=folder, dst_dir_fd=self._root)
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._root)
        except BaseException:
            os.close(folder)
            raise
        self.partial.add(item.name)
        return Slot(self, item, handle, (part, folder, last), self._root)


class Slot:
    """One file on its way; hashed as it grows."""

    def __init__(self, shelf: Shelf, item: Item, handle: int, places: tuple[str, int, str], root: int) -> None:
        self._shelf, self._item, self._handle, self._root = shelf, item, handle, root
        self._part, self._folder, self._last = places
        self._hash = hashlib.sha256()
        self.have = os.fstat(handle).st_size
        if self.have > item.size:
            os.ftruncate(handle, 0)
            self.have = 0
        while chunk := os.read(handle, _READ):
            self._hash.update(chunk)

    def write(self, chunk: bytes) -> None:
        """Appends; `OSError` where the disk takes no more, or where there is more than was announced."""
        if self.have + len(chunk) > self._item.size:
            raise OSError(errno.EFBIG, "more bytes than were announced")
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._handle, view) :]
        self._hash.update(chunk)
        self.have += len(chunk)

    def finish(self, checksum: Any) -> bool:
        """Puts the file in its place; False, and all of it is gone, where it is not what was sent."""
        if self.have != self._item.size or self._hash.hexdigest() != checksum:
            self.discard()
            return False
        os.fchmod(self._handle, self._item.mode)
        os.replace(self._part, self._last, src_dir_fd=self._root, dst_dir_fd=self._folder)
        self._shelf.partial.discard(self._item.name)
        return True

    def discard(self) -> None:
        """Removes what has come of it."""
        with suppress(OSError):
            os.unlink(self._part, dir_fd=self._root)
        self._shelf.partial.discard(self._item.name)

    def close(self) -> None:
        """Lets go of it; what has come stays for another try."""
        for handle in (self._handle, self._folder):
            os.close(handle)
