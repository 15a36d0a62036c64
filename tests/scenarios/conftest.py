from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.scenarios import fleet as fleets
from tests.scenarios.platforms import PLATFORMS

NOBODY = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    """The agents that are started take them from here, and look nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in NOBODY.items():
            patch.setenv(key, value)
        for key in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(key, raising=False)
        for key in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(key, "/dev/null")
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(request: pytest.FixtureRequest, credentials: None) -> AsyncIterator[fleets.Fleet]:
    """One host for all tests of a file: over all platforms or its KINDS, with its TABLE, with its SETTINGS if any."""
    module = request.module
    kinds, settings = getattr(module, "KINDS", PLATFORMS), getattr(module, "SETTINGS", {})
    async with fleets.fleet(module.TABLE, kinds, **settings) as started:
        yield started
