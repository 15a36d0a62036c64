"""Asks the control plane, and says where it is: its HTTP API over a Unix socket, TCP or TLS."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final

import typer

from mesh.cli import connection
from mesh.cli.answer import Answer, text
from mesh.cli.connection import FAILURES, Place, Reply, segment
from mesh.cli.ending import NO, UNREACHABLE, fail

WHERE, TOKEN_FILE, NAMESPACE = "TIELINE_CONTROL", "TIELINE_TOKEN_FILE", "TIELINE_NAMESPACE"
# A preview waits for platforms that it has to ask first.
TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 5.0

Where = Annotated[
    str | None,
    typer.Option(
        "--control",
        help="The control plane: URL or Unix socket, or several replicas with commas between "
        "[default: $TIELINE_CONTROL, else the socket of one here].",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="Holds the token that says who you are [default: $TIELINE_TOKEN_FILE]."),
]
Ca = Annotated[
    Path | None, typer.Option("--ca", help="Who signed the control plane's certificate, PEM [default: the system's].")
]
Cert = Annotated[Path | None, typer.Option("--cert", help="A certificate that says who you are, PEM.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its private key, PEM.")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Whose table and policies [default: $TIELINE_NAMESPACE, else `default`]."),
]


class Unreachable(Exception):
    """The text says what failed, where, and what to do."""


class NotThere(Unreachable):
    """Nothing was asked: nobody took the connection."""


class Denied(Exception):
    """The control plane says no; the text says why. `status` from 500: it can't now."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the control plane answered: {refusal(reply)}")
        self.status = reply.status


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """As the command line says. Nothing is read before something is asked; the token, each time."""

    control: Where = None
    token_file: TokenFile = None
    ca: Ca = None
    cert: Cert = None
    key: Key = None
    namespace: Namespace = None

    @property
    def is_named(self) -> bool:
        return self.control is not None

    @property
    def chosen_namespace(self) -> str:
        return self.namespace or os.environ.get(NAMESPACE) or "default"

    @property
    def where(self) -> str:
        from mesh.config import places

        return self.control or os.environ.get(WHERE) or str(places.run_dir(os.environ) / "control.sock")

    def replicas(self) -> list[ControlPlane]:
        """At least one."""
        found = [replace(self, control=each) for part in self.where.split(",") if (each := part.strip())]
        return found or fail("--control: nothing stands there but commas", 2)

    def within(self, *path: str, namespace: str | None = None) -> str:
        """The path of something in the namespace."""
        return "/".join(("/v1/namespaces", segment(namespace or self.chosen_namespace), *path))

    def ask(self, path: str, **query: object) -> Answer:
        """Raises Unreachable, Denied."""
        return self.send("GET", path, query=query).answer or Answer({})

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        bears: tuple[int, ...] = (),
    ) -> Reply:
        """`bears`: statuses from 400 that the caller knows what to do about. Raises Unreachable, Denied."""
        reply = self._exchanged(method, connection.target(path, query or {}), body, headers)
        if reply.status >= 400 and reply.status not in bears:
            raise Denied(reply)
        return reply

    def _exchanged(self, method: str, target: str, body: object, headers: Mapping[str, str] | None) -> Reply:
        """With the first replica that is there."""
        gone: list[str] = []
        for replica in self.replicas():
            try:
                return replica._exchanged_here(method, target, body, headers)
            except NotThere as error:
                gone.append(str(error))
        raise NotThere("\n".join(gone))

    def _exchanged_here(self, method: str, target: str, body: object, headers: Mapping[str, str] | None) -> Reply:
        """Something else than a control plane that answers is Unreachable, too."""
        place = connection.place(self.where, "http", "https")
        if place is None:
            fail(f"--control: https://HOST:PORT or the path of a Unix socket expected, not {self.where!r}", 2)
        identity = self._identity(place)
        link = place.connection(self._context() if place.scheme == "https" else None, CONNECT_SECONDS)
        try:
            link.connect()
        except FAILURES as error:
            link.close()
            raise NotThere(_unreachable(self.where, error, CONNECT_SECONDS)) from error
        try:
            link.sock.settimeout(TIMEOUT_SECONDS)
            reply = connection.exchange(link, method, target, body, {**identity, **(headers or {})})
        except FAILURES as error:
            raise Unreachable(_unreachable(self.where, error, TIMEOUT_SECONDS)) from error
        if reply.answer is None:
            text = f"{self.where} answered {target} with {reply.status} and no JSON object"
            raise Unreachable(f"{text}. Is it a Tieline control plane?")
        return reply

    def _identity(self, place: Place) -> dict[str, str]:
        file = self.token_file or (Path(named) if (named := os.environ.get(TOKEN_FILE)) else None)
        if file is None:
            return {}
        if place.host is not None and place.scheme == "http" and not _is_here(place.host):
            fail(f"the token would go to {place.host} for everybody on the way to read. Use https://", 2)
        token = _read(file).strip()
        if not token or not token.isascii() or not token.isprintable():
            fail(f"{file}: a token expected, one line of printable characters")
        return {"authorization": f"Bearer {token}"}

    def _context(self) -> ssl.SSLContext:
        if (self.cert is None) != (self.key is None):
            fail("--cert and --key go together", 2)
        for file in (self.ca, self.cert, self.key):
            if file is not None:
                _read(file)
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, ValueError) as error:
            files = ", ".join(str(file) for file in (self.ca, self.cert, self.key) if file is not None)
            fail(f"{files}: can't be used: {error}. PEM files expected, the key without a passphrase")
        return context


