"""A web server as many are written in Python: http.server's, with threads. On the socket that was passed, else at PORT.

At SIGTERM it takes no more connections, answers what was asked, and ends the connections that are idle.
"""

import http.server
import os
import signal
import socket
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Head and body in one write.
    wbufsize = -1

    def answer(self, text):
        body = text.encode()
        if self.server.stopping:
            self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        self.answer(f"run {os.environ['DEVSUP_RUN'].rsplit('#')[-1]} pid {os.getpid()}\n")

    def do_PUT(self):
        left = length = int(self.headers["Content-Length"])
        while left:
            part = self.rfile.read(min(left, 65536))
            if not part:
                self.close_connection = True
                return
            left -= len(part)
        self.answer(f"length {length}\n")

    def handle(self):
        """As the one that is inherited, but it is known which connections are idle."""
        self.close_connection = True
        self.handle_one_request()
        while not self.close_connection and self.server.rests(self.connection):
            more = self.rfile.peek(1)
            self.server.goes_on(self.connection)
            if not more:
                return
            self.handle_one_request()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False
    request_queue_size = 1024

    def __init__(self):
        self.stopping, self.idle, self.lock = False, set(), threading.Lock()
        passed = os.environ.get("LISTEN_FDS") == "1" and os.environ.get("LISTEN_PID") == str(os.getpid())
        if passed:
            super().__init__(("", 0), Handler, bind_and_activate=False)
            self.socket.close()
            self.socket = socket.socket(fileno=3)
            # Another run may be faster at the same socket.
            self.socket.setblocking(False)
        else:
            super().__init__(("127.0.0.1", int(os.environ["PORT"])), Handler)

    def rests(self, connection):
        with self.lock:
            if not self.stopping:
                self.idle.add(connection)
            return not self.stopping

    def goes_on(self, connection):
        with self.lock:
            self.idle.discard(connection)

    def stop(self):
        self.shutdown()
        with self.lock:
            self.stopping = True
            for connection in self.idle:
                try:
                    # What has come already is still read and answered.
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    pass


def ready():
    name = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(b"READY=1", "\0" + name[1:] if name.startswith("@") else name)


server = Server()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.stop).start())
ready()
server.serve_forever(poll_interval=0.02)
# Waits for the threads of those that are open.
server.server_close()
