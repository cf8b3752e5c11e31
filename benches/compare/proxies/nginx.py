"""nginx. It passes TCP and datagrams on with a module that Debian packs apart."""

from pathlib import Path

from .base import ECHO, ECHO_HOST, KEPT, ORIGIN, PROXY_CORE, UDP_ECHO, Proxy, Setup, pinned

APT = "nginx"
PROGRAM = "nginx"
# Of the package libnginx-mod-stream.
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    config = folder / "nginx.conf"
    log = f"{folder}/nginx.access json buffer=64k flush=1s" if setup.logged else "off"
    # Its own default is a few KiB for each request, which doubles what large answers cost, and bounds what those hold
    # that nobody reads.
    buffers = "" if setup.guarded else "proxy_buffers 16 16k; proxy_buffer_size 16k; proxy_busy_buffers_size 64k;"
    # Version 1.22 takes HTTP/2 by prior knowledge only where it takes nothing else.
    listen = f"""
        listen 127.0.0.1:{ports.http};
        listen 127.0.0.1:{ports.h2c} http2;
        listen 127.0.0.1:{ports.tls} ssl http2;
        keepalive_requests 1000000000;"""
    fields = """
        proxy_http_version 1.1; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;"""
    module, stream = "", ""
    if STREAM.exists():
        module = f"load_module {STREAM};"
        stream = f"""
stream {{
    # Its own default is 10 minutes; the others' is an hour, or none.
    proxy_timeout 1h;
    server {{ listen 127.0.0.1:{ports.tcp}; proxy_pass 127.0.0.1:{ORIGIN}; }}
    server {{ listen 127.0.0.1:{ports.udp} udp; proxy_pass 127.0.0.1:{UDP_ECHO}; }}
}}"""
    config.write_text(f"""
{module}
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 8192; }}
{stream}
http {{
    log_format json escape=json '{{"ClientHost":"$remote_addr","time":"$time_iso8601","RequestMethod":"$request_method",'
        '"RequestHost":"$host","RequestPath":"$request_uri","RequestProtocol":"$server_protocol",'
        '"DownstreamStatus":$status,"DownstreamContentSize":$body_bytes_sent,"Duration":$request_time,'
        '"ServiceAddr":"$upstream_addr","request_User-Agent":"$http_user_agent"}}';
    access_log {log}; server_names_hash_max_size 8192; server_names_hash_bucket_size 128;
    keepalive_timeout 75s; client_header_timeout 10s; client_max_body_size 0;
    ssl_certificate {setup.certificate}; ssl_certificate_key {setup.key};
    ssl_protocols TLSv1.3; ssl_session_cache shared:tls:10m;
    # Nothing is written to a file: neither a large answer nor an upload.
    proxy_max_temp_file_size 0; proxy_request_buffering off; {buffers}
    upstream origin {{
        server 127.0.0.1:{ORIGIN}; keepalive {KEPT}; keepalive_requests 1000000000;
    }}
    server {{
        {listen}
        server_name {" ".join(setup.hosts)};
        location / {{ proxy_pass http://origin; proxy_set_header Connection ""; {fields} }}
    }}
    server {{
        {listen}
        server_name {ECHO_HOST};
        location / {{
            proxy_pass http://127.0.0.1:{ECHO}; proxy_read_timeout 1h; {fields}
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }}
    }}
}}""")
    process = pinned(PROXY_CORE, [setup.program, "-c", config], folder / "nginx.log")
    kinds = {"http": ports.http, "h2c": ports.h2c, "tls": ports.tls}
    return Proxy("nginx", process, {**kinds, "tcp": ports.tcp, "routed": ports.tcp, "kernel": ports.tcp, "udp": ports.udp} if stream else kinds)
