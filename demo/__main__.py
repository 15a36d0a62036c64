"""One host, one name, four platforms that are started here: each is stopped under load, and comes back.

With ONCE=1 it ends after the story, with 0 only if everything it said was true.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from contextlib import AsyncExitStack

from rich.console import Console

from demo import platforms
from demo.calls import Load, call, load
from demo.platforms import Platform
from scripts.running import TIELINE, Agent, agent, folder

MOVE_SECONDS = 30.0
# moto asks for none, botocore for some.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
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


async def tell(story: Story, stack: AsyncExitStack) -> Agent:
    place = stack.enter_context(folder())
    story.say("Platforms:")
    found = await platforms.opened(stack, place, lambda text: story.say(f"  {text}"))
    for platform in found:
        await platform.start()
    table = f"/svc => {' | '.join(platform.root for platform in found)};"
    os.environ.update(CREDENTIALS)
    settings: dict[str, object] = {"dtab": table, "sources": [platform.settings for platform in found]}
    running = stack.enter_context(agent(place, settings))
    await running.until_ready()
    story.say(f"\nThe agent and its Envoy serve on {running.url}. The table:\n  [bold]{table}[/]")
    await _calls(story, running, found[0])
    await _moves(story, running, found)
    await _dies(story, running, found[0])
    _explains(story, running)
    return running


async def _calls(story: Story, running: Agent, first: Platform) -> None:
    story.say("\nCalls by name:")
    status, _, body = await call(running.url, "users")
    story.check(f"Host: users → {status} {body}", true=(status, body) == (200, first.who))
    status, error, body = await call(running.url, "user")
    story.check(f"Host: user  → {status} {error}", true=status == 404 and "no such name" in error)
    console.print("\n".join(f"      {line}" for line in body.splitlines()), style="dim", markup=False)


async def _moves(story: Story, running: Agent, found: list[Platform]) -> None:
    story.say("\nUnder load, users is taken from one platform after the other, and comes back:")
    async with load(running.url, "users") as seen:
        for platform, following in itertools.pairwise(found):
            await platform.stop()
            moved = await _to(seen, following.who)
            story.check(f"gone from {platform.root}: [bold]{following.who}[/] answers", true=moved)
        for platform in reversed(found[:-1]):
            await platform.start()
            story.check(f"back in {platform.root}: [bold]{platform.who}[/] answers", true=await _to(seen, platform.who))
    _count(story, seen)


async def _dies(story: Story, running: Agent, first: Platform) -> None:
    if not isinstance(first, platforms.Consul):
        return
    story.say("\nUnder load, Consul itself is killed. An error is not an empty service:")
    async with load(running.url, "users") as seen:
        await first.running.kill()
        await asyncio.sleep(3)
        story.check("what was known is held, and serves", true=await _to(seen, first.who))
    _count(story, seen)


def _count(story: Story, seen: Load) -> None:
    for answer, count in seen.answers.items():
        story.say(f"    {count:6} × {answer}")
    failed = seen.failed.total()
    story.check(f"failed requests: {failed} of {seen.answers.total() + failed}", true=failed == 0)
    for error, count in seen.failed.items():
        story.say(f"    {count:6} × {error}")


async def _to(seen: Load, who: str) -> bool:
    return await seen.until_answered_by(who, MOVE_SECONDS, times=200)


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
