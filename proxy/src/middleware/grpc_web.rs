//! `grpcWeb`: gRPC for browsers, which can neither send a body by HTTP/2 as gRPC wants it nor read trailers.
//!
//! ```text
//! browser ──application/grpc-web[-text]──▶ application/grpc ──▶ server      text: base64 → bytes
//! browser ◀─application/grpc-web[-text]─── application/grpc ◀── server      trailers → a frame behind the body
//! ```
//!
//! As github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md has it. Pure.

use data_encoding::BASE64;
use portolan_config::dynamic::middleware as dynamic;

use super::{Alteration, AnswerHead, Content, Draft, OwnAnswer, phrase};
use crate::http::Reason;

const WEB: &str = "application/grpc-web";
const WEB_TEXT: &str = "application/grpc-web-text";
const PLAIN: &str = "application/grpc";

/// What a frame of trailers begins with, where a message has 0.
const TRAILERS: u8 = 0x80;

/// The middleware, as compiled.
#[derive(Debug)]
pub(crate) struct GrpcWeb {
    origins: Vec<String>,
}

/// A call in the way of browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Whether the bodies are base64.
    pub(crate) is_text: bool,
}

impl GrpcWeb {
    /// Compiles the middleware.
    pub(crate) fn compile(written: &dynamic::GrpcWeb) -> Self {
        Self { origins: written.allow_origins.clone() }
    }

    /// Whether pages of this origin may ask.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Whether a request is such a call.
    pub(crate) fn call(method: &str, content_type: &str) -> Option<Call> {
        let is_call = method == "POST" && content_type.starts_with(WEB);
        is_call.then(|| Call { is_text: content_type.starts_with(WEB_TEXT) })
    }

    /// Whether a browser asks whether it may make such a call.
    pub(crate) fn is_preflight(method: &str, requested_fields: &str) -> bool {
        method == "OPTIONS" && requested_fields.to_ascii_lowercase().contains("x-grpc-web")
    }
}

impl Call {
    fn name(self) -> &'static str {
        if self.is_text { WEB_TEXT } else { WEB }
    }

    /// The content type as the server knows it: what follows the name (`+proto`) stays.
    pub(crate) fn content_type_in(self, content_type: &str) -> String {
        content_type.replacen(self.name(), PLAIN, 1)
    }

    /// The content type as the browser knows it.
    pub(crate) fn content_type_out(self, content_type: &str) -> String {
        content_type.replacen(PLAIN, self.name(), 1)
    }
}

/// Base64 to bytes, in pieces. Several padded parts may follow each other.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    held: Vec<u8>,
}

/// What is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64")]
pub(crate) struct NotBase64;

impl Decoder {
    /// Decodes a piece; what does not make a group of four yet waits for the next.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        self.held.extend(piece.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let whole = self.held.len() / 4 * 4;
        for group in self.held[..whole].chunks(4) {
            out.extend_from_slice(&BASE64.decode(group).map_err(|_| NotBase64)?);
        }
        self.held.drain(..whole);
        Ok(())
    }

    /// Whether everything was decoded.
    pub(crate) fn is_done(&self) -> bool {
        self.held.is_empty()
    }
}

/// A whole body of base64.
pub(crate) fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    decoder.push(body, &mut out).ok().filter(|()| decoder.is_done()).map(|()| out)
}

/// An answer's body as the browser reads it.
#[derive(Debug)]
pub(crate) struct Framing {
    is_text: bool,
    /// What does not make a group of three yet.
    held: Vec<u8>,
}

impl Framing {
    pub(crate) fn new(call: Call) -> Self {
        Self { is_text: call.is_text, held: Vec::new() }
    }

    /// Takes a piece of the body.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if !self.is_text {
            return out.extend_from_slice(piece);
        }
        self.held.extend_from_slice(piece);
        let whole = self.held.len() / 3 * 3;
        out.extend_from_slice(BASE64.encode(&self.held[..whole]).as_bytes());
        self.held.drain(..whole);
    }

    /// Lets out what waits for its group: a part ends there.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(BASE64.encode(&self.held).as_bytes());
        self.held.clear();
    }

    /// Ends the body with a frame of these fields.
    pub(crate) fn finish<'f>(
        &mut self,
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
        out: &mut Vec<u8>,
    ) {
        let mut text = Vec::new();
        for (name, value) in fields {
            text.extend_from_slice(name.to_ascii_lowercase().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.extend_from_slice(b"\r\n");
        }
        let length = u32::try_from(text.len()).unwrap_or(0).to_be_bytes();
        let frame = [&[TRAILERS], &length[..], &text].concat();
        self.push(&frame, out);
        self.flush(out);
    }
}

/// Makes a call of a browser one that the server understands, or answers whether it may be made.
pub(super) fn request(step: &GrpcWeb, draft: &mut Draft) -> Result<Option<Call>, Box<OwnAnswer>> {
    let requested = draft.fields.text("Access-Control-Request-Headers");
    if GrpcWeb::is_preflight(&draft.method_text, requested) {
        return Err(Box::new(permit(step, draft)));
    }
    let content_type = draft.fields.text("Content-Type").to_owned();
    let Some(call) = GrpcWeb::call(&draft.method_text, &content_type) else { return Ok(None) };
    draft.fields.set("Content-Type", call.content_type_in(&content_type).as_bytes());
    draft.fields.set("TE", b"trailers");
    // The answer is framed anew, which nobody could do to what is compressed as a whole.
    draft.fields.remove("Accept-Encoding");
    if call.is_text {
        decode_content(draft)?;
    }
    Ok(Some(call))
}

