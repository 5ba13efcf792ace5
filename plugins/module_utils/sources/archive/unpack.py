# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Unpacking a tar archive that is not trusted, while it arrives.

Only folders, files, and links come out of it. Every parent of what is written is a real folder
made here; symbolic links are kept as they are, as git keeps them, and never followed. Source:
POSIX.1-2017 pax (ustar and pax formats), and the GNU tar manual for its extensions.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from typing import Optional

from ...errors import SourceError
from ...policy import SourceLimits
from ...text import printable
from ..download import Body
from ..workspace import unusable
from .decompression import Readable, damaged

#: Beyond ``MODEST_SIZE`` bytes an archive may unpack to ``HIGHEST_RATIO`` times what was read of it.
MODEST_SIZE = 512 << 20
HIGHEST_RATIO = 200
#: The share of the free space of the workspace's file system that an archive may take.
DISK_SHARE = 0.9
#: Beyond ``MODEST_FILES`` files, folders and links, an archive must be as large as that many entries need.
MODEST_FILES = 20_000
LEAST_BYTES = 2
#: Bytes of the path of a member, and the bytes of all that describes one
#: (long names, pax records, the map of a sparse file).
LONGEST_PATH = 2048
LONGEST_HEADER = 1 << 20

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 256 << 10
_LATEST_TIME = 253402300799  # the year 9999; a member can claim any


def unpack(content: Readable, body: Body, folder: str, limits: SourceLimits) -> int:
    """Unpack ``content``, which comes out of ``body``, into the empty ``folder``.

    Of ``limits`` those of what lies on disk count. Returns the time of the newest member in Unix seconds.
    Raises ``SourceError``: ``archive_invalid``, ``archive_unsafe``, ``archive_too_large``, ``disk_full``.
    """
    try:
        return _Unpacking(content, body, folder, limits).run()
    except tarfile.TarError as error:
        raise damaged(str(error)) from None
    except (ValueError, RecursionError, OverflowError):
        raise damaged("one of its headers is damaged") from None


