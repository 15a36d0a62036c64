"""Explains a name: the walk that routing takes, over every alternate, with what is known of each.

What the walk wants is observed for as long as the question lasts, so that a name nobody calls can be explained too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from discovery.observatory import Observatory
from discovery.path import Path
from mesh.agent.asking import Asking, Question
from mesh.agent.binder import Binder
from mesh.agent.explained import Sight, asked, explained, mirrored
from mesh.agent.routers import Router
from mesh.agent.stream_routers import StreamRouter
from mesh.naming.bind import Binding, bind
from mesh.naming.dtab import Dtab
from mesh.naming.identify import Unidentified
from mesh.policy.effective import Policies


class UnknownRouter(Exception):
    """There is no router of this name; the text lists those there are."""


@dataclass(slots=True)
class Explainer:
    binder: Binder
    observatory: Observatory
    routers: Mapping[str, Router | StreamRouter]
    policies: Policies
    patience_seconds: float
    _asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self._asking = Asking(self.observatory, self.patience_seconds)

    def on_state(self) -> None:
        self._asking.on_state()

    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]:
        """Raises PathSyntaxError, UnknownRouter, ValueError (a name that is no name)."""
        chosen = self._router(router)
        path = named(name, chosen)
        with self._asking.question() as question:
            answer = self._answer(name, chosen, await self._bind(question, path, local), local)
            answer["mirrors"] = [
                mirrored(self._sight, mirror.percent, await self._bind(question, to, local))
                for mirror in self.policies.of_name(path).mirror
                if (to := mirror.path) is not None
            ]
            return answer

    def _router(self, name: str | None) -> Router | StreamRouter:
        if name is None:
            return next(iter(self.routers.values()))
        if name not in self.routers:
            raise UnknownRouter(f"no router {name!r}; there are: {', '.join(self.routers)}")
        return self.routers[name]

    async def _bind(self, question: Question, path: Path, local: Dtab | None) -> Binding:
        dtab = self.binder.dtab + local if local else self.binder.dtab
        namers, state, options = self.binder.namers, self.observatory.state, self.binder.options
        failover = self.policies.of_name(path).failover
        return await question.settled(
            lambda: bind(dtab, path, namers, state, options, exhaustive=True, failover=failover), self._asking.until()
        )

    def _answer(
        self, name: str, router: Router | StreamRouter, binding: Binding, local: Dtab | None
    ) -> dict[str, object]:
        in_use = [used for used in self.binder.names.aliases(binding.path) if used.router == router.name]
        return {
            "name": name,
            "router": router.name,
            "protocol": router.protocol,
            "local_dtab": local.show() if local else None,
            "in_use": [used.key for used in in_use],
            **explained(self._sight, binding),
        }

    @property
    def _sight(self) -> Sight:
        return Sight(self.observatory.state, partial(asked, self.observatory), self.policies)


def named(name: str, router: Router | StreamRouter) -> Path:
    """The path of a name as `explain` takes it. Raises PathSyntaxError, ValueError."""
    if name.startswith("/"):
        return Path.parse(name)
    identified = router.named(name)
    if isinstance(identified, Unidentified):
        raise ValueError(f"{name!r} names no service: {identified.reason}")  # noqa: TRY004 - a value, not a type
    return identified
