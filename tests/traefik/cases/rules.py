"""Rules and priorities: which router takes a request, if any."""

from . import Case, Group


def cases() -> list[Case]:
    group = Group("rule")
    # What is said of each: the rule, then requests that it may take or not.
    for rule, asked in RULES:
        for said in asked:
            group.add(rule, rule="Host(`{host}`) && (" + rule + ")", **said)
    hosts(group)
    priorities(group)
    broken(group)
    return group.cases


def at(*targets: str) -> list[dict]:
    return [{"target": target} for target in targets]


def by(*methods: str) -> list[dict]:
    return [{"method": method} for method in methods]


def having(*fields: tuple[str, str] | None) -> list[dict]:
    return [{"fields": [one] if one else []} for one in fields]


RULES = [
    ("Path(`/a`)", at("/a", "/a/", "/A", "/a/b", "/", "/a?x=y", "/%61", "//a", "/b/../a", "/a/.")),
    ("Path(`/a b`)", at("/a%20b", "/a+b")),
    ("Path(`/a%2Fb`)", at("/a%2Fb", "/a/b", "/a%2fb")),
    ("PathPrefix(`/p`)", at("/p", "/p/", "/products", "/P", "/x/p", "/p%2Fx", "/./p", "/%70")),
    ("PathPrefix(`/`)", at("/", "/anything", "/a//b", "*")),
    ("PathPrefix(`/a/`)", at("/a", "/a/", "/a/b")),
    ("PathRegexp(`\\.(jpe?g|png)$`)", at("/x.jpg", "/x.jpeg", "/x.png", "/x.gif", "/x.jpg/y", "/X.JPG")),
    ("PathRegexp(`^/v[0-9]+/`)", at("/v1/", "/v12/x", "/v/", "/x/v1/")),
    ("PathRegexp(`(?i)^/shop`)", at("/shop", "/SHOP/x", "/ashop")),
    ("Method(`GET`)", by("GET", "HEAD", "POST", "PUT", "get")),
    ("Method(`post`)", by("POST", "GET")),
    ("Method(`OPTIONS`) || Method(`PATCH`)", by("OPTIONS", "PATCH", "DELETE")),
    ("Header(`X-K`, `v`)", having(("X-K", "v"), ("x-k", "v"), ("X-K", "V"), ("X-K", "w"), ("X-K", ""), None)),
    ("HeaderRegexp(`X-K`, `^v[0-9]`)", having(("X-K", "v1"), ("X-K", "v12x"), ("X-K", "xv1"), None)),
    ("HeaderRegexp(`Content-Type`, `^application/(json|yaml)$`)",
     having(("Content-Type", "application/json"), ("Content-Type", "application/yaml"), ("Content-Type", "text/json"))),
    ("Query(`k`, `v`)", at("/?k=v", "/?k=w", "/?k", "/?K=v", "/?a=b&k=v", "/?k=w&k=v", "/?k=v%20", "/?k=%76", "/")),
    ("Query(`k`)", at("/?k", "/?k=", "/?k=v", "/?x", "/")),
    ("Query(`k`, `a b`)", at("/?k=a+b", "/?k=a%20b", "/?k=ab")),
    ("QueryRegexp(`k`, `^[0-9]+$`)", at("/?k=12", "/?k=1x", "/?k=", "/?k", "/")),
    ("ClientIP(`127.0.0.1`)", at("/")),
    ("ClientIP(`10.0.0.0/8`)", [{}, {"fields": [("X-Forwarded-For", "10.1.2.3")]}]),
    ("ClientIP(`127.0.0.0/8`)", at("/")),
    ("!Path(`/no`)", at("/no", "/yes")),
    ("!(Method(`GET`) || Path(`/x`))", [*by("GET", "POST"), {"method": "POST", "target": "/x"}]),
    ("Path(`/a`) && Query(`q`, `1`) || Path(`/b`)", at("/a", "/a?q=1", "/b", "/b?q=2", "/c")),
    ("Path(`/a`) && (Query(`q`, `1`) || Path(`/b`))", at("/a", "/a?q=1", "/b")),
    ("PATH(`/up`) && path(`/up`)", at("/up", "/down")),
    ("Path(\"/quoted\")", at("/quoted", "/")),
]


