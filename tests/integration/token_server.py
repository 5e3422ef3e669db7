# SPDX-License-Identifier: Apache-2.0
"""Says whose a bearer token is, as Dovecot asks for it (tokeninfo of OAuth 2.0)."""

import http.server
import json
import threading
import urllib.parse


class TokenServer:
    """`users` maps tokens to user names; `asked` are the tokens that somebody wanted to know."""

    def __init__(self):
        self.users = {}
        self.asked = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/tokeninfo"

    def _make_handler(self):
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                status, answer = tokens.answer(query.get("access_token", [""])[0])
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def answer(self, token):
        """The status and the object of an answer."""
        self.asked.append(token)
        if token in self.users:
            return 200, {"username": self.users[token], "active": True}
        return 401, {"error": "invalid_token"}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
