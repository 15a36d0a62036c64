"""A real dockerd for tests, demo and benchmarks: `python -m scripts.docker --fetch`.

A `dockerd` on PATH is used as it is. Otherwise Debian's docker.io is unpacked, not installed, into `.cache/docker`,
with the libraries this machine lacks. Needs root. A daemon lives in process, mount and network namespaces of its own:
when their first process is killed, also because whoever started it has died, no process, mount or device of it is left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import pathlib
import random
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp

from scripts.debian import Absent, unpack

CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "docker"
TINY = "tiny:1"
"""The image every daemon begins with: busybox, which sleeps; exposes nothing."""
_CGROUPS = pathlib.Path("/sys/fs/cgroup")
_APPLETS = ("cat", "false", "httpd", "kill", "nc", "rm", "sh", "sleep", "test", "touch", "true", "wget")


def find() -> pathlib.Path | None:
    """A dockerd that can be run now. Downloads nothing."""
    found = _which("dockerd")
    return pathlib.Path(found) if found and os.geteuid() == 0 else None


def fetch() -> pathlib.Path:
    """`find()`, unpacking the packages first if need be. Raises Absent."""
    if os.geteuid() != 0:
        raise Absent("only root can run dockerd")
    if _which("dockerd") is None:
        root = unpack(["docker.io", "iptables", "busybox-static"], CACHE, needs=True)
        _link(root)
    for program in ("dockerd", "docker", "docker-init", "iptables", "busybox", "ip", "nsenter", "setpriv", "unshare"):
        if _which(program) is None:
            raise Absent(f"{program} is not there")
    found = find()
    assert found is not None
    return found


def _link(root: pathlib.Path) -> None:
    """What Debian's alternatives would have linked."""
    (CACHE / "bin").mkdir(exist_ok=True)
    for name in ("iptables", "ip6tables"):
        with contextlib.suppress(FileExistsError):
            (CACHE / "bin" / name).symlink_to(root / "usr" / "sbin" / "xtables-nft-multi")


def _path() -> str:
    ours = [CACHE / "bin", *(CACHE / "root" / each for each in ("usr/sbin", "usr/bin", "sbin", "bin"))]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *map(str, ours)])


def _which(program: str) -> str | None:
    return shutil.which(program, path=_path())


def _environment(home: pathlib.Path) -> dict[str, str]:
    libraries = [folder for folder in (CACHE / "root").glob("usr/lib/*-linux-gnu*") if folder.is_dir()]
    unpacked = {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "XTABLES_LIBDIR": str(libraries[0] / "xtables"),
    }
    return {"PATH": _path(), "HOME": str(home), **(unpacked if libraries else {})}


async def _output(*command: str, env: Mapping[str, str], stdin: bytes | None = None) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
    out, err = await process.communicate(stdin)
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {err.decode(errors='replace').strip()}")
    return out.decode().strip()


