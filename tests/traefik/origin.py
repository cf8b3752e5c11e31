"""Servers behind both proxies: each answers with what it saw, or as `X-Do` tells it."""

import json
import socketserver
import threading

NAMES = {"a": 9001, "b": 9002, "c": 9003, "pages": 9004}
# Nobody is there.
NOBODY = 9009


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.serve():
            pass

    def serve(self) -> bool:
        line = self.rfile.readline().decode("latin-1").strip()
        if not line:
            return False
        method, target, _ = line.split(" ", 2)
        fields: dict[str, list[str]] = {}
        while field := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = field.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        body = self.body(fields)
        orders = [order.partition("=")[::2] for order in ";".join(fields.pop("x-do", [])).split(";") if order]
        told = {name.strip(): value for name, value in orders}
        if "reset" in told:
            return False
        answer, head = self.answer(told, method, target, fields, body)
        self.wfile.write(head + (b"" if method == "HEAD" else answer))
        return "close" not in told

    def body(self, fields: dict[str, list[str]]) -> str:
        if "chunked" in fields.get("transfer-encoding", []):
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(fields.get("content-length", ["0"])[0]))
        return content.decode("latin-1")

    def answer(self, told, method, target, fields, body) -> tuple[bytes, bytes]:
        seen = {"method": method, "target": target, "fields": fields, "body": body, "backend": self.server.name}
        content = json.dumps(seen).encode()
        # Whatever the length, it says what was seen: spaces change nothing of JSON.
        content += b" " * (int(told.get("length", 0)) - len(content))
        if "text" in told:
            content = told["text"].encode()
        status = int(told.get("status", 200))
        lines = [f"HTTP/1.1 {status} As Told", f"X-Backend: {self.server.name}"]
        if told.get("type", "application/json"):
            lines.append(f"Content-Type: {told.get('type', 'application/json')}")
        lines += [order[len("set-"):] + ": " + value for order, value in told.items() if order.startswith("set-")]
        if status in (204, 304):
            content = b""
        elif "chunked" in told:
            lines.append("Transfer-Encoding: chunked")
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
        else:
            lines.append(f"Content-Length: {len(content)}")
        return content, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name: str, port: int):
        super().__init__(("127.0.0.1", port), Handler)
        self.name = name

    def handle_error(self, request, client_address):
        pass


def serve_all() -> list[Server]:
    servers = [Server(name, port) for name, port in NAMES.items()]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return servers
