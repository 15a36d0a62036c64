"""The containers of services, by id and by service. A change costs what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from discovery.docker.labels import Key
from discovery.docker.records import Container


class Fleet:
    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._by_key: dict[Key, dict[str, Container]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: str) -> Container | None:
        return self._by_id.get(id)

    def ids(self) -> set[str]:
        return set(self._by_id)

    def keys(self) -> Iterable[Key]:
        return self._by_key.keys()

    def of(self, key: Key) -> Collection[Container]:
        return self._by_key.get(key, {}).values()

    def put(self, container: Container) -> bool:
        """Whether that is news."""
        before = self._by_id.get(container.id)
        if before == container:
            return False
        self._by_id[container.id] = container
        self._by_key.setdefault(container.key, {})[container.id] = container
        return True

    def remove(self, id: str) -> Container | None:
        """What it was."""
        container = self._by_id.pop(id, None)
        if container is None:
            return None
        siblings = self._by_key[container.key]
        del siblings[id]
        if not siblings:
            del self._by_key[container.key]
        return container