/// Decodes a body that is here already; another is decoded when it is gathered.
fn decode_content(draft: &mut Draft) -> Result<(), Box<OwnAnswer>> {
    let Content::Whole(body) = &draft.content else { return Ok(()) };
    let decoded =
        decode(body).ok_or_else(|| Box::new(OwnAnswer::refusal(Reason::BadRequest, 400, phrase(400))))?;
    if !decoded.is_empty() {
        draft.fields.set("Content-Length", decoded.len().to_string().as_bytes());
    }
    draft.content = Content::Whole(decoded.into());
    Ok(())
}

/// What a browser is told that asks whether it may make a call.
fn permit(step: &GrpcWeb, draft: &Draft) -> OwnAnswer {
    let mut answer = OwnAnswer::new(200);
    let fields = &mut answer.head.fields;
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        fields.add("Vary", name.as_bytes());
    }
    let origin = draft.fields.text("Origin");
    if step.allows(origin) && draft.fields.text("Access-Control-Request-Method").eq_ignore_ascii_case("POST")
    {
        fields.add("Access-Control-Allow-Origin", origin.as_bytes());
        fields.add("Access-Control-Allow-Methods", b"POST");
        let requested = draft.fields.text("Access-Control-Request-Headers");
        fields.add("Access-Control-Allow-Headers", requested.as_bytes());
        fields.add("Access-Control-Allow-Credentials", b"true");
        fields.add("Access-Control-Max-Age", b"600");
    }
    answer
}

/// Makes an answer one that browsers understand.
pub(super) fn answer(
    step: &GrpcWeb,
    call: Option<Call>,
    head: &mut AnswerHead,
    draft: &Draft,
    alteration: &mut Alteration,
) {
    let Some(call) = call else { return };
    let fields = &mut head.fields;
    let content_type = call.content_type_out(fields.text("Content-Type"));
    if !content_type.is_empty() {
        fields.set("Content-Type", content_type.as_bytes());
    }
    fields.remove("Trailer");
    fields.remove("Content-Length");
    let origin = draft.fields.text("Origin");
    if !origin.is_empty() {
        fields.add("Vary", b"Origin");
        if step.allows(origin) {
            fields.set("Access-Control-Allow-Origin", origin.as_bytes());
            fields.set("Access-Control-Allow-Credentials", b"true");
        }
    }
    let mut exposed: Vec<String> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    exposed.extend(["grpc-status".to_owned(), "grpc-message".to_owned()]);
    exposed.sort_unstable();
    exposed.dedup();
    fields.set("Access-Control-Expose-Headers", exposed.join(", ").as_bytes());
    alteration.frame(call);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_by_their_type() {
        for (method, content_type, call) in [
            ("POST", "application/grpc-web", Some(false)),
            ("POST", "application/grpc-web+proto", Some(false)),
            ("POST", "application/grpc-web-text+proto", Some(true)),
            ("POST", "application/grpc", None),
            ("POST", "application/json", None),
            ("GET", "application/grpc-web", None),
        ] {
            assert_eq!(GrpcWeb::call(method, content_type).map(|call| call.is_text), call, "{content_type}");
        }
        let text = Call { is_text: true };
        assert_eq!(text.content_type_in("application/grpc-web-text+proto"), "application/grpc+proto");
        assert_eq!(text.content_type_out("application/grpc+proto"), "application/grpc-web-text+proto");
        assert_eq!(Call { is_text: false }.content_type_in("application/grpc-web"), "application/grpc");
        assert!(GrpcWeb::is_preflight("OPTIONS", "content-type,X-Grpc-Web"));
        assert!(
            !GrpcWeb::is_preflight("OPTIONS", "content-type") && !GrpcWeb::is_preflight("GET", "x-grpc-web")
        );
    }

    #[test]
    fn origins_are_those_on_the_list() {
        let of = |origins: &[&str]| GrpcWeb {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        };
        assert!(of(&["*"]).allows("https://a.test") && of(&["https://a.test"]).allows("https://a.test"));
        assert!(!of(&["https://a.test"]).allows("https://b.test") && !of(&[]).allows("https://a.test"));
    }

    #[test]
    fn text_is_decoded_however_it_comes() {
        let body = format!("{}{}", BASE64.encode(b"first"), BASE64.encode(b"and second"));
        for size in 1..=body.len() {
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for piece in body.as_bytes().chunks(size) {
                decoder.push(piece, &mut out).unwrap();
            }
            assert!(decoder.is_done());
            assert_eq!(out, b"firstand second", "in pieces of {size}");
        }
        assert_eq!(Decoder::default().push(b"****", &mut Vec::new()), Err(NotBase64));
        let mut decoder = Decoder::default();
        decoder.push(b"YWJ", &mut Vec::new()).unwrap();
        assert!(!decoder.is_done());
    }

    #[test]
    fn trailers_are_a_frame_behind_the_body() {
        let fields = || [("Grpc-Status", &b"0"[..]), ("grpc-message", b"ok")].into_iter();
        let (mut framing, mut out) = (Framing::new(Call { is_text: false }), Vec::new());
        framing.push(b"\0\0\0\0\x02hi", &mut out);
        framing.finish(fields(), &mut out);
        let frame = b"\x80\0\0\0\x22grpc-status: 0\r\ngrpc-message: ok\r\n";
        assert_eq!(out, [&b"\0\0\0\0\x02hi"[..], frame].concat());
        let (mut framing, mut text) = (Framing::new(Call { is_text: true }), Vec::new());
        framing.push(b"\0\0\0\0\x02hi", &mut text);
        framing.flush(&mut text);
        framing.finish(fields(), &mut text);
        let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
        decoder.push(&text, &mut decoded).unwrap();
        assert_eq!(decoded, out);
    }
}
