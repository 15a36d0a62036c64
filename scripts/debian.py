"""Debian packages unpacked, not installed: by apt with a tree of its own, from the mirror this machine already uses,
checked with Debian's keys. What is installed on the machine stays as it is.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

_KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Absent(Exception):
    """Why something is not to be had on this machine."""


def unpack(packages: list[str], cache: pathlib.Path, *, suite: str | None = None, needs: bool = False) -> pathlib.Path:
    """`cache/root` with the files of `packages`, of this machine's own Debian unless `suite` says another.

    `needs`: with those packages that they need and this machine lacks. Raises Absent.
    """
    own = codename()
    mirror = _mirror(own)
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise Absent(f"{program} is not there")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as name:
        folder = pathlib.Path(name)
        for archive in _download(packages, mirror, suite or own, folder, needs=needs):
            _run(["dpkg-deb", "-x", str(archive), str(folder / "root")], folder)
        with contextlib.suppress(OSError):  # somebody else was faster
            (folder / "root").rename(cache / "root")
    return cache / "root"


def _download(packages: list[str], mirror: str, suite: str, folder: pathlib.Path, *, needs: bool) -> list[pathlib.Path]:
    for name in ("lists/partial", "archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n")
    apt = [
        "apt-get",
        "-qq",
        *("-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", f"Dir::Etc::SourceParts={folder}/parts"),
        *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "Acquire::Languages=none"),
        *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"),
    ]
    _run([*apt, "update"], folder)
    if needs:
        _run([*apt, "-y", "-o", "Debug::NoLocking=1", "--no-install-recommends", "-d", "install", *packages], folder)
    else:
        _run([*apt, "download", *packages], folder)
    found = [*folder.glob("*.deb"), *folder.glob("archives/*.deb")]
    for package in packages:
        # One that is installed is there already; its files are the machine's own.
        if not needs and not any(archive.name.startswith(f"{package}_") for archive in found):
            raise Absent(f"Debian {suite} has no package {package} for this machine")
    return found


def _run(command: list[str], folder: pathlib.Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Absent(f"`{command[0]} … {command[-1]}` failed: {said}")


def codename() -> str:
    release = pathlib.Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    values = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    if values.get("ID") != "debian" or "VERSION_CODENAME" not in values:
        raise Absent("this machine is not a released Debian; put the program on PATH")
    return values["VERSION_CODENAME"]


def _mirror(own: str) -> str:
    """The Debian mirror of this machine's own apt sources."""
    if not _KEYRING.exists():
        raise Absent(f"Debian's keys ({_KEYRING}) are not there")
    folder = pathlib.Path("/etc/apt")
    for file in sorted(folder.glob("sources.list.d/*.sources")):
        for stanza in file.read_text().split("\n\n"):
            if own in (fields := _deb822(stanza)).get("suites", "").split():
                return fields["uris"].split()[0]
    for file in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))]:
        for words in _one_line(file):
            if words[1] == own:
                return words[0]
    raise Absent(f"no apt source for Debian {own} in {folder}")


def _deb822(stanza: str) -> dict[str, str]:
    lines = (line.partition(":") for line in stanza.splitlines() if line and line[0] not in "# \t")
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def _one_line(file: pathlib.Path) -> Iterator[list[str]]:
    """`deb [options] uri suite component…` as [uri, suite, …]."""
    for line in file.read_text().splitlines() if file.exists() else ():
        kind, _, rest = line.partition(" ")
        words = rest.partition("]")[2].split() if rest.strip().startswith("[") else rest.split()
        if kind == "deb" and len(words) > 2:
            yield words
