"""What threads are connected to, so that a call which nobody waits for can be ended.

boto3 has no way to end a call: a thread would sit in it until its time is up, 20 s in SQS's long poll. So the
connections of a client are of classes that tell which thread uses them, and a connection is shut down under its thread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any
from weakref import WeakSet


class Connections:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[int, Any] = {}
        self._made: WeakSet[Any] = WeakSet()
        self._unwanted: set[int] = set()

    def watch(self, client: Any) -> None:
        """`client`: boto3's, not used yet. Were botocore built otherwise, calls would end when their time is up."""
        from botocore import awsrequest

        classes: dict[str, Any] = getattr(client._endpoint.http_session, "_pool_classes_by_scheme", {})
        for scheme, pool in (("http", awsrequest.AWSHTTPConnectionPool), ("https", awsrequest.AWSHTTPSConnectionPool)):
            if scheme in classes and classes[scheme] is pool:
                classes[scheme] = type("Pool", (pool,), {"ConnectionCls": self._telling(pool.ConnectionCls)})

    def interrupt(self, thread: int) -> None:
        """What the thread is connected to, and what it is about to connect to."""
        with self._lock:
            self._unwanted.add(thread)
            used = self._used.get(thread)
            # A connection goes back to the pool before its thread has read the answer: another may have it by now.
            if used is not None and used.thread == thread:
                _shut_down(used)

    def forget(self, thread: int) -> None:
        """The call of this thread is over."""
        with self._lock:
            self._used.pop(thread, None)
            self._unwanted.discard(thread)

    def close(self) -> None:
        """Those that are idle; botocore leaves them to the garbage collector. Who is interrupted closes its own."""
        with self._lock:
            for connection in self._made:
                if self._used.get(connection.thread) is not connection:
                    connection.close()

    def _telling(self, connection: type[Any]) -> type[Any]:
        def connect(self: Any) -> None:
            connection.connect(self)
            checked(self)

        def request(self: Any, *args: Any, **kwargs: Any) -> Any:
            checked(self)
            return connection.request(self, *args, **kwargs)

        checked = self._checked
        return type("Connection", (connection,), {"connect": connect, "request": request})

    def _checked(self, connection: Any) -> None:
        """A thread that is interrupted while it connects has no socket yet that could have been shut down."""
        with self._lock:
            connection.thread = threading.get_ident()
            self._used[connection.thread] = connection
            self._made.add(connection)
            if connection.thread in self._unwanted:
                _shut_down(connection)


def _shut_down(connection: Any) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's own: it would take the session away from under the thread that reads.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
