"""What a request says, as values: its body within bounds, its query and its JSON by their models.

Mistakes are told in the words of the configuration's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import http_exceptions, web
from pydantic import BaseModel, ValidationError

from mesh.config import wording
from mesh.control.api.route import Refusal

MOST_BODY = 1024 * 1024
BODY_SECONDS = 10.0


async def read_body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise Refusal(408, f"the body has not come within {BODY_SECONDS:g} s", {"Connection": "close"}) from None
    except (ConnectionError, web.RequestPayloadError, http_exceptions.HttpProcessingError) as error:
        raise Refusal(400, "the body ends too soon, or is not in the form that its headers say") from error


def understood(model: type[BaseModel], keys: object) -> BaseModel:
    try:
        return model.model_validate(keys)
    except ValidationError as error:
        raise Refusal(400, _wrong(error, model)) from error


def parsed(model: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise Refusal(400, _wrong(error, model)) from error


def _wrong(error: ValidationError, model: type[BaseModel]) -> str:
    """Every mistake, in the words of the configuration's."""
    return "; ".join(_mistake(details, model) for details in error.errors(include_url=False)[:10])


def _mistake(details: Any, model: type[BaseModel]) -> str:
    if details["type"] == "json_invalid":
        return f"this is not JSON: {details['ctx']['error']}"
    where = wording.show(details["loc"])[:200]
    text = f"{wording.message(details)}. {wording.hint(details, model, details['loc'])}"
    return f"`{where}`: {text}" if where else text
