"""A host with two platforms, one name over both, and a load that never notices the move from one to the other.

With ONCE=1 it ends after the story, with 0 only if everything it said was true.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from rich.console import Console

from demo.calls import Load, call, load
from scripts import consul
from scripts.running import TIELINE, Agent, agent, folder, service

MOVE_SECONDS = 15.0
console = Console(highlight=False)


class Story:
    """Says what happens and keeps count of what was not as it should be."""

    def __init__(self) -> None:
        self.untrue: list[str] = []

    def say(self, text: str) -> None:
        console.print(text)

    def check(self, text: str, *, true: bool) -> None:
        console.print(f"  [green]✓[/] {text}" if true else f"  [red]✗ {text}[/]")
        if not true:
            self.untrue.append(text)


class ConsulCatalog:
    """The platform that comes first: a real Consul."""

    root = "/#/consul/dc1"

    def __init__(self, url: str) -> None:
        self._url = url

    async def register(self, name: str, port: int) -> None:
        entry = {"Name": name, "ID": f"{name}-{port}", "Address": "127.0.0.1", "Port": port}
        await self._put("/v1/agent/service/register", entry)

    async def deregister(self, name: str, port: int) -> None:
        await self._put(f"/v1/agent/service/deregister/{name}-{port}", None)

    async def _put(self, path: str, body: object) -> None:
        async with aiohttp.ClientSession() as session, session.put(self._url + path, json=body) as response:
            response.raise_for_status()

    def settings(self) -> dict[str, object]:
        return {"kind": "consul", "address": self._url}


class FolderCatalog:
    """Stands in where no Consul can be had: a second folder of files."""

    root = "/#/first"

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir()

    async def register(self, name: str, port: int) -> None:
        _write(self._place / name, f"127.0.0.1 {port}\n")

    async def deregister(self, name: str, port: int) -> None:
        del port
        (self._place / name).unlink()

    def settings(self) -> dict[str, object]:
        return {"kind": "files", "prefix": "first", "folder": str(self._place)}


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}")
    fresh.write_text(text)
    fresh.rename(file)


async def _catalog(stack: AsyncExitStack, place: Path, story: Story) -> ConsulCatalog | FolderCatalog:
    if consul.find() is None:
        story.say("No Consul can be had on this machine: a second folder of files takes its part.")
        return FolderCatalog(place / "first")
    running = await stack.enter_async_context(consul.agent())
    story.say(f"A real Consul runs at {running.url}.")
    return ConsulCatalog(running.url)


async def tell(story: Story, stack: AsyncExitStack) -> Agent:
    place = stack.enter_context(folder())
    catalog = await _catalog(stack, place, story)
    files = place / "disco"
    files.mkdir()
    first = await stack.enter_async_context(service("users, known to the first platform"))
    second = await stack.enter_async_context(service("users, known to files"))
    orders = await stack.enter_async_context(service("orders, known to files"))
    await catalog.register("users", first)
    _write(files / "users", f"127.0.0.1 {second}\n")
    _write(files / "orders", f"127.0.0.1 {orders}\n")
    table = f"/svc => {catalog.root} | /#/files;"
    settings: dict[str, object] = {
        "dtab": table,
        "sources": [catalog.settings(), {"kind": "files", "folder": str(files)}],
    }
    running = stack.enter_context(agent(place, settings))
    await running.until_ready()
    story.say(f"The agent and its Envoy serve on {running.url}. The table: [bold]{table}[/]")
    await _calls(story, running)
    await _moves(story, running, catalog, first)
    _explains(story, running)
    return running


async def _calls(story: Story, running: Agent) -> None:
    story.say("\nCalls by name:")
    status, _, body = await call(running.url, "users")
    story.check(f"Host: users  → {status} {body}", true=status == 200 and "first platform" in body)
    status, _, body = await call(running.url, "orders")
    story.check(f"Host: orders → {status} {body}", true=status == 200 and "orders" in body)
    status, error, body = await call(running.url, "user")
    story.check(f"Host: user   → {status} {error}", true=status == 404 and "no such name" in error)
    console.print("\n".join(f"      {line}" for line in body.splitlines()), style="dim", markup=False)


async def _moves(story: Story, running: Agent, catalog: ConsulCatalog | FolderCatalog, port: int) -> None:
    story.say("\nWhile a load runs, users leaves the first platform and comes back:")
    async with load(running.url, "users") as seen:
        story.check("the first platform answers", true=await _to(seen, "the first platform"))
        await catalog.deregister("users", port)
        story.check("deregistered: files answer", true=await _to(seen, "files"))
        await catalog.register("users", port)
        story.check("registered again: the first platform answers", true=await _to(seen, "the first platform"))
    for answer, count in sorted(seen.answers.items()):
        story.say(f"    {count:6} × {answer}")
    failed = seen.failed.total()
    story.check(f"failed requests: {failed} of {seen.answers.total() + failed}", true=failed == 0)
    for error, count in seen.failed.items():
        story.say(f"    {count:6} × {error}")


async def _to(seen: Load, who: str) -> bool:
    return await seen.until_answered_by(f"users, known to {who}", MOVE_SECONDS, times=500)


def _explains(story: Story, running: Agent) -> None:
    story.say("\n$ tieline explain users")
    command = [TIELINE, "explain", "users", "--admin", str(running.admin)]
    explained = subprocess.run(command, check=False, capture_output=True, text=True)
    console.print(explained.stdout + explained.stderr, markup=False)
    story.check("explain shows where users leads", true=explained.returncode == 0 and "users" in explained.stdout)


async def main(once: bool) -> int:
    story = Story()
    async with AsyncExitStack() as stack:
        running = await tell(story, stack)
        if story.untrue:
            story.say(f"\nNot as it should be: {'; '.join(story.untrue)}\n{running.tail()}")
        if not once:
            story.say(f"\nIt goes on running. Try:  curl -H 'Host: users' {running.url}   (Ctrl-C ends it)")
            await asyncio.get_running_loop().create_future()
    return 1 if story.untrue else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(os.environ.get("ONCE", "") not in ("", "0"))))
    except KeyboardInterrupt:
        sys.exit(0)
