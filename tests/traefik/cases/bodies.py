"""Bodies: compressed, gathered, of a type that is found out."""

from . import Case, Group

ACCEPTED = [
    None, "", "gzip", "br", "zstd", "gzip, br", "br, gzip", "br;q=0.5, gzip;q=0.4", "*", "identity", "identity;q=1, gzip;q=0.5", "gzip;q=0", "compress", "br;q=0, *",
    "gzip, *;q=0", "deflate, gzip;q=1.0, *;q=0.5", "gzip;q=0.8, zstd;q=0.9",
]


def cases() -> list[Case]:
    group = Group("body")

    def compressed(about: str, options: dict, accepted: str | None, do: str = "", **said) -> None:
        fields = [("X-Do", do or "length=2000")] + ([] if accepted is None else [("Accept-Encoding", accepted)])
        group.add(f"compress {options} {about}", through=[{"compress": options}], fields=fields, **said)

    for accepted in ACCEPTED:
        compressed(f"for {accepted}", {}, accepted)
    for accepted in (None, "*", "gzip"):
        compressed(f"for {accepted}", {"defaultEncoding": "br"}, accepted)
    for accepted in ("gzip, br, zstd", "gzip", "br"):
        compressed(f"for {accepted}", {"encodings": ["br", "zstd"]}, accepted)
    for length in (1, 1023, 1024, 1025, 100_000):
        compressed(f"of {length}", {}, "gzip", f"length={length}")
        compressed(f"of {length}, by br", {}, "br", f"length={length}")
    for length in (100, 500, 2000):
        compressed(f"of {length}", {"minResponseBodyBytes": 500}, "gzip", f"length={length}")
    for kind in ("text/html", "image/png", "application/grpc", "text/event-stream", "text/html; charset=utf-8", "TEXT/HTML", "nonsense"):
        for options in ({}, {"excludedContentTypes": ["text/html", "image/png"]}, {"includedContentTypes": ["text/html"]}):
            compressed(f"of {kind}", options, "gzip", f"length=2000;type={kind}")
    compressed("coded already", {}, "gzip", "length=2000;set-Content-Encoding=x")
    compressed("with a tag", {}, "gzip", "length=2000;set-ETag=\"x\"")
    compressed("with a weak tag", {}, "gzip", "length=2000;set-ETag=W/\"x\"")
    compressed("that must not change", {}, "gzip", "length=2000;set-Cache-Control=no-transform")
    compressed("that varies", {}, "gzip", "length=2000;set-Vary=Cookie")
    compressed("a part", {}, "gzip", "length=2000;status=206;set-Content-Range=bytes 0-1999/5000")
    compressed("of ranges", {}, "gzip", "length=2000;set-Accept-Ranges=bytes")
    for status in (201, 204, 304, 404, 500):
        compressed(f"of status {status}", {}, "gzip", f"length=2000;status={status}")
    compressed("to HEAD", {}, "gzip", method="HEAD")
    compressed("in chunks", {}, "gzip", "length=2000;chunked=1")
    compressed("a long one in chunks", {}, "gzip", "length=200000;chunked=1")
    compressed("for a request of an excluded type", {"excludedContentTypes": ["application/x"]}, "gzip")
    group.cases[-1].fields.append(("Content-Type", "application/x"))
    compressed("for HTTP/1.0", {}, "gzip", version="1.0")

    for size in (0, 10, 11):
        for chunked in (False, True):
            body = "x" * size
            group.add(f"buffering of {size} within 10, chunks {chunked}", through=[{"buffering": {"maxRequestBodyBytes": 10}}], method="POST", body=body, chunked=chunked and size > 0)
    for length in (100, 900, 5000):
        for do in ("", ";chunked=1"):
            group.add(f"buffering of an answer of {length} within 1000{do}", through=[{"buffering": {"maxResponseBodyBytes": 1000}}], fields=[("X-Do", f"length={length}{do}")])
    group.add("buffering of a body in chunks", through=[{"buffering": {"memRequestBodyBytes": 1048576}}], method="POST", body="content", chunked=True)
    group.add("buffering to HEAD", through=[{"buffering": {"memRequestBodyBytes": 1048576}}], method="HEAD")
    group.add("buffering that repeats", through=[{"buffering": {"retryExpression": "ResponseCode() == 503 && Attempts() < 3"}}], fields=[("X-Do", "status=503")])

    for text in ("<html><body>", "plain words", "{\"a\": 1}", "%PDF-1.4", "<?xml version=\"1.0\"?>", "GIF89a"):
        for options in (None, {}, {"autoDetect": True}, {"autoDetect": False}):
            through = [] if options is None else [{"contentType": options}]
            group.add(f"an answer without a type, {text}, contentType {options}", through=through, fields=[("X-Do", f"text={text};type=")])
    for body, chunked in (("", False), ("content", False), ("content", True)):
        for method in ("POST", "PUT", "GET", "DELETE"):
            group.add(f"{method} with {body!r}, chunks {chunked}", method=method, body=body, chunked=chunked and body != "")
    return group.cases
