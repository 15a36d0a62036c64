"""A file's text, or the problem that it can't be had."""

from __future__ import annotations

import pathlib

from mesh.config.problem import Problem


class Unreadable(Exception):
    """The file is missing, not permitted or not text: `problem` says which."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def text(file: pathlib.Path) -> str:
    """Raises Unreadable."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        message = f"the file can't be read: {(error.strerror or str(error)).lower()}"
        raise Unreadable(Problem(str(file), 0, 0, "", message, "Give the path of a readable file")) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        message = f"the byte 0x{raw[error.start]:02x} is not UTF-8"
        raise Unreadable(Problem(str(file), line, column, "", message, "Save the file as UTF-8")) from error
