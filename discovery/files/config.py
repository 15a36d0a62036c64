"""`kind: files` in the configuration."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from discovery.dns.resolver import Resolver
from discovery.files.changes import changes
from discovery.files.source import FilesSource
from discovery.settings import Duration, SourceConfig
from discovery.source import Freshness, Hears


def _place(folder: pathlib.Path, info: ValidationInfo) -> pathlib.Path:
    """Relative to the folder of the configuration file, which is passed as context."""
    return (pathlib.Path((info.context or {}).get("folder", "")) / folder).absolute()


class FilesConfig(SourceConfig):
    """A folder with one file a name."""

    kind: Literal["files"] = "files"
    resync: Duration = 60.0
    """inotify tells of every change, and of events it had to drop; this is for what neither has thought of."""
    folder: Annotated[pathlib.Path, AfterValidator(_place), Field(examples=["/etc/tieline/services"])]
    """Where the files are; relative to the configuration file."""

    @property
    def freshness(self) -> Freshness:
        return Freshness(Hears.EVENTS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FilesSource]:
        watching = changes(self.folder)
        try:
            yield FilesSource(self.folder, watching, Resolver().resolve)
        finally:
            watching.close()
