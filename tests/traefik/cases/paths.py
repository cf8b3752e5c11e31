"""Paths: what the server is asked for, as is and through middlewares."""

from . import Case, Group

PLAIN = [
    "/", "/a", "/a/", "/a//b", "//a", "/a/./b", "/a/../b", "/../a", "/a/..", "/a/b/../../c", "/%61", "/%2e%2e/a", "/a%2Fb",
    "/a%2fb", "/a%20b", "/a+b", "/a%25b", "/a%3Fb", "/a%23b", "/a;b=c", "/a?b=c&d", "/a?", "/a??b", "/a?x=/../y", "/é".encode().decode("latin-1"),
    "/a%C3%A9", "/a|b", "/a\"b", "/a<b>", "/a{b}", "/a^b", "/a`b", "/a\\b", "/a%5Cb", "/a%00b", "/a%", "/a%zz", "/a%2", "/a#b", "/~user", "/a:b@c",
    "/a?b=%zz", "/a?b=c;d=e", "/a,b", "/a'b", "/(a)", "/a*b", "/[a]", "http://{host}/abs", "http://other.test/abs", "/?q=http://x/",
]
THROUGH = [
    ("addPrefix", {"prefix": "/x"}, ["/", "/a", "/a%2Fb", "/a?b=c", "//a"]),
    ("addPrefix", {"prefix": "x"}, ["/a"]),
    ("addPrefix", {"prefix": "/x/"}, ["/a"]),
    ("stripPrefix", {"prefixes": ["/api", "/v1"]}, ["/api", "/api/", "/api/a", "/apix", "/v1/a?b=c", "/api/v1/a", "/other", "/api%2Fa", "/%61pi/a", "/api//a", "/API/a"]),
    ("stripPrefix", {"prefixes": ["/api/"]}, ["/api", "/api/", "/api/a"]),
    ("stripPrefix", {"prefixes": ["/"]}, ["/a", "/"]),
    ("stripPrefixRegex", {"regex": ["^/a[0-9]+"]}, ["/a1/b", "/a12", "/b/a1", "/a/b", "/a1b?c"]),
    ("stripPrefixRegex", {"regex": ["/foo/[a-z0-9]+/[0-9]+/"]}, ["/foo/a/1/b", "/foo/a/1", "/x/foo/a/1/b"]),
    ("replacePath", {"path": "/new"}, ["/", "/a/b?c=d", "/a%2Fb"]),
    ("replacePath", {"path": "/new?x=y"}, ["/a?b=c"]),
    ("replacePath", {"path": "/n w"}, ["/a"]),
    ("replacePathRegex", {"regex": "^/old/(.*)", "replacement": "/new/$1"}, ["/old/a/b", "/older/a", "/old/?q", "/old/a%2Fb", "/old/a b".replace(" ", "%20")]),
    ("replacePathRegex", {"regex": "^/(?P<x>[a-z]+)/(\\d+)", "replacement": "/$2/${1}"}, ["/ab/12", "/ab/x", "/ab/12/rest?q=1"]),
    ("replacePathRegex", {"regex": "/a", "replacement": "/b"}, ["/a/a", "/x"]),
]
REDIRECTS = [
    ("redirectScheme", {"scheme": "https"}, [{}, {"target": "/a?b=c"}, {"method": "POST"}, {"method": "HEAD"}, {"target": "/a%2Fb"}]),
    ("redirectScheme", {"scheme": "https", "permanent": True}, [{}, {"method": "POST"}, {"method": "PUT"}]),
    ("redirectScheme", {"scheme": "https", "port": "8443"}, [{}, {"method": "PATCH"}]),
    ("redirectScheme", {"scheme": "https", "port": "443"}, [{}]),
    ("redirectScheme", {"scheme": "http"}, [{}]),
    ("redirectScheme", {"scheme": "http", "port": "8080"}, [{}]),
    ("redirectScheme", {"scheme": "https"}, [{"fields": [("X-Forwarded-Proto", "https")]}, {"fields": [("X-Forwarded-Proto", "wss")]}]),
    ("redirectRegex", {"regex": "^http://([^/]+)/old/(.*)", "replacement": "http://${1}/new/${2}"}, [{"target": "/old/a?b=c"}, {"target": "/other"}, {"target": "/old/a", "method": "POST"}]),
    ("redirectRegex", {"regex": "^http://([^/]+)/old/(.*)", "replacement": "https://$1/$2", "permanent": True}, [{"target": "/old/a"}, {"target": "/old/a", "method": "DELETE"}]),
    ("redirectRegex", {"regex": ".*", "replacement": "https://elsewhere.test/"}, [{}, {"target": "/x y".replace(" ", "%20")}]),
    ("redirectRegex", {"regex": "^http://([^/]+)/same", "replacement": "http://$1/same"}, [{"target": "/same"}]),
]

# The options, each with what it is about; what is encoded and has none is always taken.
ENCODED = {
    "allowEncodedSlash": "/a%2Fb",
    "allowEncodedBackSlash": "/a%5Cb",
    "allowEncodedNullCharacter": "/a%00b",
    "allowEncodedSemicolon": "/a%3Bb",
    "allowEncodedPercent": "/a%25b",
    "allowEncodedQuestionMark": "/a%3Fb",
    "allowEncodedHash": "/a%23b",
}


def cases() -> list[Case]:
    group = Group("path")
    for target in PLAIN:
        own = f"path{len(group.cases)}.test"
        group.add(f"as is: {target}", target=target.replace("{host}", own))
    for name, options, targets in THROUGH:
        for target in targets:
            group.add(f"{name} {options} at {target}", through=[{name: options}], target=target)
    for name, options, asked in REDIRECTS:
        for said in asked:
            group.add(f"{name} {options}", through=[{name: options}], **said)
    group.add("two, in order", through=[{"stripPrefix": {"prefixes": ["/a"]}}, {"addPrefix": {"prefix": "/b"}}], target="/a/c")
    group.add("two, the other way round", through=[{"addPrefix": {"prefix": "/b"}}, {"stripPrefix": {"prefixes": ["/a"]}}], target="/a/c")
    for options in ({"allowEncodedSlash": False}, {"allowEncodedSlash": True}):
        for target in ENCODED.values():
            group.add(f"encodedCharacters {options} at {target}", through=[{"encodedCharacters": options}], target=target)
    for option, target in ENCODED.items():
        for allowed in (False, True):
            group.add(f"encodedCharacters {option} {allowed}", through=[{"encodedCharacters": {option: allowed}}], target=target)
    return group.cases
