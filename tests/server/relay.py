"""A network between client and server that can be cut."""

import select
import socket
import threading
from contextlib import contextmanager, suppress

from comfy_server import free_port


class Relay:
    """Passes on what comes at its port, as long as it is whole."""

    def __init__(self, port):
        self.port, self.target, self.pairs, self.whole, self.ended = free_port(), port, [], True, False
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        threads = []
        while not self.ended:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            near, _ = self.listener.accept()
            if not self.whole:
                near.close()
                continue
            pair = (near, socket.create_connection(("127.0.0.1", self.target)))
            self.pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threads.append(threading.Thread(target=self.pipe, args=(source, sink)))
                threads[-1].start()
        self.cut()
        for thread in threads:
            thread.join()
        for near, far in self.pairs:
            near.close()
            far.close()

    @staticmethod
    def pipe(source, sink):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.whole = False
        for near, far in self.pairs:
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the threads that read from it; a close would not

    def close(self):
        self.ended = True
        self.thread.join()
        self.listener.close()


@contextmanager
def relay_to(server):
    relay = Relay(server.port)
    try:
        yield relay
    finally:
        relay.close()
