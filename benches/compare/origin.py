"""The origin: nginx with answers of several sizes, an echo of WebSocket messages, and one of datagrams. All on the
load's core."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxies.base import ECHO, HOST, ECHO_HOST, LOAD_CORE, ORIGIN, UDP_ECHO, pinned

SMALL = 128
FILES = {"64k": 64 << 10, "1m": 1 << 20, "2m": 2 << 20}
HERE = Path(__file__).parent


@contextmanager
def running(folder: Path) -> Iterator[None]:
    started = start(folder)
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()


def start(folder: Path) -> list[subprocess.Popen]:
    for name, size in FILES.items():
        (folder / name).write_bytes(b"a" * size)
    config = folder / "origin.conf"
    # The small answer is no file: what the origin spends is not there for the load. An upload is read to its end by a
    # detour over a second server, since `return` alone would answer before it has come.
    config.write_text(f"""
worker_processes 1; daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err;
events {{ worker_connections 8192; }}
http {{
    access_log off; default_type text/plain; sendfile on; open_file_cache max=16;
    keepalive_requests 1000000000; keepalive_timeout 3600s; client_max_body_size 0; client_body_buffer_size 2m;
    upstream read {{ server unix:{folder}/read.sock; keepalive 256; keepalive_requests 1000000000; }}
    server {{ listen unix:{folder}/read.sock; location / {{ return 200 "read"; }} }}
    server {{
        listen 127.0.0.1:{ORIGIN} backlog=4096; root {folder};
        location = /small {{ return 200 "{"a" * SMALL}"; }}
        location = /upload {{
            proxy_pass http://read; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_pass_request_body off; proxy_set_header Content-Length "";
        }}
        # What is left of a request that the attack began is not waited for: it is to be in the log at once.
        location = /attacked {{ access_log {folder}/attacked.log; lingering_timeout 100ms; return 200 "attacked"; }}
    }}
}}""")
    return [
        pinned(LOAD_CORE, ["nginx", "-c", config], folder / "origin.log"),
        pinned(LOAD_CORE, [sys.executable, HERE / "websocket.py", "serve", ECHO], folder / "echo.log"),
        pinned(LOAD_CORE, [sys.executable, HERE / "datagrams.py", "serve", UDP_ECHO], folder / "datagrams.log"),
    ]


def certificate(folder: Path) -> None:
    """A P-256 certificate of its own issue, for both hosts."""
    names = f"subjectAltName=DNS:{HOST},DNS:{ECHO_HOST}"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", f"/CN={HOST}", "-addext", names]
    subprocess.run(command, check=True, capture_output=True)
    # Workers that are not root read it too.
    (folder / "key.pem").chmod(0o644)
