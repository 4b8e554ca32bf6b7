"""What stands between client and server: a network that can be cut, a proxy that gives up too early."""

import http.client
import select
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Impatient(BaseHTTPRequestHandler):
    """Passes requests on, and each kind of answer once withheld: 524, and a page. Of websockets it knows nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.pass_on()

    def do_POST(self):
        self.pass_on()

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        behind.request(self.command, self.path, body, headers)
        answer = behind.getresponse()
        status, content = answer.status, answer.read()
        behind.close()
        kind = self.path.split("?")[0].split("/")[1]
        self.server.passed.append(f"{self.command} {kind}")
        if kind not in self.server.withheld and kind != "object_info":
            self.server.withheld.add(kind)
            status, content = 524, b"<!DOCTYPE html><title>A timeout occurred</title>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def impatient_proxy_to(server):
    """Gives a proxy that withholds the first answer of each route; `passed` lists what it passed on."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Impatient)
    proxy.behind, proxy.passed, proxy.withheld = server.port, [], set()
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
