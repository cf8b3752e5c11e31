"""forwardAuth: what the server that decides is asked, and what becomes of its answer. It answers as `X-Do` tells it, and
where it refuses, what it saw is the answer."""

from . import Case, Group

ADDRESS = "http://127.0.0.1:9004/auth?by=it"
REFUSES = ("X-Do", "status=401;set-WWW-Authenticate=Basic;set-X-User=nobody")
CLAIMS = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Uri", "/evil"), ("X-Forwarded-Method", "PUT"), ("X-Forwarded-For", "1.2.3.4")]
OPTIONS = [
    ({}, [{"fields": [REFUSES]}, {}, {"fields": [REFUSES], "target": "/a?b=c"}, {"fields": [REFUSES], "method": "POST", "body": "content"},
          {"fields": [REFUSES, *CLAIMS]}, {"fields": [REFUSES, ("Cookie", "a=b"), ("Authorization", "Bearer x"), ("X-Own", "1")]},
          {"fields": [("X-Do", "status=302;set-Location=/login")]}, {"fields": [("X-Do", "status=404")]}, {"fields": [("X-Do", "reset")]}]),
    ({"trustForwardHeader": True}, [{"fields": [REFUSES, *CLAIMS]}, {"fields": [REFUSES]}]),
    ({"authRequestHeaders": ["X-Only"]}, [{"fields": [REFUSES, ("X-Only", "1"), ("X-Other", "2")]}]),
    ({"authResponseHeaders": ["X-User"]}, [{"fields": [("X-Do", "set-X-User=me;set-X-Other=x")]}, {"fields": [("X-Do", "type="), ("X-User", "forged")]}]),
    ({"authResponseHeadersRegex": "^X-U"}, [{"fields": [("X-Do", "set-X-User=me;set-X-Other=x"), ("X-Unsaid", "forged")]}]),
    ({"addAuthCookiesToResponse": ["s"]}, [{"fields": [("X-Do", "set-Set-Cookie=s=1")]}]),
    ({"headerField": "X-Name"}, [{}]),
    ({"preserveLocationHeader": True}, [{"fields": [("X-Do", "status=302;set-Location=/login")]}]),
    ({"preserveRequestMethod": True}, [{"method": "PUT", "body": "x", "fields": [REFUSES]}]),
    ({"maxResponseBodySize": 10}, [{"fields": [("X-Do", "status=401;text=short")]}, {"fields": [("X-Do", "status=401;text=much too long")]}]),
    ({"authSigninURL": "/sign-in"}, [{"fields": [("X-Do", "status=401")]}, {"fields": [("X-Do", "status=403")]}, {}]),
    ({"forwardBody": True}, [{"fields": [REFUSES], "method": "POST", "body": "content"}, {"method": "POST", "body": "content"},
                             {"fields": [REFUSES], "method": "POST", "body": "content", "chunked": True}, {"method": "POST", "body": "content", "chunked": True},
                             {"fields": [REFUSES]}, {}, {"fields": [REFUSES], "method": "POST", "body": ""}, {"method": "DELETE", "body": "content"}]),
    ({"forwardBody": True, "maxBodySize": 7}, [{"method": "POST", "body": "content"}, {"method": "POST", "body": "content!"}, {"method": "POST", "body": "content!", "chunked": True}, {}]),
    ({"forwardBody": True, "maxBodySize": 0}, [{"method": "POST", "body": "c"}, {"method": "POST", "body": ""}, {}]),
    ({"forwardBody": True, "preserveRequestMethod": True}, [{"fields": [REFUSES], "method": "PUT", "body": "content"}, {"fields": [REFUSES], "method": "PUT", "body": ""}]),
    ({"forwardBody": True, "authRequestHeaders": ["X-Do", "Content-Type"]}, [{"fields": [REFUSES, ("Content-Type", "text/plain"), ("X-Other", "1")], "method": "POST", "body": "content"}]),
    ({"tls": {"insecureSkipVerify": True}}, [{"fields": [REFUSES]}]),
]


def cases() -> list[Case]:
    group = Group("forwardauth")
    for options, asked in OPTIONS:
        for said in asked:
            group.add(f"{options} asked {said}", through=[{"forwardAuth": {"address": ADDRESS, **options}}], **said)
    return group.cases
