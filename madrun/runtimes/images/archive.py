"""A build context as the archive that both builders take."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from madrun.errors import BuildError

if TYPE_CHECKING:
    from tarfile import TarFile

# Equal for everybody, so that the builder's cache sees equal files as equal; not 0, for zip begins in 1980.
_MODIFIED = 946_684_800  # 2000-01-01


def archive(entries: Mapping[str, Path], texts: Mapping[str, str] | None = None) -> IO[bytes]:
    """A tar of the entries in a file without a name, at its beginning; raises `BuildError`.

    `texts`: what stands in some of the entries in the place of what their files say.

    Files get mode 755 or 644 by their executable bit, folders 755, all belong to root: see registry/buildcontext.py.
    """
    import tarfile

    try:
        target = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the build
    except OSError as error:
        raise _not_packed(error) from None
    try:
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, path in entries.items():
                if texts and name in texts:
                    _add_text(tar, name, texts[name])
                else:
                    _add(tar, name, path)
        target.seek(0)
    except OSError as error:
        target.close()
        raise _not_packed(error) from None
    except BaseException:
        target.close()
        raise
    return target


def _add(tar: TarFile, name: str, path: Path) -> None:
    import tarfile

    info = tarfile.TarInfo(name)
    info.mtime = _MODIFIED
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(info)
    elif path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    else:
        with path.open("rb") as content:
            state = path.stat()
            info.size = state.st_size
            info.mode = 0o755 if state.st_mode & 0o111 else 0o644
            tar.addfile(info, content)


def _add_text(tar: TarFile, name: str, text: str) -> None:
    import io
    import tarfile

    content = text.encode()
    info = tarfile.TarInfo(name)
    info.mtime, info.size, info.mode = _MODIFIED, len(content), 0o644
    tar.addfile(info, io.BytesIO(content))


def _not_packed(error: OSError) -> BuildError:
    where = error.filename or f"the directory for temporary files ({tempfile.gettempdir()}; TMPDIR names another)"
    return BuildError(f"the build context cannot be packed: {where}: {error.strerror or error}")
