"""How a log record is written: one line of text, or one JSON object. Standard library only: the supervisor uses it too.

A record's message is constant; what varies stands in `extra={"fields": {...}}`.
"""

from __future__ import annotations

import json
import logging
import time


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


class Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        line = " ".join([first, *(f"{key}={_quoted(value)}" for key, value in _fields(record).items())])
        return "\n".join([line, *more])


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or not text else text


class Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def configure(level: str, form: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
