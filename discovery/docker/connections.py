"""Connections for the SDK that can be cut: who waits in one then gets an error at once, in whatever thread it is."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection

_KEEPALIVE = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A stream of events may be silent for days: so that a host that is gone is noticed within half a minute."""


class Live:
    """The connections that are open. Once cut there will be no more."""

    def __init__(self) -> None:
        self._connections: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self.is_cut = False

    @property
    def count(self) -> int:
        return len(self._connections)

    def connected(self, connection: Any) -> None:
        """Before every request. Connects if need be; from then on it can be cut."""
        if connection.is_closed:
            connection.connect()
        with self._lock:
            if self.is_cut:
                connection.close()
                raise ConnectionAbortedError(errno.ECONNABORTED, "the connections have been cut")
            self._connections.add(connection)

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            for connection in self._connections:
                if connection.sock is not None:
                    with contextlib.suppress(OSError):
                        # Not SSLSocket's own: it would take the session from the thread that reads.
                        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()


class _Pool(HTTPConnectionPool):
    def __init__(self, live: Live, host: str, port: int | None = None, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._live = live

    def _validate_conn(self, conn: Any) -> None:
        super()._validate_conn(conn)
        self._live.connected(conn)


class _TlsPool(HTTPSConnectionPool):
    def __init__(self, live: Live, host: str, port: int | None = None, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._live = live

    def _validate_conn(self, conn: Any) -> None:
        super()._validate_conn(conn)
        self._live.connected(conn)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._seconds = path, timeout

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._seconds)
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock


class _UnixPool(_Pool):
    def __init__(self, live: Live, path: str, timeout: float) -> None:
        super().__init__(live, "localhost", maxsize=10)
        self._path, self._seconds = path, timeout

    def _new_conn(self) -> Any:
        return _UnixConnection(self._path, self._seconds)


class Adapter(HTTPAdapter):
    """For `Session.mount`. `path`: of a Unix socket. `timeout`: to connect, also where the SDK sets none."""

    def __init__(self, live: Live, path: str | None, timeout: float) -> None:
        self._live, self._timeout = live, timeout
        self._unix = _UnixPool(live, path, timeout) if path else None
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, socket_options=_KEEPALIVE, **options)
        pools: dict[str, Any] = {"http": partial(_Pool, self._live), "https": partial(_TlsPool, self._live)}
        self.poolmanager.pool_classes_by_scheme = pools

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> HTTPConnectionPool:
        return self._unix or super().get_connection_with_tls_context(*arguments, **named)

    def request_url(self, request: PreparedRequest, proxies: Any = None) -> str:
        return request.path_url if self._unix else super().request_url(request, proxies)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        given = (self._timeout, None) if timeout is None else timeout
        return super().send(request, stream, given, verify, cert, dict(proxies or {}))

    def close(self) -> None:
        super().close()
        if self._unix is not None:
            self._unix.close()
