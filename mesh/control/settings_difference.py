"""Which settings of a name a change of the policies changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from discovery.path import Path
from mesh.policy.effective import Policies, leaves
from mesh.policy.settings import Settings, is_of_bound_names


class SettingsDifference:
    def __init__(self, before: Policies, after: Policies) -> None:
        self._before, self._after = before, after
        self.is_empty = before is after or before.entries == after.entries
        # By identity: names that the same entries match share their settings. Kept here, so that no id is used twice.
        self._compared: dict[tuple[int, int], tuple[Settings, Settings, tuple[str, ...]]] = {}

    def of(self, path: Path, ids: Iterable[Path]) -> tuple[str, ...]:
        """The keys, dotted; those of what the name leads to, too."""
        if self.is_empty:
            return ()
        found = dict.fromkeys(self._of_name(path))
        for id in ids:
            if self._before.of_bound(path, id) != self._after.of_bound(path, id):
                found |= dict.fromkeys(
                    _keys(self._of_bound(self._before, path, id), self._of_bound(self._after, path, id))
                )
        return tuple(found)

    def failover(self, path: Path) -> bool:
        """Whether it is switched on or off, which binding depends on."""
        return not self.is_empty and self._before.of_name(path).failover != self._after.of_name(path).failover

    def mirrors(self, path: Path) -> tuple[Path, ...]:
        """Where copies go before and after, as the policies have it."""
        mirrored = self._after.of_name(path).mirror
        if not self.is_empty:
            mirrored = tuple(each for each in mirrored if each in self._before.of_name(path).mirror)
        return tuple(each.path for each in mirrored if each.path is not None)

    def _of_name(self, path: Path) -> tuple[str, ...]:
        one, other = self._before.of_name(path), self._after.of_name(path)
        if one is other:
            return ()
        known = self._compared.get((id(one), id(other)))
        if known is None:
            keys = () if one == other else _keys(dict(leaves(one)), dict(leaves(other)))
            known = self._compared[id(one), id(other)] = one, other, keys
        return known[2]

    @staticmethod
    def _of_bound(policies: Policies, path: Path, id: Path) -> Mapping[str, object]:
        return {said.key: said.value for said in policies.said(path, id) if is_of_bound_names(said.key)}


def _keys(one: Mapping[str, object], other: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(sorted(key for key in {*one, *other} if (key in one, one.get(key)) != (key in other, other.get(key))))
