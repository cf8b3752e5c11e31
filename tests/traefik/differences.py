"""Where Portolan answers otherwise on purpose, each with its reason; and what is compared at all."""

from dataclasses import dataclass, field
from http import HTTPStatus

from answers import Answer
from cases import Case

# How a message is framed is each proxy's own: the content is compared.
FRAMING = {"content-length", "transfer-encoding", "connection", "keep-alive", "date"}
# What each says of itself.
OWN = {"x-forwarded-server"}


@dataclass
class Found:
    """What is otherwise for a case."""

    case: Case
    faults: list[str] = field(default_factory=list)
    intended: set[str] = field(default_factory=set)


@dataclass
class Difference:
    name: str
    reason: str
    # Whether it is this one: the case, what is compared, Portolan's and Traefik's of it.
    is_it: callable
    # Whether it can be, by the two answers.
    can_be: callable = lambda portolan, traefik: True


def both_refuse(portolan: Answer, traefik: Answer) -> bool:
    """Whether neither asked a server, and both say so by the same status."""
    answered = "x-backend" in portolan.fields or "x-backend" in traefik.fields
    return portolan.status == traefik.status >= 400 and not answered


def refused(what: str, ours, theirs) -> bool:
    """What a refusal of Portolan's own says, beside the bare phrase that Traefik says."""
    if what == "answer's content-type":
        return ours == ["text/plain; charset=utf-8"] and theirs is None
    if what == "answer's x-content-type-options":
        return ours == ["nosniff"] and theirs is None
    phrases = {status.phrase.encode() for status in HTTPStatus} | {b"no available server\n", b""}
    return what == "body" and theirs in phrases and (ours == b"Payload Too Large" or ours.count(b"\n") == 1)


def hop_by_hop(what: str, ours, theirs) -> bool:
    """The five fields that Go takes for another kind than RFC 9110 does."""
    if what == "server's te":
        return ours is None and theirs == ["trailers"]
    announced = what in ("server's trailer", "answer's trailer")
    proven = what in ("server's proxy-authorization", "answer's proxy-authenticate")
    return (announced or proven) and bool(ours) and theirs is None


def told_anew(case: Case, what: str, ours, theirs) -> bool:
    """`Forwarded` as Portolan writes it, beside that of a client that nobody trusts."""
    claimed = [value for name, value in case.fields if name.lower() == "forwarded"]
    return what == "server's forwarded" and theirs == claimed and ours == [f'for=127.0.0.1;host="{case.host}";proto=http']


def served_by_one(case: Case, what: str, ours, theirs) -> bool:
    """Whether only one of them serves a case at all."""
    return what in ("status", "body", "many", "answer's content-type", "answer's x-backend", "answer's x-content-type-options")


