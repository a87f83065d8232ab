"""An instance's metadata service whose credentials the emulator accepts.

MiniStack has IMDSv2, but the keys it hands out there are strangers to its own AUTH=true (InvalidClientTokenId). So tokens are
MiniStack's, issued and judged by it, and only the role's name and the credentials are ours: a session of role-dev.
"""

import http.client
import http.server
import json
import threading
import time

CREDENTIALS = "/latest/meta-data/iam/security-credentials"


class Front:
    """Serves on 127.0.0.1 until closed. `assume` answers the Credentials of a fresh session."""

    def __init__(self, upstream_port, role, assume):
        front = self
        self.role, self.assume, self.upstream_port = role, assume, upstream_port
        self.handed_out = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                front.answer(self)

            do_PUT = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request):
        path = request.path.rstrip("/")
        ours = request.command == "GET" and path.startswith(CREDENTIALS)
        # Ours too are asked upstream first, for a harmless page: it is upstream that judges the token.
        status, headers, body = self.upstream(request, "/latest/meta-data/instance-id" if ours else request.path)
        if ours and status == 200:
            if path == CREDENTIALS:
                body = self.role.encode()
            elif path == f"{CREDENTIALS}/{self.role}":
                body = json.dumps(self.document()).encode()
                self.handed_out += 1
            else:
                status, body = 404, b"Not Found"
        request.send_response(status)
        for name in ("Content-Type", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"):
            if headers.get(name):
                request.send_header(name, headers[name])
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def upstream(self, request, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=10)
        kept = {k: v for k, v in request.headers.items() if k.lower().startswith("x-aws-ec2-")}
        connection.request(request.command, path, headers=kept)
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    def document(self):
        keys = self.assume()
        return {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
