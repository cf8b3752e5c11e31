"""Fields of requests and answers: headers, CORS, who may ask, what is told of the client."""

from . import Case, Group

ORIGIN = ("Origin", "https://a.test")
HEADERS = [
    ({"customRequestHeaders": {"X-New": "1"}}, [{}, {"fields": [("X-New", "0")]}]),
    ({"customRequestHeaders": {"X-Gone": ""}}, [{"fields": [("X-Gone", "1"), ("x-gone", "2")]}]),
    ({"customRequestHeaders": {"Host": "other.test"}}, [{}]),
    ({"customResponseHeaders": {"X-New": "1"}}, [{}, {"fields": [("X-Do", "set-X-New=0")]}]),
    ({"customResponseHeaders": {"X-Gone": "", "Server": ""}}, [{"fields": [("X-Do", "set-X-Gone=0;set-Server=x")]}]),
    ({"frameDeny": True}, [{}, {"fields": [("X-Do", "set-X-Frame-Options=SAMEORIGIN")]}]),
    ({"customFrameOptionsValue": "SAMEORIGIN"}, [{}]),
    ({"contentTypeNosniff": True, "browserXssFilter": True}, [{}]),
    ({"customBrowserXSSValue": "1; report=x", "browserXssFilter": True}, [{}]),
    ({"contentSecurityPolicy": "default-src 'self'", "contentSecurityPolicyReportOnly": "x"}, [{}]),
    ({"referrerPolicy": "no-referrer", "permissionsPolicy": "geolocation=()", "publicKey": "pin"}, [{}]),
    ({"stsSeconds": 100}, [{}, {"fields": [("X-Forwarded-Proto", "https")]}]),
    ({"stsSeconds": 100, "forceSTSHeader": True, "stsIncludeSubdomains": True, "stsPreload": True}, [{}]),
    ({"stsSeconds": 0, "forceSTSHeader": True}, [{}]),
    ({"isDevelopment": True, "frameDeny": True, "stsSeconds": 10, "forceSTSHeader": True}, [{}]),
    ({"allowedHosts": ["other.test"]}, [{}, {"asked_host": "other.test"}]),
    ({"sslProxyHeaders": {"X-Forwarded-Proto": "https"}, "stsSeconds": 10}, [{}, {"fields": [("X-Forwarded-Proto", "https")]}]),
    ({"accessControlAllowOriginList": ["https://a.test"]}, [{}, {"fields": [ORIGIN]}, {"fields": [("Origin", "https://b.test")]}]),
    ({"accessControlAllowOriginList": ["*"]}, [{}, {"fields": [ORIGIN]}]),
    ({"accessControlAllowOriginList": ["*"], "accessControlAllowCredentials": True}, [{"fields": [ORIGIN]}]),
    ({"accessControlAllowOriginListRegex": ["^https://[a-z]\\.test$"]}, [{"fields": [ORIGIN]}, {"fields": [("Origin", "https://ab.test")]}]),
    ({"accessControlAllowOriginList": ["https://a.test"], "addVaryHeader": True, "accessControlExposeHeaders": ["X-A", "X-B"]},
     [{}, {"fields": [ORIGIN]}, {"fields": [ORIGIN, ("X-Do", "set-Vary=Accept")]}]),
    ({"accessControlAllowOriginList": ["https://a.test"], "accessControlAllowMethods": ["GET", "PUT"], "accessControlAllowHeaders": ["X-A"], "accessControlMaxAge": 100},
     [{"method": "OPTIONS", "fields": [ORIGIN, ("Access-Control-Request-Method", "PUT")]}, {"method": "OPTIONS", "fields": [ORIGIN]},
      {"method": "OPTIONS"}, {"method": "GET", "fields": [ORIGIN, ("Access-Control-Request-Method", "PUT")]},
      {"method": "OPTIONS", "fields": [("Origin", "https://b.test"), ("Access-Control-Request-Method", "PUT")]}]),
    ({"featurePolicy": "camera 'none'", "frameDeny": True}, [{}]),
    ({"sslRedirect": True, "frameDeny": True}, [{}]),
    ({"sslTemporaryRedirect": True, "sslHost": "other.test", "sslForceHost": True, "frameDeny": True}, [{}]),
    ({"stsSeconds": 0}, [{}]),
]
FORWARDED = [
    [], [("X-Forwarded-For", "1.2.3.4")], [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")], [("X-Real-Ip", "1.2.3.4")],
    [("Forwarded", "for=1.2.3.4")], [("Connection", "X-Hop, close"), ("X-Hop", "1")], [("Connection", "keep-alive")], [("Te", "trailers")], [("Te", "gzip")],
    [("Upgrade", "h2c"), ("Connection", "Upgrade")], [("Proxy-Connection", "close")], [("Keep-Alive", "5")], [("X_Forwarded_For", "1.2.3.4")],
    [("Accept-Encoding", "gzip")], [("User-Agent", "x")], [("Cookie", "a=b"), ("Cookie", "c=d")], [("X-Twice", "1"), ("X-Twice", "2")], [("X-Empty", "")],
    [("Expect", "100-continue")], [("X-Forwarded-Server", "x"), ("X-Forwarded-Port", "1"), ("X-Forwarded-Tls-Client-Cert", "x")],
    [("Proxy-Authorization", "Basic x")], [("Authorization", "Basic x")], [("Trailer", "X-T")], [("Connection", "X-Forwarded-For")],
]
ALLOWED = [
    ({"sourceRange": ["127.0.0.1"]}, []), ({"sourceRange": ["10.0.0.0/8"]}, []), ({"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": 404}, []),
    ({"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"depth": 1}}, ["10.1.1.1", "10.1.1.1, 11.1.1.1", None]),
    ({"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"depth": 2}}, ["10.1.1.1", "10.1.1.1, 11.1.1.1"]),
    ({"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"excludedIPs": ["11.1.1.1"]}}, ["10.1.1.1, 11.1.1.1", "12.1.1.1, 11.1.1.1"]),
]


def cases() -> list[Case]:
    group = Group("field")
    for options, asked in HEADERS:
        for said in asked:
            group.add(f"headers {options}", through=[{"headers": options}], **said)
    for fields in FORWARDED:
        group.add(f"passed on: {fields}", fields=fields)
    for options, forwarded in ALLOWED:
        for said in forwarded or [None]:
            fields = [("X-Forwarded-For", said)] if said else []
            group.add(f"ipAllowList {options}", through=[{"ipAllowList": options}], fields=fields)
    for version in ("1.0", "1.1"):
        group.add(f"HTTP/{version}", version=version)
    for users in (["u:$apr1$5Vh4XkqN$V0PNJaBnbGNJpFrVDHE1h1"], ["u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="], ["u:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"]):
        for fields in ([], [("Authorization", "Basic dTpwYXNzd29yZA==")], [("Authorization", "Basic dTp3cm9uZw==")], [("Authorization", "Bearer x")]):
            group.add(f"basicAuth {users}", through=[{"basicAuth": {"users": users}}], fields=fields)
    group.add("basicAuth with a realm", through=[{"basicAuth": {"users": ["u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="], "realm": "here"}}])
    group.add("digestAuth without credentials", through=[{"digestAuth": {"users": ["u:here:x"], "realm": "here"}}])
    return group.cases
