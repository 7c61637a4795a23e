"""The tar of one image in a shared directory, and the notice beside it that says which image it is."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from madrun.errors import BuildError

SHARED = "MAD_DOCKER_BUILDS"
_IMPLIED = ("docker.io/library/", "docker.io/", "localhost/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tar:
    """Where the tar of the image `name` lies, and its notice; both are there only when they are whole."""

    name: str
    file: Path

    @property
    def notice(self) -> Path:
        """Which image the tar holds, and its size."""
        return self.file.with_suffix(".json")

    def hidden(self, end: str) -> Path:
        """A name beside the tar for what grows there."""
        return self.file.with_name(f".{self.file.name}.{end}")

    def is_there(self) -> bool:
        """Whether it has been shown. The directory is listed: NFS remembers for a while that a file was not there."""
        try:
            return self.file.name in [entry.name for entry in self.file.parent.iterdir()]
        except FileNotFoundError:
            raise no_directory(self.file.parent) from None
        except OSError as error:
            raise BuildError(f"{SHARED}: {self.file.parent} cannot be read: {error.strerror or error}") from None

    def parts(self) -> list[Path]:
        """What processes that are saving it have written, or those that were ended have left."""
        return self._beside("part-")

    def signs(self) -> str:
        """What changes while a process saves it; empty where none does."""
        found = []
        with suppress(OSError):  # one may be given back just now: then the next look tells
            for claim in self._beside("claim-"):
                found.append(f"{claim.name} {claim.read_text(encoding='utf-8', errors='replace')}")
        return "\n".join(sorted(found))

    def held(self) -> str:
        """The id of the image in it, by its notice. Raises `BuildError` where there is none that can be read."""
        return self._noticed()[0]

    def checked(self) -> str:
        """The same, where the tar has the size that it was shown with and the image's name in it."""
        identity, size = self._noticed()
        try:
            found = self.file.stat().st_size
        except OSError as error:
            raise broken(self, error.strerror or str(error)) from None
        if found != size:
            raise broken(self, f"it has {found} bytes, and {self.notice.name} says {size}")
        if self.name not in (names := named_in(self.file, self.name)):
            raise broken(self, f"it holds another image: {', '.join(names) or 'one without a name'}")
        return identity

    def show(self, part: Path, identity: str, size: int) -> None:
        """Gives the whole tar its name; the notice is there before it. Raises `OSError`."""
        notice = self.hidden("part-notice")
        notice.write_text(json.dumps({"image": self.name, "id": identity, "bytes": size}) + "\n", encoding="utf-8")
        notice.rename(self.notice)
        part.rename(self.file)

    def _beside(self, end: str) -> list[Path]:
        start = self.hidden(end).name
        return [entry for entry in self.file.parent.iterdir() if entry.name.startswith(start)]

    def _noticed(self) -> tuple[str, int]:
        try:
            said = json.loads(self.notice.read_text(encoding="utf-8"))
            image, identity, size = said["image"], str(said["id"]), int(said["bytes"])
        except OSError as error:
            raise broken(self, f"{self.notice.name} cannot be read: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError):
            raise broken(self, f"{self.notice.name} does not say which image it is") from None
        if image != self.name:
            raise broken(self, f"{self.notice.name} says that it is {image!r}")
        return identity, size


def of_image(folder: Path, name: str) -> Tar:
    """The tar of the image; `BuildError` where the directory is none. Two names never share a tar."""
    if not folder.is_absolute() or not is_directory(folder):
        raise no_directory(folder)
    readable = name.replace("/", "_").replace(":", "_")[-100:]
    return Tar(name=name, file=folder / f"{readable}-{sha256(name.encode()).hexdigest()[:8]}.tar")


def is_directory(folder: Path) -> bool:
    """Whether it is a directory that this user can see."""
    try:
        return folder.is_dir()
    except OSError:
        return False


def named_in(file: Path, name: str) -> list[str]:
    """The names of the images in a tar; `name` itself where one of them means it. `BuildError` where it is broken."""
    import tarfile

    try:
        with tarfile.open(file, mode="r:") as tar:
            listed = tar.extractfile("manifest.json")
            entries = json.loads(listed.read()) if listed else []
        tags = [str(tag) for entry in entries for tag in entry.get("RepoTags") or []]
    except (tarfile.TarError, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise broken(Tar(name=name, file=file), f"it is no tar of an image: {error}") from None
    except OSError as error:
        raise broken(Tar(name=name, file=file), error.strerror or str(error)) from None
    whole = _spelled(name)
    return [name if _spelled(tag) == whole else tag for tag in tags]


def broken(tar: Tar, why: str) -> BuildError:
    """The error of a tar that cannot be used."""
    return BuildError(
        f"image {tar.name}: {tar.file} ({SHARED}): {why}; remove {tar.file} and start again, where a node has the "
        "image it is saved anew"
    )


def no_directory(folder: Path) -> BuildError:
    """The error of a place that is no directory; it may be a mount that is not there, so it is never created."""
    return BuildError(
        f"{SHARED}: found {str(folder)!r}, which is no directory on this host; allowed: the absolute path of a "
        "directory that all nodes see; it is never created"
    )


def _spelled(name: str) -> str:
    """A name as it is whole: with its tag, without what every name may begin with."""
    name = next((name.removeprefix(start) for start in _IMPLIED if name.startswith(start)), name)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
