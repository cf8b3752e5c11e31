"""What a proxy answers, read strictly from the wire, and what the origin said of the request."""

import gzip
import json
import socket
from dataclasses import dataclass, field

PATIENCE = 10


@dataclass
class Answer:
    status: int
    # Lower-case names, with all values of each in their order.
    fields: dict[str, list[str]]
    body: bytes
    # What the origin saw, where it answered.
    seen: dict | None = None
    # Of many requests: how they were answered, one by one.
    many: list = field(default_factory=list)


def ask(port: int, request: bytes, close: bool = False) -> Answer:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(request)
        if close:
            connection.shutdown(socket.SHUT_WR)
        return read(connection.makefile("rb"), request.split(b" ", 1)[0].decode())


def read(stream, method: str) -> Answer:
    while True:
        line = stream.readline().decode("latin-1")
        if not line:
            return Answer(0, {}, b"")
        status = int(line.split(" ")[1])
        fields: dict[str, list[str]] = {}
        while (line := stream.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), []).append(value.strip())
        if status >= 200 or status == 101:
            break
    return finish(Answer(status, fields, body(stream, method, status, fields)))


def body(stream, method: str, status: int, fields: dict[str, list[str]]) -> bytes:
    if method == "HEAD" or status in (101, 204, 304):
        return b""
    if "chunked" in fields.get("transfer-encoding", []):
        content = b""
        while size := int(stream.readline().split(b";")[0], 16):
            content += stream.read(size)
            stream.readline()
        while stream.readline() not in (b"\r\n", b""):
            pass
        return content
    if "content-length" in fields:
        return stream.read(int(fields["content-length"][0]))
    return stream.read()


def finish(answer: Answer) -> Answer:
    if answer.fields.get("content-encoding") == ["gzip"] and answer.body:
        answer.body = gzip.decompress(answer.body)
    if "x-backend" in answer.fields:
        try:
            seen = json.loads(answer.body)
        except ValueError:
            seen = None
        if isinstance(seen, dict) and "backend" in seen:
            answer.seen = seen
    return answer
