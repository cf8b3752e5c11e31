"""Services: servers, weights, services of services, cookies."""

import origin

from . import Case, Group


def server(name: str, **said) -> dict:
    return {"url": f"http://127.0.0.1:{origin.NAMES[name]}", **said}


def backends(each) -> list:
    """How often each was chosen: who begins is chance."""
    chosen = [answer.fields.get("x-backend", ["none"])[0] for answer in each]
    return sorted((name, chosen.count(name)) for name in set(chosen))


def cases() -> list[Case]:
    group = Group("service")

    def served(about: str, service: dict, more: dict | None = None, **said) -> None:
        name = f"service{len(group.cases)}"
        group.add(about, service=name, more={"services": {name: service, **(more or {})}}, **said)

    def many(about: str, service: dict, more: dict | None = None, times: int = 12, **said) -> None:
        served(about, service, more, times=times, of_many=backends, **said)

    def spread(servers: list, **said) -> dict:
        return {"loadBalancer": {"servers": servers, **said}}

    many("two servers", spread([server("a"), server("b")]))
    many("three servers", spread([server("a"), server("b"), server("c")]))
    many("weights of servers", spread([server("a", weight=3), server("b", weight=1)]))
    many("a server of weight 0", spread([server("a", weight=0), server("b")]))
    many("hrw", spread([server("a"), server("b")], strategy="hrw"))
    many("the same server twice", spread([server("a"), server("a")]))
    served("no servers", spread([]))
    served("a path of its own", spread([{**server("a"), "url": server("a")["url"] + "/base", "preservePath": True}]), target="/x")
    served("a path that is not kept", spread([{**server("a"), "url": server("a")["url"] + "/base"}]), target="/x")
    served("the host of the server", spread([server("a")], passHostHeader=False))
    served("a host that does not exist", spread([{"url": "http://nobody.invalid"}]))
    served("no url", spread([{"url": "nonsense"}]))
    weighted = {"weighted": {"services": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}}
    many("weighted", weighted)
    many("weighted, one of 0", {"weighted": {"services": [{"name": "a", "weight": 0}, {"name": "b", "weight": 1}]}})
    served("weighted, all of 0", {"weighted": {"services": [{"name": "a", "weight": 0}]}})
    served("weighted, one is missing", {"weighted": {"services": [{"name": "a"}, {"name": "nowhere"}]}})
    many("mirroring answers by the first", {"mirroring": {"service": "a", "mirrors": [{"name": "b", "percent": 100}]}}, times=3)
    served("mirroring of a body", {"mirroring": {"service": "a", "mirrors": [{"name": "b", "percent": 100}]}}, method="POST", body="content")
    served("failover to the first", {"failover": {"service": "a", "fallback": "b"}})
    def failed(about: str, errors: dict, do: str, more: dict | None = None, **said) -> None:
        # Traefik takes no further field for the other service, so `X-Do` tells the first one by its own middleware.
        name = f"told{len(group.cases)}"
        told = {name: {**spread([server("a")]), "middlewares": [name]}, **(more or {})}
        served(f"failover after {do}, {errors}, {about}", {"failover": {"service": name, "fallback": "b", "errors": errors}}, told, **said)
        group.cases[-1].more["middlewares"] = {name: {"headers": {"customRequestHeaders": {"X-Do": do}}}}

    for do in ("status=200", "status=404", "status=500", "status=503", "reset"):
        failed("GET", {"status": ["500-504"]}, do)
        failed("POST", {"status": ["500-504"]}, do, method="POST", body="content")
    failed("a list", {"status": ["404", "500-502"]}, "status=404")
    for body in ("seven b", "eight by"):
        failed("of a body", {"status": ["503"], "maxRequestBodyBytes": 7}, "status=503", method="POST", body=body)
        failed("of a body in chunks", {"status": ["503"], "maxRequestBodyBytes": 7}, "status=503", method="POST", body=body, chunked=True)
    failed("of no body", {"status": ["503"], "maxRequestBodyBytes": 0}, "status=503")
    inner = {"weighted": {"services": [{"name": "service-of-its-own"}]}}
    served("middlewares of a service within another", inner, {"service-of-its-own": {**spread([server("a")]), "middlewares": ["its-own"]}}, target="/x")
    group.cases[-1].more["middlewares"] = {"its-own": {"addPrefix": {"prefix": "/its-own"}}}
    sticky = {"sticky": {"cookie": {"name": "kept"}}}
    served("a cookie is set", spread([server("a")], **sticky))
    served("a cookie with all it may have", spread([server("a")], sticky={"cookie": {"name": "kept", "secure": True, "httpOnly": True, "sameSite": "strict", "maxAge": 60, "path": "/p"}}))
    served("a cookie of a domain", spread([server("a")], sticky={"cookie": {"name": "kept", "domain": "a.test"}}))
    served("a weighted cookie of a domain", {"weighted": {"services": [{"name": "a"}], "sticky": {"cookie": {"name": "kept", "domain": "a.test"}}}})
    served("mirroring with a health check", {"mirroring": {"service": "a", "mirrors": [], "healthCheck": {}}})
    served("a cookie of Traefik's name", spread([server("a")], sticky={"cookie": {}}))
    served("a cookie of nobody", spread([server("a")], **sticky), fields=[("Cookie", "kept=unknown")])
    served("a sticky weighted", {"weighted": {"services": [{"name": "a"}], **sticky}})
    served("middlewares of a service", {**spread([server("a")]), "middlewares": ["of-services"]}, target="/x")
    group.cases[-1].more["middlewares"] = {"of-services": {"addPrefix": {"prefix": "/of-service"}}}
    return group.cases