def hosts(group: Group) -> None:
    for rule, asked in [
        ("Host(`{host}`)", ["{host}", "{HOST}", "{host}:8080", "{host}.", "x.{host}", "{host}x"]),
        ("Host(`UP.{host}`)", ["up.{host}", "UP.{host}"]),
        ("Host(`{host}.`)", ["{host}", "{host}."]),
        ("Host(`*.{host}`)", ["a.{host}", "a.b.{host}", "{host}", ".{host}", "A.{HOST}"]),
        ("HostRegexp(`^[a-z]+\\.{host}$`)", ["abc.{host}", "ABC.{host}", "ab1.{host}", "{host}"]),
        ("HostRegexp(`x[0-9]\\.{host}`)", ["x1.{host}", "yx1.{host}", "x1.{host}.de", "xx.{host}"]),
        ("Host(`{host}`) || Host(`other.{host}`)", ["{host}", "other.{host}", "more.{host}"]),
    ]:
        for host in asked:
            own = f"rule{len(group.cases)}.test"
            # Braces of patterns are not places for the host.
            group.add(f"{rule} asked for {host}", rule=rule, asked_host=host.format(host=own, HOST=own.upper()))


def priorities(group: Group) -> None:
    for about, first, second in [
        ("the longer rule", {"rule": "PathPrefix(`/a`)"}, {"rule": "PathPrefix(`/a/long`)"}),
        ("a priority before length", {"rule": "PathPrefix(`/a`)", "priority": 1000}, {"rule": "PathPrefix(`/a/long`)"}),
        ("a low priority", {"rule": "PathPrefix(`/a`)"}, {"rule": "PathPrefix(`/a/long`)", "priority": 1}),
        ("a negative priority", {"rule": "PathPrefix(`/a`)", "priority": -1}, {"rule": "PathPrefix(`/a/long`)", "priority": -5}),
        ("zero is unset", {"rule": "PathPrefix(`/a`)", "priority": 0}, {"rule": "PathPrefix(`/a/long`)", "priority": 3}),
        ("spaces count", {"rule": "PathPrefix(`/a`)                          "}, {"rule": "PathPrefix(`/a/long`)"}),
        ("equals of two lengths", {"rule": "Path(`/a/long`)"}, {"rule": "PathPrefix(`/a/l`)"}),
        ("a regexp that is longer", {"rule": "PathPrefix(`/a/long`)"}, {"rule": "PathRegexp(`^/a/(long|short)/?.*`)"}),
    ]:
        for target in ("/a/long", "/a/longer", "/a", "/b"):
            host = f"rule{len(group.cases)}.test"
            routers = {}
            for service, router in (("a", first), ("b", second)):
                rule = f"Host(`{host}`) && {router['rule']}"
                routers[f"{host.removesuffix('.test')}-{service}"] = {**router, "rule": rule, "service": service}
            group.add(f"{about} at {target}", rule=None, more={"routers": routers}, target=target)


def broken(group: Group) -> None:
    """What can't be read costs its router, and no other."""
    for rule in [
        "Host(`{host}`, `b.test`)", "Host(`{host}`) && Path(`no-slash`)", "Host(`{host}`) && Unknown(`x`)", "Host()",
        "Host(`{host}`) &&", "Host(`{host}`) && Query()", "Host(`{host}`) && PathRegexp(`(`)", "Host(`{host}`) & Path(`/`)",
        "Host(`{host}`) && Header(`X`)", "Host(`{host}`) && ClientIP(`nowhere`)", "Host(`{host}`) && Path(``)",
        "Host(`{host}`) && (Path(`/`)", "Host(`é{host}`)", "HoSt(`{host}`)",
    ]:
        group.add(f"broken: {rule}", rule=rule)
    group.add("no such middleware", router={"middlewares": ["nowhere"]})
    group.add("no such service", service="nowhere")
    group.add("no such entry point", router={"entryPoints": ["nowhere"]})
    group.add("another entry point besides", router={"entryPoints": ["nowhere", "web"]})
    group.add("a router that takes TLS only", router={"tls": {}})
    group.add("nobody's host", rule="Host(`somebody.test`)")
