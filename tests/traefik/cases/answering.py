"""Answers as the server gives them: statuses, fields, framing."""

from . import Case, Group


def cases() -> list[Case]:
    group = Group("answer")
    for status in (200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 404, 418, 499, 500, 502, 503, 599):
        for method in ("GET", "HEAD"):
            group.add(f"{status} to {method}", method=method, fields=[("X-Do", f"status={status}")])
    for order in ("set-Connection=X-Hop;set-X-Hop=1", "set-Keep-Alive=5", "set-Server=x", "set-Set-Cookie=a=b", "set-X-Empty=", "set-Location=/x;status=302",
                  "set-Upgrade=h2c", "set-Proxy-Authenticate=x", "set-Trailer=X-T", "set-Date=Thu, 01 Jan 1970 00:00:00 GMT", "set-Content-Type=;type=x/y", "set-Age=1"):
        group.add(f"with {order}", fields=[("X-Do", order)])
    for do in ("length=100000", "length=100000;chunked=1", "chunked=1", "close=1", "text=;type=text/plain"):
        group.add(f"framed by {do}", fields=[("X-Do", do)])
        group.add(f"framed by {do} for HTTP/1.0", fields=[("X-Do", do)], version="1.0")
    return group.cases
