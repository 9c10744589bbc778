"""The backend of a chat: issues tokens to its users and publishes events to all of them.

Both keys and the address come from the Secrets that Parley creates for a ChatTenant and a ChatCredential, mounted
as the Service Binding specification says.
"""

import json
import os
import signal
import sys
import time
import uuid
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cent import Client, PublishRequest

PORT = int(os.environ.get("PORT", "3000"))
BINDINGS = Path(os.environ.get("SERVICE_BINDING_ROOT", "/bindings"))
HERE = Path(__file__).parent
PAGE = HERE / "../browser"
CENTRIFUGE_JS = Path(
    os.environ.get("CENTRIFUGE_JS", HERE / "../../node_modules/centrifuge/dist/centrifuge.js")
)
BODY_BYTES_MAX = 10_000


def read_binding(name: str) -> bytes:
    """Reads a file of the bindings. It is read each time, since it changes when Parley rotates a key."""
    return (BINDINGS / name).read_bytes()


def chat_token(user: str) -> str:
    claims = {"sub": user, "exp": int(time.time()) + 600}
    return jwt.encode(claims, read_binding("chat/backend"), algorithm="HS256")


def publish(channel: str, data: Any) -> None:
    uri = read_binding("chat/uri").decode().replace("ws", "http", 1)
    with Client(f"{uri}/api", read_binding("chat-api/api-key").decode(), timeout=5) as client:
        client.publish(PublishRequest(channel=channel, data=data))


class Refusal(Exception):
    def __init__(self, status: HTTPStatus) -> None:
        self.status = status


# Users by the session id in their cookie.
sessions: dict[str, str] = {}


class Backend(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=str(PAGE))

    def translate_path(self, path: str) -> str:
        return str(CENTRIFUGE_JS) if path == "/centrifuge.js" else super().translate_path(path)

    def do_POST(self) -> None:
        try:
            body = self.body()
            match self.path:
                case "/login":
                    self.answer({}, cookie=f"session={self.login(body)}; HttpOnly; SameSite=Strict")
                case "/token":
                    url = f"{read_binding('chat/uri').decode()}/connection/websocket"
                    self.answer({"token": chat_token(self.user()), "url": url})
                case "/ring":
                    publish("general", {"text": f"{self.user()} rings the bell"})
                    self.answer({})
                case _:
                    raise Refusal(HTTPStatus.NOT_FOUND)
        except Refusal as refusal:
            self.send_error(refusal.status)
        except Exception:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            raise

    def body(self) -> Any:
        length = int(self.headers["Content-Length"] or 0)
        if not 0 <= length <= BODY_BYTES_MAX:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            return json.loads(self.rfile.read(length))
        except ValueError:
            raise Refusal(HTTPStatus.BAD_REQUEST) from None

    def login(self, body: Any) -> str:
        """Accepts any user name: replace it with your own login."""
        user = body.get("user") if isinstance(body, dict) else None
        if not isinstance(user, str) or user == "":
            raise Refusal(HTTPStatus.BAD_REQUEST)
        session = str(uuid.uuid4())
        sessions[session] = user
        return session

    def user(self) -> str:
        session = SimpleCookie(self.headers["Cookie"]).get("session")
        if session is None or session.value not in sessions:
            raise Refusal(HTTPStatus.UNAUTHORIZED)
        return sessions[session.value]

    def answer(self, fields: dict[str, str], cookie: str | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        if cookie is not None:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(json.dumps(fields).encode())


with ThreadingHTTPServer(("", PORT), Backend) as server:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print(f"http://localhost:{server.server_port}/", flush=True)
    server.serve_forever()