@dataclass(slots=True)
class Daemon:
    folder: pathlib.Path
    subnet: str
    """The first two numbers of every container's address."""
    holder: asyncio.subprocess.Process
    """`unshare`: with it ends everything."""
    env: dict[str, str] = field(repr=False)
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def socket(self) -> pathlib.Path:
        return self.folder / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def cgroup(self) -> str:
        return self.folder.name

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.inside("dockerd"), *self._options(), stdout=log, stderr=log, env=self.env
            )
        await self._answers()

    async def kill(self) -> None:
        """SIGKILL, of the daemon alone: its containers are left to their shims."""
        if self.process is not None and self.process.returncode is None:
            self.signal(signal.SIGKILL)
            await self.process.wait()

    def signal(self, number: int) -> None:
        """To the daemon alone; SIGSTOP makes it one that takes questions and answers none."""
        assert self.process is not None
        for child in _children(self.process.pid):
            os.kill(child, number)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def cli(self, *words: str, stdin: bytes | None = None) -> str:
        """What `docker …` prints. RuntimeError with what it says when it fails."""
        return await _output("docker", "-H", self.url, *words, env=self.env, stdin=stdin)

    async def image(self, name: str, *changes: str) -> None:
        """`changes`: as in a Dockerfile, such as `EXPOSE 80`."""
        said = [word for change in ('CMD ["sleep", "1000000"]', *changes) for word in ("-c", change)]
        await self.cli("import", *said, "-", name, stdin=_root_filesystem())

    async def run(
        self, name: str, *options: str, labels: Mapping[str, str] | None = None, image: str = TINY, command: str = ""
    ) -> str:
        """The container's id. `options`: those of `docker run`."""
        said = [word for key, value in (labels or {}).items() for word in ("--label", f"{key}={value}")]
        return await self.cli("run", "-d", "--name", name, *said, *options, image, *command.split())

    async def address(self, name: str, network: str = "bridge") -> str:
        return await self.cli("inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', name)

    def inside(self, program: str) -> list[str]:
        found = _which(program)
        (first,) = _children(self.holder.pid)
        return ["nsenter", f"--target={first}", "--pid", "--mount", "--net", str(found)]

    def _options(self) -> list[str]:
        (self.folder / "daemon.json").write_text("{}")
        return [
            *("--config-file", f"{self.folder}/daemon.json", "--host", self.url, "--log-level", "warn"),
            # In memory, and mounted in the daemon's namespace only: it ends with it.
            *("--data-root", f"{self.folder}/memory/data", "--exec-root", f"{self.folder}/memory/exec"),
            *("--pidfile", f"{self.folder}/pid", "--cgroup-parent", f"/{self.cgroup}"),
            *("--bip", f"{self.subnet}.1.1/24", "--default-address-pool", f"base={self.subnet}.128.0/17,size=24"),
        ]

    async def _answers(self) -> None:
        assert self.process is not None
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session:
            async with asyncio.timeout(30):
                while self.process.returncode is None:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get("http://docker/_ping") as answer:
                            if answer.status == 200:
                                return
                    await asyncio.sleep(0.01)
        raise Absent(f"dockerd does not run here: {(self.folder / 'log').read_text(errors='replace')[-500:]}")


@contextlib.asynccontextmanager
async def daemon(*, reachable: bool = False) -> AsyncIterator[Daemon]:
    """A dockerd without containers, with the image TINY. Raises Absent where `find()` is None or it does not run.

    `reachable`: this machine has a route to the containers' addresses, else only their published ports would be missed.
    """
    if find() is None:
        raise Absent("no dockerd here: run `python -m scripts.docker --fetch` as root")
    with tempfile.TemporaryDirectory(prefix="dockerd-", ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        env = _environment(folder)
        holder = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--mount", "--net", "--fork", "--kill-child"),
            *("--mount-proc", str(_which("docker-init")), "--", "sleep", "infinity"),
            env=env,
        )
        running = Daemon(folder=folder, subnet=_subnet(), holder=holder, env=env)
        try:
            await _first_process(holder)
            await _output(*running.inside("ip"), "link", "set", "lo", "up", env=env)
            (folder / "memory").mkdir()
            await _output(*running.inside("mount"), "-t", "tmpfs", "tmpfs", f"{folder}/memory", env=env)
            await running.start()
            await running.image(TINY)
            if reachable:
                await _join(running)
            yield running
        finally:
            await asyncio.shield(_end(running))


async def _first_process(holder: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10):
        while holder.returncode is None and not _children(holder.pid):  # noqa: ASYNC110 - the kernel has no event
            await asyncio.sleep(0.005)
    if holder.returncode is not None:
        raise Absent("this machine gives no namespaces (unshare failed)")


async def _join(running: Daemon) -> None:
    """A pair of devices between this machine's network and the daemon's, and a route to all its containers."""
    number = random.randrange(0, 2**15)  # noqa: S311 - not a secret
    here, there = (f"198.18.{number // 128}.{number % 128 * 2 + side}" for side in (0, 1))
    device, (first,) = f"tl{number}", _children(running.holder.pid)
    inside, iptables = running.inside("ip"), running.inside("iptables")
    for command in (
        ["ip", "link", "add", device, "type", "veth", "peer", "name", "outside", "netns", str(first)],
        ["ip", "address", "add", f"{here}/31", "dev", device],
        ["ip", "link", "set", device, "up"],
        [*inside, "address", "add", f"{there}/31", "dev", "outside"],
        [*inside, "link", "set", "outside", "up"],
        ["ip", "route", "add", f"{running.subnet}.0.0/16", "via", there],
        [*iptables, "-I", "DOCKER-USER", "-i", "outside", "-j", "ACCEPT"],
    ):
        await _output(*command, env=running.env)


async def _end(running: Daemon) -> None:
    with contextlib.suppress(ProcessLookupError):
        running.holder.kill()
    await running.holder.wait()
    if running.process is not None:
        with contextlib.suppress(ProcessLookupError):
            running.process.kill()  # nsenter, which has stopped itself when dockerd was stopped
        await running.process.wait()
    await forget_cgroups(running.cgroup)


async def forget_cgroups(name: str) -> None:
    for tree in (each for each in _CGROUPS.glob(f"**/{name}") if each.is_dir()):
        for folder in sorted((each for each in tree.rglob("*") if each.is_dir()), reverse=True):
            await _remove(folder)
        await _remove(tree)


async def _remove(cgroup: pathlib.Path) -> None:
    for _ in range(100):
        try:
            cgroup.rmdir()
        except OSError:  # its last process is just ending
            await asyncio.sleep(0.01)
        else:
            return


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _subnet() -> str:
    """Of `10.200.0.0/16` to `10.249.0.0/16` one that this machine has no route to."""
    lines = pathlib.Path("/proc/net/route").read_text().splitlines()[1:]
    taken = {bytes.fromhex(line.split()[1])[::-1][:2] for line in lines}
    return f"10.{random.choice([each for each in range(200, 250) if bytes((10, each)) not in taken])}"  # noqa: S311 - not a secret


def _root_filesystem() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(os.path.realpath(str(_which("busybox"))), "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("tmp", "www"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
    return packed.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.docker", description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="unpack Debian's packages where no dockerd is on PATH")
    arguments = parser.parse_args()
    try:
        found = fetch() if arguments.fetch else find()
    except (Absent, OSError) as reason:
        sys.stdout.write(f"docker: none ({reason}); what needs it is skipped\n")
        return
    sys.stdout.write(f"docker: {found}\n" if found else "docker: none; `--fetch` looks for one\n")


if __name__ == "__main__":
    main()