class _Stream:
    """What ``tarfile`` reads from: forward only, and for each member only so much besides its content."""

    def __init__(self, content: Readable) -> None:
        self._content = content
        self._position = 0
        self.budget = LONGEST_HEADER
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("one of its headers leads backwards")
        while self._position < position:
            if not self._take(min(position - self._position, _CHUNK)):
                return

    def read(self, size: int) -> bytes:
        self.budget -= size
        if size < 0 or self.budget < 0:
            raise _unsafe(f"one of its headers is longer than {LONGEST_HEADER >> 20} MiB")
        found = bytearray()
        while len(found) < size and (chunk := self._take(size - len(found))):
            found += chunk
        self.last = bytes(found)
        return self.last

    def content(self, size: int) -> Iterator[bytes]:
        """The content of the member that comes next, ``size`` bytes."""
        while size:
            chunk = self._take(min(size, _CHUNK))
            if not chunk:
                raise damaged("it breaks off")
            size -= len(chunk)
            yield chunk

    def finish(self) -> None:
        """Read the padding behind the archive, and so the check sum of the compression."""
        for _ in range(LONGEST_HEADER // _CHUNK):
            if not self._take(_CHUNK):
                return

    def _take(self, size: int) -> bytes:
        chunk = self._content.read(size)
        self._position += len(chunk)
        return chunk


class _Unpacking:
    def __init__(self, content: Readable, body: Body, folder: str, limits: SourceLimits) -> None:
        self._stream = _Stream(content)
        self._limits = limits
        self._body = body
        self._folder = folder
        self._folders = {""}
        self._announced = 0
        self._written = 0
        self._newest = 0
        space = os.statvfs(folder)
        self._room = min(int(space.f_bavail * space.f_frsize * DISK_SHARE), limits.bytes)
        # Some file systems have no fixed number of files, and say 0.
        room = int(space.f_favail * DISK_SHARE) if space.f_files else limits.files
        self._files_left = min(room, limits.files)
        self._files = 0

    def run(self) -> int:
        # Its own stream mode would read headers of any length into memory.
        with tarfile.TarFile(fileobj=self._stream, errors="surrogateescape") as archive:  # type: ignore[arg-type]
            while True:
                self._stream.budget = LONGEST_HEADER
                member = archive.next()
                if member is None:
                    break
                self._member(archive, member)
                # It remembers every member, and pax records for all that follow.
                archive.members.clear()  # type: ignore[attr-defined]
                archive.pax_headers = {}
            if self._stream.last != bytes(_BLOCK):
                raise damaged("it breaks off")
            self._stream.finish()
        for name in sorted(self._folders, reverse=True):
            os.utime(os.path.join(self._folder, name), (self._newest, self._newest))
        return self._newest

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = self._name(member.name)
        if member.size < 0 or member.mtime != member.mtime:
            raise damaged("one of its headers is damaged")
        time = int(min(max(member.mtime, 0), _LATEST_TIME))
        try:
            if member.isdir():
                self._make_folder(name, member.mode)
            elif not name:
                raise _unsafe("a member that is no folder has no name")
            elif member.issym():
                self._link(name, member, time)
            elif member.islnk():
                self._hard_link(name, member)
            elif member.isreg():
                content = (
                    self._sparse(archive, member) if member.issparse() else self._stream.content(member.size)
                )
                self._file(name, member, time, content)
            else:
                raise _unsafe(f"{name!r} is {_kind(member)}")
        except OSError as error:
            raise unusable(self._folder, error) from None
        self._newest = max(self._newest, time)

    def _file(self, name: str, member: tarfile.TarInfo, time: int, content: Iterator[bytes]) -> None:
        self._check_room(member.size)
        path = self._place(name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            for chunk in content:
                self._check_ratio(len(chunk))
                file.write(chunk)
            file.flush()
            # Whoever builds can read it; no special bits.
            os.fchmod(handle, (member.mode & 0o777) | 0o600)
            os.utime(handle, (time, time))

    def _sparse(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
        """The content of a sparse file, its holes filled with zeros."""
        reader = archive.extractfile(member)
        assert reader is not None
        while True:
            self._stream.budget = LONGEST_HEADER
            chunk = reader.read(_CHUNK)
            if not chunk:
                return
            yield chunk

    def _link(self, name: str, member: tarfile.TarInfo, time: int) -> None:
        if not _is_clean(member.linkname):
            raise _unsafe(f"the link {name!r} leads to a name that cannot be")
        path = self._place(name)
        os.symlink(member.linkname, path)
        os.utime(path, (time, time), follow_symlinks=False)

    def _hard_link(self, name: str, member: tarfile.TarInfo) -> None:
        original = self._name(member.linkname)
        path = os.path.join(self._folder, original)
        parent = os.path.dirname(original)
        if parent not in self._folders or not os.path.lexists(path):
            raise _unsafe(f"the link {name!r} leads to {original!r}, which did not come before")
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise _unsafe(f"the link {name!r} leads to {original!r}, which is no file")
        if name != original:
            os.link(path, self._place(name), follow_symlinks=False)

    def _make_folder(self, name: str, mode: Optional[int] = None) -> None:
        """Make ``name`` and all above it."""
        if name not in self._folders:
            self._make_folder(os.path.dirname(name))
            path = os.path.join(self._folder, name)
            self._count()
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                raise _unsafe(f"it goes on inside {name!r}, which is no folder") from None
            self._folders.add(name)
        if mode is not None and name:
            os.chmod(os.path.join(self._folder, name), (mode & 0o777) | 0o700)

    def _place(self, name: str) -> str:
        """The path for a new member, the way to it made; an earlier one of that name goes, as with tar."""
        self._make_folder(os.path.dirname(name))
        if name in self._folders:
            raise _unsafe(f"{name!r} is a folder and something else")
        self._count()
        path = os.path.join(self._folder, name)
        if os.path.lexists(path):
            os.unlink(path)
        return path

    def _count(self) -> None:
        """Count what is about to be made: one file more, or folder, or link."""
        self._files += 1
        if self._files > self._files_left:
            raise _too_large(f"it holds more than {self._files_left} files and folders")
        if self._files > MODEST_FILES and self._files > self._body.size // LEAST_BYTES:
            raise _too_large(f"it holds more files and folders than fit into {self._body.size} bytes")

    def _name(self, name: str) -> str:
        """The path of a member in the folder that it is unpacked to, without ``.`` and double slashes."""
        if not _is_clean(name):
            raise _unsafe(f"the name {name[:100]!r} cannot be")
        if name.startswith("/"):
            raise _unsafe(f"{name!r} is an absolute path")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise _unsafe(f"{name!r} leads out of it")
        if len(parts) > self._limits.depth:
            raise _unsafe(f"{name[:100]!r} lies in too many folders")
        return "/".join(parts)

    def _check_room(self, size: int) -> None:
        self._announced += size
        if self._announced > self._room:
            raise _too_large("there is not enough space for what it holds")

    def _check_ratio(self, size: int) -> None:
        self._written += size
        if self._written > MODEST_SIZE and self._written > HIGHEST_RATIO * self._body.size:
            raise _too_large(f"it unpacks to more than {HIGHEST_RATIO} times its size")


def _is_clean(name: str) -> bool:
    encoded = name.encode("utf-8", "surrogateescape")
    parts = encoded.split(b"/")
    return (
        0 < len(encoded) <= LONGEST_PATH
        and all(len(part) <= 255 for part in parts)
        and not any(ord(char) < 32 or ord(char) == 127 for char in name)
    )


def _kind(member: tarfile.TarInfo) -> str:
    if member.ischr() or member.isblk():
        return "a device"
    return "a named pipe" if member.isfifo() else "neither a file, a folder nor a link"


def _unsafe(what: str) -> SourceError:
    return SourceError(
        "archive_unsafe",
        f"The archive is refused: {printable(what)}.",
        hint="Pack it anew from an ordinary folder, such as with: tar --create --directory FOLDER .",
    )


def _too_large(what: str) -> SourceError:
    return SourceError(
        "archive_too_large",
        f"The archive is refused: {what}.",
        hint="Leave out what the build does not need, or give a 'custom_workdir' with more space.",
    )
