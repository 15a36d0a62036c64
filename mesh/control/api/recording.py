"""The record of one attempt to change something: what the route tells of it, and what the audit log gets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mesh.control.audit import Attempt, Audit, Result


@dataclass(slots=True)
class Recording:
    """`version`: the one that was made. `result`: where it says more than the status of the answer."""

    audit: Audit
    attempt: Attempt
    id: str | None = field(default=None, init=False)
    version: int | None = field(default=None, init=False)
    result: Result | None = field(default=None, init=False)

    def why(self, why: str) -> None:
        self.attempt = replace(self.attempt, why=why)

    async def begin(self) -> None:
        """Before the store is asked. Raises audit.Unwritable: then it must not be."""
        if self.id is None:
            self.id = await self.audit.begun(self.attempt)

    async def end(self, status: int, error: str | None) -> None:
        """Raises audit.Unwritable."""
        result = self.result or _result(status)
        await self.audit.ended(self.attempt, result, id=self.id, status=status, version=self.version, error=error)

    @property
    def has_begun(self) -> bool:
        return self.id is not None


def _result(status: int) -> Result:
    if status < 400:
        return "made"
    return "conflicted" if status == 412 else "failed" if status >= 500 else "refused"
