"""A stand-in for Enrichr on the loopback interface, well-behaved or not."""

from __future__ import annotations

import json
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIBRARY = "first set\t\tGENE0,1.0\tGENE1,0.5\tGENE2\nsecond/set\t\tGENE3\tGENE4\n"


@contextmanager
def enrichr(behaviour="good", *, refuse_first=0, libraries=("My_Library",)):
    """Yield (address, list of the paths that were asked)."""
    asked, release = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def send(self, status, body, *, length=None):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            asked.append(self.path)
            url = urllib.parse.urlparse(self.path)
            if behaviour == "silent":
                release.wait(20)
                self.close_connection = True
            elif len(asked) <= refuse_first:
                self.send(429, b"slow down")
            elif behaviour.isdigit():
                self.send(int(behaviour), b"no")
            elif behaviour == "html":
                self.send(200, b"<!DOCTYPE html>\n<html><body>Sign in to the hotel</body></html>")
            elif behaviour == "truncated":
                self.send(200, LIBRARY.encode()[:40], length=len(LIBRARY))
                self.close_connection = True
            elif behaviour == "truncated-chunks":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"28\r\n" + LIBRARY.encode()[:40] + b"\r\n")
                self.close_connection = True
            elif url.path.endswith("/datasetStatistics"):
                self.send(200, json.dumps({"statistics": [{"libraryName": name} for name in libraries]}).encode())
            else:
                self.send(200, LIBRARY.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/Enrichr", asked
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()