_OPTIONS: Final = tuple(field.name for field in fields(ControlPlane))


def on_control_plane(command: Callable[..., None], **given: object) -> Callable[..., None]:
    """The command with options that say which control plane, in place of its first parameter. `given`: is fixed.

    What the control plane does not answer, or refuses, ends it."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in list(signature.parameters.values())[1:] if each.name not in given]

    def asking(**arguments: object) -> None:
        plane = ControlPlane(**{name: arguments.pop(name) for name in _OPTIONS})  # type: ignore[arg-type]
        try:
            command(plane, **given, **arguments)
        except Unreachable as error:
            fail(str(error), UNREACHABLE)
        except Denied as error:
            fail(str(error), NO)

    options = inspect.signature(ControlPlane, eval_str=True).parameters.values()
    every = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *options)]
    asking.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
    asking.__name__, asking.__doc__ = command.__name__, command.__doc__
    return asking


def refusal(reply: Reply) -> str:
    """Why the control plane said no."""
    said = text(reply.answer or Answer({}), "error", f"status {reply.status}")
    return f"{said}. Here: --token-file FILE or ${TOKEN_FILE}" if reply.status == 401 else said


def _read(file: Path) -> str:
    from mesh.config import reading

    try:
        return reading.text(file)
    except reading.Unreadable as error:
        fail(str(error.problem))


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _unreachable(where: str, error: Exception, seconds: float) -> str:
    match error:
        case FileNotFoundError():
            reason, remedy = "there is no such socket", "Start it (`tieline control`)"
        case ConnectionRefusedError():
            reason, remedy = "nobody listens there", "Start it (`tieline control`)"
        case PermissionError():
            reason, remedy = "permission denied", "Run this as its user"
        case TimeoutError():
            reason, remedy = f"no answer within {seconds:.0f} s", "Look at its log"
        case ssl.SSLCertVerificationError():
            reason, remedy = f"its certificate is not to be trusted: {error.verify_message}", "Give --ca"
        case ssl.SSLError():
            reason, remedy = f"TLS: {error.reason or error}", "Check --ca, --cert and --key, and that it speaks TLS"
        case _:
            reason, remedy = str(error) or type(error).__name__, "Check the address"
    return f"the control plane can't be reached at {where}: {reason}. {remedy}, or name another with --control"
