"""The proxies, each configured to do the same: keep connections to the origin, add two fields, write no log."""

from types import ModuleType

from . import caddy, envoy, haproxy, nginx, portolan, traefik

ALL: dict[str, ModuleType] = {
    "portolan": portolan,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
    "traefik": traefik,
    "caddy": caddy,
}
