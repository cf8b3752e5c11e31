//! Middlewares as they are mostly used, with what passes them. How they are measured is not known here.

/// One middleware, or a few.
pub(crate) struct Case {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// As written in a file.
    pub(crate) middlewares: &'static [&'static str],
    /// Fields that the request has besides those of every request.
    pub(crate) fields: &'static str,
    /// Bytes of the answer's body.
    pub(crate) body: usize,
    /// Whether the client comes by TLS and shows a certificate.
    pub(crate) by_tls: bool,
}

/// The password is `myPassword`, hashed by bcrypt.
const BASIC: &str =
    "basicAuth: {users: ['joe:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC']}";

const fn case(name: &'static str, middlewares: &'static [&'static str]) -> Case {
    Case { name, middlewares, fields: "", body: 128, by_tls: false }
}

/// All of them; the first is a request without any.
pub(crate) const CASES: &[Case] = &[
    case("none", &[]),
    case("addPrefix", &["addPrefix: {prefix: /api}"]),
    case("stripPrefix", &["stripPrefix: {prefixes: [/articles]}"]),
    case("stripPrefixRegex", &["stripPrefixRegex: {regex: ['/[a-z]+']}"]),
    case("replacePath", &["replacePath: {path: /}"]),
    case("replacePathRegex", &["replacePathRegex: {regex: '^/articles/(.*)', replacement: '/$1'}"]),
    case("redirectScheme (308)", &["redirectScheme: {scheme: https, permanent: true}"]),
    case(
        "redirectRegex (302)",
        &["redirectRegex: {regex: '^http://([^/]+)/(.*)', replacement: 'https://$1/$2'}"],
    ),
    case("ipAllowList", &["ipAllowList: {sourceRange: [10.0.0.0/8, 192.0.2.0/24]}"]),
    case("encodedCharacters", &["encodedCharacters: {}"]),
    case(
        "headers, six for browsers",
        &[
            "headers: {stsSeconds: 31536000, stsIncludeSubdomains: true, frameDeny: true, contentTypeNosniff: true, \
           referrerPolicy: same-origin, contentSecurityPolicy: \"default-src 'self'\"}",
        ],
    ),
    case("headers, one for the server", &["headers: {customRequestHeaders: {X-Script-Name: test}}"]),
    Case {
        fields: "Origin: https://a.test\r\n",
        ..case("headers, CORS", &["headers: {accessControlAllowOriginList: ['https://a.test']}"])
    },
    Case { fields: "Authorization: Basic am9lOm15UGFzc3dvcmQ=\r\n", ..case("basicAuth, known", &[BASIC]) },
    case(
        "digestAuth, the challenge (401)",
        &["digestAuth: {users: ['joe:traefik:c4e9ce2ab5bf7d31c8c42a0fcc5fc6d0']}"],
    ),
    case("rateLimit", &["rateLimit: {average: 1000000000, burst: 1000000000}"]),
    case("inFlightReq", &["inFlightReq: {amount: 100}"]),
    case("retry", &["retry: {attempts: 3}"]),
    case("circuitBreaker", &["circuitBreaker: {expression: 'NetworkErrorRatio() > 0.3'}"]),
    case("errors, none", &["errors: {status: ['500-599'], service: pages, query: '/{status}.html'}"]),
    case("buffering, 128 B", &["buffering: {maxResponseBodyBytes: 100000}"]),
    case("contentType", &["contentType: {}"]),
    Case { by_tls: true, ..case("passTLSClientCert, pem", &["passTLSClientCert: {pem: true}"]) },
    case("compress, too short", &["compress: {}"]),
    Case { body: 16_384, ..case("none, 16 KiB", &[]) },
    Case { body: 16_384, ..case("compress, 16 KiB, gzip", &["compress: {encodings: [gzip]}"]) },
    Case { body: 16_384, ..case("compress, 16 KiB, br", &["compress: {encodings: [br]}"]) },
    Case { body: 16_384, ..case("compress, 16 KiB, zstd", &["compress: {encodings: [zstd]}"]) },
    Case {
        fields: "Content-Type: application/grpc-web\r\n",
        ..case("grpcWeb", &["grpcWeb: {allowOrigins: ['*']}"])
    },
    case(
        "three: stripPrefix, headers, ipAllowList",
        &[
            "ipAllowList: {sourceRange: [192.0.2.0/24]}",
            "headers: {frameDeny: true, contentTypeNosniff: true}",
            "stripPrefix: {prefixes: [/articles]}",
        ],
    ),
];

impl Case {
    /// The head of its request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let head = "GET /articles/2026/a-longer-path/?page=2 HTTP/1.1\r\nHost: 7.bench.test\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
            Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
            Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
            Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\n";
        [head, self.fields, "\r\n"].concat().into_bytes()
    }

    /// The head of its answer, and the body.
    pub(crate) fn answer(&self) -> (Vec<u8>, Vec<u8>) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Wed, 25 Nov 2026 08:00:00 GMT\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\nLast-Modified: Wed, 25 Nov 2026 07:00:00 GMT\r\n\
             Connection: keep-alive\r\nETag: \"65b0c1a2-80\"\r\nAccept-Ranges: bytes\r\n\r\n",
            self.body
        );
        // Words as texts have them: neither all alike nor all different.
        let words = ["chart ", "harbour ", "depth ", "wind ", "north ", "of ", "the ", "seven ", "isles, "];
        let mut body = Vec::with_capacity(self.body + 16);
        for number in 0_usize.. {
            if body.len() >= self.body {
                break;
            }
            body.extend_from_slice(words[(number * number + number / 7) % words.len()].as_bytes());
        }
        body.truncate(self.body);
        (head.into_bytes(), body)
    }
}
