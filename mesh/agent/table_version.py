"""Tells the table and the policies in force from others, in access logs and `status`. Equal content, equal version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mesh.naming.dtab import Dtab
from mesh.policy.entry import PolicyEntry


def table_version(dtab: Dtab, policies: Iterable[PolicyEntry]) -> str:
    told = [dtab.show(), *(each.model_dump_json(exclude_unset=True) for each in policies)]
    return hashlib.blake2b("\n".join(told).encode(), digest_size=4).hexdigest()
