"""Where workers of other machines connect to the launcher."""

import contextlib
import queue
import secrets
import socket
import struct
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from sweep.engines import wire

PAUSE = 0.1  # seconds, where nobody can be let in now


class Door:
    """Listens for workers; those that have the key are let in, each by a thread of its own."""

    def __init__(self, welcome: wire.Said) -> None:
        """Listen on all addresses: that by which workers find this machine may not be its own, as behind a NAT.

        welcome: what workers get to know first.
        """
        self.key = secrets.token_bytes(wire.KEY_BYTES)
        self.arrived: queue.SimpleQueue[tuple[Connection, wire.Said]] = queue.SimpleQueue()
        self.bell, self._ring = Pipe(duplex=False)  # can be read when somebody has arrived
        self._welcome = welcome
        self._socket = socket.create_server(("", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._socket.close()
        while not self.arrived.empty():
            self.arrived.get()[0].close()

    def _watch(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:  # the door is closed, or there are too many open files, or whoever knocked has left
                if self._socket.fileno() < 0:
                    return
                time.sleep(PAUSE)
                continue
            # A port scanner that says nothing must not keep workers out, nor its thread and connection for ever.
            threading.Thread(target=self._greet, args=(link,), daemon=True).start()

    def _greet(self, link: socket.socket) -> None:
        with contextlib.suppress(OSError), link, contextlib.ExitStack() as stack:
            connection = stack.enter_context(wire.over(link.dup()))
            _limit(link, wire.HANDSHAKE)  # `connection` is the same socket, so this holds for it, too
            if wire.accepted(connection, self.key):
                _limit(link, 0)
                wire.say(connection, "welcome", **self._welcome)
                self.arrived.put((connection, wire.hear(connection, "hello")))
                stack.pop_all()
                self._ring.send_bytes(b"!")


def _limit(link: socket.socket, seconds: float) -> None:
    """Have reads of the socket fail that wait for longer; 0: none."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), 0))
