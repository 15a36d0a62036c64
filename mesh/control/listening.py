"""Where the API listens: the Unix socket, and a port, with TLS whose certificate is read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from mesh.config import certificates
from mesh.config.certificates import BadCertificate
from mesh.control.config import ControlConfig, ListenTls

logger = logging.getLogger("tieline.control")

SHUTDOWN_SECONDS = 0.2
LOOK_SECONDS = 1.0


class Unbindable(Exception):
    """The port or the socket can't be listened on; the text says why and what to do."""


class Tls:
    """`context` is for the server. A handshake goes on with the last one that was made whole: one that is changed while
    it is in use would show a certificate beside the key of another. Raises BadCertificate when it is made."""

    def __init__(self, config: ListenTls) -> None:
        self._config = config
        self._read = self._signature()
        self._last = _context(config)
        self.context = _context(config)
        self.context.sni_callback = self._take_last
        self.problem: str | None = None
        """Why the files are not what is shown to clients."""

    def _take_last(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called whether or not the client says a name."""
        handshake.context = self._last

    async def keep(self) -> None:
        """For ever. New connections get the new certificate."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            signature = await asyncio.to_thread(self._signature)
            if signature != self._read:
                self._read = signature
                await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        try:
            self._last = _context(self._config)
        except BadCertificate as error:
            self.problem = str(error)
            logger.error("the certificate can't be used, the last good one stays", extra={"fields": {"error": error}})
        else:
            self.problem = None
            logger.info("the certificate was read again", extra={"fields": {"file": self._config.cert}})

    def _signature(self) -> tuple[tuple[int, ...] | str, ...]:
        files = (self._config.cert, self._config.key, self._config.client_ca)
        return tuple(_stat(file) for file in files if file is not None)


def _context(config: ListenTls) -> ssl.SSLContext:
    """Raises BadCertificate."""
    certificates.pair(config.cert, config.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.cert, config.key)
        if config.client_ca is not None:
            certificates.bundle(config.client_ca, "client_ca")
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except OSError as error:  # It has changed since it was looked at.
        raise BadCertificate("cert", config.cert, str(error), "Give two files that were made together") from error
    return context


@asynccontextmanager
async def listening(app: web.Application, config: ControlConfig, tls: Tls | None) -> AsyncIterator[int | None]:
    """Yields the port, None when only the socket is listened on. Raises Unbindable."""
    # aiohttp would log the lines of requests that it can't read, and a token may stand in one. What fails in a route
    # has been logged before it comes here.
    silent = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001 - it is nobody's, so nobody turns it on
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS, logger=silent
    )
    await runner.setup()
    try:
        await _socket(runner, config.socket)
        yield await _port(runner, config, tls)
    finally:
        await runner.cleanup()
        config.socket.unlink(missing_ok=True)


async def _socket(runner: web.AppRunner, socket: pathlib.Path) -> None:
    socket.unlink(missing_ok=True)
    site = web.UnixSite(runner, str(socket))
    try:
        await site.start()
    except OSError as error:
        text = f"{socket} can't be listened on: {(error.strerror or str(error)).lower()}. Correct `run_dir`"
        raise Unbindable(text) from error
    socket.chmod(0o600)


async def _port(runner: web.AppRunner, config: ControlConfig, tls: Tls | None) -> int | None:
    listen = config.listen
    if listen.port is None:
        return None
    context = tls.context if tls is not None else None
    try:
        await web.TCPSite(runner, listen.address, listen.port, ssl_context=context).start()
    except OSError as error:
        # asyncio's own text repeats the address.
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        text = f"{listen.address}:{listen.port} can't be listened on: {reason}. Free it, or change `listen`"
        raise Unbindable(text) from error
    bound: int = runner.addresses[-1][1]
    return bound


def _stat(file: pathlib.Path) -> tuple[int, ...] | str:
    try:
        stat = file.stat()
    except OSError as error:
        return str(error.strerror)
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