DIFFERENCES = [
    Difference(
        "a refusal says why",
        "Where Portolan answers itself, it says in a line of text why; Traefik says the status once more.",
        lambda case, what, ours, theirs: refused(what, ours, theirs),
        both_refuse,
    ),
    Difference(
        "targets are passed on as they came",
        "Go encodes what may not stand in a URL, and makes `;` of a query `&`; Portolan changes nothing that its rules did not need.",
        lambda case, what, ours, theirs: what == "server's target" and case.name.startswith("path: as is"),
    ),
    Difference(
        "a stray percent sign is passed on",
        "Traefik refuses `/100%`; browsers send such links, and servers know what to make of them.",
        lambda case, what, ours, theirs: case.target in ("/a%", "/a%zz", "/a%2") and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "`*` is for OPTIONS",
        "A target of `*` is for OPTIONS only (RFC 9112 §3.2.4): Portolan refuses it for GET.",
        lambda case, what, ours, theirs: case.target == "*" and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "a label has a name",
        "Traefik takes `.a.test` for a host of ``Host(`*.a.test`)``.",
        lambda case, what, ours, theirs: "asked for .{host}" in case.name and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "an encoded slash stays encoded",
        "After stripPrefix, Traefik sends what is left decoded where the prefix ends before an encoded slash.",
        lambda case, what, ours, theirs: what == "server's target" and "%2Fa" in case.target and "stripPrefix" in case.name,
    ),
    Difference(
        "fields of trust are Portolan's own",
        "`Forwarded` of a client that is not trusted is replaced, as `X-Forwarded-*` are.",
        told_anew,
    ),
    Difference(
        "hop by hop",
        "What is about one connection and what is for all the way is told apart as RFC 9110 §7.6.1 does; Go's list has `Trailer` and `Proxy-Auth…`, and lets `TE: trailers` through.",
        lambda case, what, ours, theirs: hop_by_hop(what, ours, theirs),
    ),
    Difference(
        "an empty body may be announced",
        "Go takes `Content-Length: 0` off GET and DELETE; Portolan leaves it.",
        lambda case, what, ours, theirs: what == "server's content-length" and ours == ["0"] and theirs is None,
    ),
    Difference(
        "304 keeps its type",
        "Go takes `Content-Type` off a 304; Portolan leaves it.",
        lambda case, what, ours, theirs: what == "answer's content-type" and "304" in case.name and theirs is None,
    ),
    Difference(
        "any coding is any",
        "Who takes `*` is answered by gzip, as Traefik's documentation says; its gzip writer looks for the word itself.",
        lambda case, what, ours, theirs: what == "answer's content-encoding" and "*" in case.name and ours == ["gzip"] and theirs is None,
    ),
    Difference(
        "another body is another entity",
        "A strong ETag would say that the compressed body is byte for byte the same (RFC 9110 §8.8.3.3): it becomes weak.",
        lambda case, what, ours, theirs: what == "answer's etag" and ours == ["W/" + theirs[0]],
    ),
    Difference(
        "no-transform is kept to",
        "What says that nobody may change it (RFC 9111 §5.2.2.6) is not compressed.",
        lambda case, what, ours, theirs: what == "answer's content-encoding" and "must not change" in case.name,
    ),
    Difference(
        "pages are told of the client",
        "Traefik's question for a page has no client.",
        lambda case, what, ours, theirs: what == "server's x-forwarded-for" and "errors" in case.name and theirs is None,
    ),
    Difference(
        "a space in a query is a plus",
        "Portolan writes what may not stand in a request line as `+` in the query of `errors`.",
        lambda case, what, ours, theirs: what == "server's target" and "/a b" in case.name,
    ),
    Difference(
        "what does nothing is told",
        "`headers` without any effect is a fault, as other settings that can't be meant are.",
        lambda case, what, ours, theirs: case.name == "field: headers {'stsSeconds': 0}" and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "hashes are each one's own",
        "Whose client goes to which server by hrw differs; that it stays there does not.",
        lambda case, what, ours, theirs: case.name == "service: hrw",
    ),
    Difference(
        "names are looked up before",
        "A server whose name does not exist is one that is not there: 503 at once, not 502 after a look-up.",
        lambda case, what, ours, theirs: case.name == "service: a host that does not exist",
    ),
    Difference(
        "a fault costs its router",
        "A service whose server has no address is a fault that is told; Traefik answers 500.",
        lambda case, what, ours, theirs: case.name == "service: no url" and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "failover needs no health check",
        "Portolan knows of what runs whether it can serve; Traefik's failover wants a health check.",
        lambda case, what, ours, theirs: case.name.startswith("service: failover") and served_by_one(case, what, ours, theirs),
    ),
    Difference(
        "servers are not asked for gzip",
        "Traefik asks for gzip where the client did not, and unpacks the answer; Portolan asks for what the client asked for.",
        lambda case, what, ours, theirs: what == "server's accept-encoding" and ours in (None, [""]) and theirs == [*(ours or []), "gzip"],
    ),
    Difference(
        "who decides is not told of a program",
        "Go says `User-Agent: Go-http-client/1.1` of a question that has none of the client's; Portolan says nothing.",
        lambda case, what, ours, theirs: what == "server's user-agent" and "forwardAuth" in str(case.through) and ours is None and theirs == ["Go-http-client/1.1"],
    ),
    Difference(
        "a way to sign in is a link",
        "A redirection to `authSigninURL` has a page with the link, as other redirections do (RFC 9110 §15.4.3).",
        lambda case, what, ours, theirs: "authSigninURL" in str(case.through) and (
            (what == "body" and ours.startswith(b'<a href="/sign-in">') and theirs == b"") or (what == "answer's content-type" and theirs is None)),
    ),
    Difference(
        "a gathered body has a length",
        "What forwardAuth or a failover has gathered goes on with its length; Traefik sends it on in chunks, as it came.",
        lambda case, what, ours, theirs: ("forwardBody" in str(case.through) or case.name.startswith("service: failover")) and (
            (what == "server's content-length" and ours is not None and theirs is None)
            or (what == "server's transfer-encoding" and ours is None and theirs == ["chunked"])),
    ),
    Difference(
        "no body has no length",
        "Traefik says `Content-Length: 0` of a request without a body and without a length; Portolan adds nothing.",
        lambda case, what, ours, theirs: what == "server's content-length" and ours is None and theirs == ["0"],
    ),
]


def names() -> set[str]:
    return {difference.name for difference in DIFFERENCES}


def judge(case: Case, portolan: Answer, traefik: Answer) -> Found:
    found = Found(case)
    for what, ours, theirs in compared(portolan, traefik):
        if ours == theirs:
            continue
        reason = next((one for one in DIFFERENCES if one.can_be(portolan, traefik) and one.is_it(case, what, ours, theirs)), None)
        if reason:
            found.intended.add(reason.name)
        else:
            found.faults.append(f"{what}: Portolan {ours!r}, Traefik {theirs!r}")
    if found.faults:
        found.intended.clear()
    return found


def compared(portolan: Answer, traefik: Answer):
    """What is compared: a name, Portolan's and Traefik's."""
    yield "status", portolan.status, traefik.status
    yield "many", portolan.many, traefik.many
    for name in sorted((portolan.fields.keys() | traefik.fields.keys()) - FRAMING):
        if name == "x-backend" and portolan.many:
            continue
        yield f"answer's {name}", listed(name, portolan.fields.get(name)), listed(name, traefik.fields.get(name))
    if portolan.seen is None or traefik.seen is None:
        if portolan.fields.get("content-encoding") not in (["br"], ["zstd"]) or traefik.fields.get("content-encoding") is None:
            yield "body", shown(portolan.body), shown(traefik.body)
        return
    for name in ("method", "target", "body") if portolan.many else ("backend", "method", "target", "body"):
        yield f"server's {name}", portolan.seen[name], traefik.seen[name]
    ours, theirs = portolan.seen["fields"], traefik.seen["fields"]
    for name in sorted((ours.keys() | theirs.keys()) - {"connection", *OWN}):
        yield f"server's {name}", ours.get(name), theirs.get(name)


def listed(name: str, values: list[str] | None) -> list[str] | None:
    """Lists have no order, and no wait is the same as another."""
    if values is None or name not in ("vary", "x-retry-in", "www-authenticate"):
        return values
    if name == "www-authenticate":
        # What is made up for each challenge is no part of it.
        parts = [part.replace('"', "") for value in values for part in value.split(", ")]
        return [part for part in parts if not part.startswith(("nonce=", "opaque="))]
    return ["some time"] if name == "x-retry-in" else sorted(", ".join(values).split(", "))


def shown(body: bytes) -> bytes:
    return body if len(body) < 200 else body[:200] + b"..."
