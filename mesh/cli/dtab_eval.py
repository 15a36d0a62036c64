"""`tieline dtab eval`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.cli.answer import Answer, section, text
from mesh.cli.ending import NO, fail
from mesh.cli.options import Format, Output
from mesh.cli.printing import print_json, show
from mesh.cli.table_file import SourcesOf, TableFile, configuration, read, table

if TYPE_CHECKING:
    from discovery.address import State
    from discovery.path import Path
    from mesh.config.model import Config
    from mesh.naming.bind import AskState, Binding, Namer, Options

StateFile = Annotated[
    File | None,
    typer.Option("--state", help="What platforms know (YAML or JSON), path: neg|empty|pending|failed|[IP:port, …]."),
]


def evaluate(
    file: TableFile,
    path: Annotated[str, typer.Argument(help="The path to bind, such as /svc/users.")],
    state: StateFile = None,
    config: SourcesOf = None,
    output: Output = Format.TABLE,
) -> None:
    """Bind a path by a table, without an agent, and show the way it takes."""
    from mesh.cli import offline
    from mesh.naming.bind import bind

    dtab, name, known, seen = table(file), _path(path), _known(state), configuration(config)
    ask = offline.asking(known)
    binding = bind(dtab, name, _namers(seen, known or {}), ask, _options(seen), exhaustive=True)
    answer = _answer(binding, ask, assumed=known is None)
    if output is Format.JSON:
        print_json(answer)
    else:
        _print(answer)
    if answer["outcome"] != "bound":
        raise typer.Exit(NO)


def _path(path: str) -> Path:
    from discovery.path import Path, PathSyntaxError

    try:
        return Path.parse(path)
    except PathSyntaxError as error:
        fail(str(error))


def _known(file: File | None) -> Mapping[Path, State] | None:
    from mesh.cli import offline

    if file is None:
        return None
    try:
        return offline.states(read(str(file)), str(file))
    except offline.BadState as error:
        fail(str(error))


def _namers(config: Config | None, known: Mapping[Path, State]) -> Sequence[Namer]:
    from discovery import registry
    from mesh.cli.offline import AnySource
    from mesh.naming.namers import source_namer

    if config is not None:
        return [
            source_namer(source.root, source.name_segments, source.fewest_segments, longest=source.longest)
            for source in config.sources
        ]
    kinds = {name: kind for name, kind in registry.kinds().items() if not isinstance(kind, registry.Broken)}
    return [AnySource(known, {name: kind.segments for name, kind in kinds.items()})]


def _options(config: Config | None) -> Options:
    from mesh.naming.bind import Options

    if config is None:
        return Options()
    return Options(alternate_on=frozenset(config.naming.alternate_on), max_depth=config.naming.max_depth)


def _answer(binding: Binding, ask: AskState, *, assumed: bool) -> Answer:
    from mesh.naming.explain import explain, trail

    return Answer(
        {
            "path": binding.path.show(),
            "outcome": _OUTCOMES[binding.grade.value],
            "assumed": assumed,
            "tree": explain(binding, ask),
            "endpoints": {} if assumed else {path.show(): _endpoints(ask(path)) for path in binding.wanted},
            "trail": trail(binding),
        }
    )


_OUTCOMES = {
    "live": "bound",
    "dead": "empty",
    "empty": "empty",
    "neg": "neg",
    "fail": "fail",
    "waiting": "pending",
    "broken": "broken",
}


def _endpoints(state: State) -> dict[str, object]:
    from discovery.address import Bound, Known

    found = state.addr.endpoints if isinstance(state, Known) and isinstance(state.addr, Bound) else ()
    return {"endpoints": [{"address": each.address, "port": each.port, "weight": each.weight} for each in found]}


def _print(answer: Answer) -> None:
    from mesh.cli.tree import drawing

    typer.echo(f"{text(answer, 'path')}: {text(answer, 'outcome')}")
    show(drawing(section(answer, "tree"), section(answer, "endpoints")))
    if answer["assumed"]:
        typer.echo("No --state: every name is assumed to be there, with an endpoint.")
