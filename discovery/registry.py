"""Which kinds of source there are. Ours stand here, so they are there uninstalled too; others register by entry point.

    [project.entry-points."tieline.sources"]
    nomad = "tieline_nomad.config:NomadConfig"

Nothing is imported until a kind is asked for. A plugin that can't be loaded is a value that names its distribution.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from discovery.settings import SourceConfig

GROUP = "tieline.sources"
OURS = {
    "cloudmap": "discovery.cloudmap.config:CloudMapConfig",
    "consul": "discovery.consul.config:ConsulConfig",
    "dns": "discovery.dns.config:DnsConfig",
    "docker": "discovery.docker.config:DockerConfig",
    "ecs": "discovery.ecs.config:EcsConfig",
    "files": "discovery.files.config:FilesConfig",
    "kubernetes": "discovery.kubernetes.config:KubernetesConfig",
    "marathon": "discovery.marathon.config:MarathonConfig",
    "static": "discovery.static.config:StaticConfig",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A kind that is registered and can't be used. `distribution`: whose it is."""

    kind: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"the source kind {self.kind!r} of {self.distribution} can't be used: {self.reason}"


Kind = type[SourceConfig] | Broken


def kinds(plugins: Iterable[EntryPoint] | None = None) -> dict[str, Kind]:
    """Every kind by its name; ours first."""
    return {kind: load(kind, plugins) for kind in registered(plugins)}


def registered(plugins: Iterable[EntryPoint] | None = None) -> list[str]:
    """The names of all kinds. Imports none of them."""
    return [*OURS, *sorted({plugin.name for plugin in _others(plugins)})]


def load(kind: str, plugins: Iterable[EntryPoint] | None = None) -> Kind:
    """Raises KeyError for a kind that nobody registered."""
    if kind in OURS:
        return _loaded(EntryPoint(kind, OURS[kind], GROUP), "tieline")
    found = [plugin for plugin in _others(plugins) if plugin.name == kind]
    if not found:
        raise KeyError(kind)
    owners = ", ".join(sorted(_owner(plugin) for plugin in found))
    if len(found) > 1:
        return Broken(kind, owners, "more than one distribution registers it; uninstall all but one")
    return _loaded(found[0], owners)


def _others(plugins: Iterable[EntryPoint] | None) -> list[EntryPoint]:
    present = entry_points(group=GROUP) if plugins is None else plugins
    return [plugin for plugin in present if plugin.name not in OURS]


def _owner(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist is not None else plugin.value


def _loaded(plugin: EntryPoint, owner: str) -> Kind:
    try:
        found = plugin.load()
    except Exception as error:  # noqa: BLE001 - importing a stranger's module may raise anything
        return Broken(plugin.name, owner, f"{type(error).__name__}: {error}")
    if isinstance(found, type) and issubclass(found, SourceConfig):
        return found
    return Broken(plugin.name, owner, f"{plugin.value} is no subclass of discovery.settings.SourceConfig")
