//! The way of a request without its sockets, so many times: `benches/instructions/run` counts its instructions.
//!
//! Arguments: the case, and how often.

use std::hint::black_box;

use portolan_proxy::Way;

const REQUEST: &[u8] = b"GET /articles/2026/a-longer-path/?page=2 HTTP/1.1\r\n\
    Host: 7.bench.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Connection: keep-alive\r\n\r\n";

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Wed, 25 Nov 2026 08:00:00 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 128\r\n\
    Last-Modified: Wed, 25 Nov 2026 07:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"65b0c1a2-80\"\r\n\
    Accept-Ranges: bytes\r\n\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().unwrap_or_default();
    let times: usize = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (routers, bytes, is_answer) = match case.as_str() {
        "request" => (10, REQUEST, false),
        "request-1000-routers" => (1000, REQUEST, false),
        "answer" => (10, ANSWER, true),
        // `cargo bench` runs everything; there is nothing to see without counting.
        _ => return println!("run benches/instructions/run"),
    };
    let way = Way::new(routers);
    for _ in 0..times {
        let bytes = black_box(bytes);
        let written = if is_answer { way.answer(bytes) } else { way.request(bytes) };
        assert!(black_box(written) > 0, "{case} is refused");
    }
}
