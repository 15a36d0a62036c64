"""The objects of one resource, by service. A change costs what changed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from discovery.kubernetes.records import Key, Service, Slice

T = TypeVar("T", Slice, Service)


class Store(Generic[T]):
    def __init__(self, records: Iterable[T] = ()) -> None:
        self._by_key: dict[Key, dict[str, T]] = {}
        self._services: dict[Key, str] = {}
        """The service of an object, by the object's own namespace and name."""
        for record in records:
            self.put(record)

    def keys(self) -> Iterable[Key]:
        return self._by_key.keys()

    def of(self, key: Key) -> Collection[T]:
        return self._named(key).values()

    def put(self, record: T) -> list[Key]:
        """The services of which something has changed: two where the object has moved from one to the other."""
        namespace, name = record.namespace, record.name
        before = self._services.get((namespace, name))
        changed = self.remove(namespace, name) if before not in (None, record.service) else []
        if record.service:
            key = namespace, record.service
            siblings = self._by_key.setdefault(key, {})
            if siblings.get(name) != record:
                siblings[name] = record
                self._services[namespace, name] = record.service
                changed.append(key)
        return changed

    def remove(self, namespace: str, name: str) -> list[Key]:
        service = self._services.pop((namespace, name), None)
        if service is None:
            return []
        key = namespace, service
        siblings = self._by_key[key]
        del siblings[name]
        if not siblings:
            del self._by_key[key]
        return [key]

    def known(self, record: T) -> T:
        """The equal one that is here, if there is: what is read again then takes no room of its own."""
        here = self._named((record.namespace, record.service)).get(record.name)
        return here if here is not None and here == record else record

    def differing(self, other: Store[T]) -> list[Key]:
        """The services of which the two don't hold the same."""
        keys = self._by_key.keys() | other._by_key.keys()
        return [key for key in keys if self._named(key) != other._named(key)]

    def _named(self, key: Key) -> Mapping[str, T]:
        return self._by_key.get(key, {})
