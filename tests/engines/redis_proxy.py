"""A proxy in front of a server that loses requests or replies when a test asks for it."""

import select
import socket
import threading


class Proxy:
    """Forwards one port to another until told to lose something."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._losing: str | None = None
        self.lost = threading.Event()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose_next(self, what: str) -> None:
        """Cut the connection instead of forwarding the next "request" or "reply"."""
        self.lost.clear()
        self._losing = what

    def close(self) -> None:
        self._ended.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        self._listener.settimeout(0.05)
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._forward, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while not self._ended.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(1 << 16)
                    what, other = ("request", server) if source is client else ("reply", client)
                    if self._losing == what:
                        self._losing = None
                        self.lost.set()
                        return
                    if not data:
                        return
                    other.sendall(data)
