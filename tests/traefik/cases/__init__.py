"""What both are asked: each case is a router of its own, for a host of its own, and a request."""

import copy
from dataclasses import dataclass, field

import origin


@dataclass
class Case:
    """A router, what it goes through, and one request."""

    name: str
    host: str
    # `{host}` stands for the case's own; `None` is that routers stand in `more`.
    rule: str | None = "Host(`{host}`)"
    service: str = "a"
    through: list[dict] = field(default_factory=list)
    router: dict = field(default_factory=dict)
    # Further routers, middlewares and services, by name.
    more: dict = field(default_factory=dict)
    method: str = "GET"
    target: str = "/"
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: str | None = None
    chunked: bool = False
    version: str = "1.1"
    asked_host: str | None = None
    # How often it is asked, one after another, and what of that is compared.
    times: int = 1
    of_many: callable = lambda each: [answer.status for answer in each]

    def request(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/{self.version}", f"Host: {self.asked_host or self.host}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        body = ""
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = f"{len(self.body):x}\r\n{self.body}\r\n0\r\n\r\n"
        elif self.body is not None:
            lines.append(f"Content-Length: {len(self.body)}")
            body = self.body
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")

    def shown(self) -> str:
        fields = ", ".join(f"{name}: {value}" for name, value in self.fields)
        return f"{self.method} {self.target} ({fields}) by {self.rule} through {self.through}"

    def add_to(self, http: dict) -> None:
        names = []
        for index, middleware in enumerate(self.through):
            name = f"{self.slug()}-{index}"
            http["middlewares"][name] = middleware
            names.append(name)
        if self.rule is not None:
            router = {"rule": self.rule.format(host=self.host), "service": self.service, **self.router}
            if names:
                router["middlewares"] = names
            http["routers"][self.slug()] = router
        for kind, named in self.more.items():
            http[kind].update(copy.deepcopy(named))

    def slug(self) -> str:
        return self.host.removesuffix(".test")


class Group:
    """Cases of one topic; numbers make their hosts."""

    def __init__(self, topic: str):
        self.topic = topic
        self.cases: list[Case] = []

    def add(self, about: str, **said) -> None:
        number = len(self.cases)
        self.cases.append(Case(f"{self.topic}: {about}", f"{self.topic}{number}.test", **said))


def all() -> list[Case]:
    from . import answering, asking, bodies, failures, fields, paths, rules, services

    return [case for module in (rules, paths, fields, bodies, failures, answering, asking, services) for case in module.cases()]


def dynamic(asked: list[Case]) -> dict:
    """The file for these."""
    def server(port: int) -> dict:
        return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}

    services = {name: server(port) for name, port in origin.NAMES.items()}
    services["nobody"] = server(origin.NOBODY)
    http = {"routers": {"ready": {"rule": "Host(`ready.test`)", "service": "a"}}, "middlewares": {}, "services": services}
    for case in asked:
        case.add_to(http)
    return {"http": {kind: named for kind, named in http.items() if named}}
