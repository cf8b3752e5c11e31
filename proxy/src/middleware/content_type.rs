//! `contentType`: what kind of content an answer is that does not say so, told by how it begins.
//!
//! The signatures are those of the WHATWG's MIME Sniffing standard (§6, §7) as Go's servers look for them, so that the
//! same answer gets the same type. Pure.

/// Bytes that are looked at (MIME Sniffing §5.2 has more, Go as many).
pub(crate) const SNIFFED_BYTES: usize = 512;

const TEXT: &str = "text/plain; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// The content type of what begins like this.
pub(crate) fn detect(content: &[u8]) -> &'static str {
    let content = &content[..content.len().min(SNIFFED_BYTES)];
    let markup = content.trim_ascii_start();
    if HTML.iter().any(|tag| begins_with_tag(markup, tag)) {
        return "text/html; charset=utf-8";
    }
    if markup.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, _, found)) = SIGNATURES.iter().find(|(at, sign, _)| stands_at(content, *at, sign)) {
        return found;
    }
    if let Some((_, _, found)) =
        CONTAINERS.iter().find(|(outer, inner, _)| content.starts_with(outer) && stands_at(content, 8, inner))
    {
        return found;
    }
    if is_mp4(content) {
        return "video/mp4";
    }
    if content.iter().any(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)) {
        BINARY
    } else {
        TEXT
    }
}

const HTML: &[&str] = &[
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// From which byte on, what stands there, and what it is. None begins like another.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"\xfe\xff", "text/plain; charset=utf-16be"),
    (0, b"\xff\xfe", "text/plain; charset=utf-16le"),
    (0, b"\xef\xbb\xbf", TEXT),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"\x00\x00\x02\x00", "image/x-icon"),
    (0, b"BM", "image/bmp"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (34, b"LP", "application/vnd.ms-fontobject"),
    (0, b"\x00\x01\x00\x00", "font/ttf"),
    (0, b"OTTO", "font/otf"),
    (0, b"ttcf", "font/collection"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x1f\x8b\x08", "application/x-gzip"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"Rar!\x1a\x07\x00", "application/x-rar-compressed"),
    (0, b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
    (0, b"\x00asm", "application/wasm"),
];

/// What begins with a name, has its length then, and says after that what it holds.
const CONTAINERS: &[(&[u8], &[u8], &str)] = &[
    (b"RIFF", b"WEBPVP", "image/webp"),
    (b"FORM", b"AIFF", "audio/aiff"),
    (b"RIFF", b"AVI ", "video/avi"),
    (b"RIFF", b"WAVE", "audio/wave"),
];

fn stands_at(content: &[u8], at: usize, sign: &[u8]) -> bool {
    content.get(at..).is_some_and(|rest| rest.starts_with(sign))
}

/// A tag in whatever case, and its end or a space behind it.
fn begins_with_tag(markup: &[u8], tag: &str) -> bool {
    markup.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes()))
        && matches!(markup.get(tag.len()), Some(b' ' | b'>'))
}

/// A first box that says which brands the file is of (MIME Sniffing §6.2.1).
fn is_mp4(content: &[u8]) -> bool {
    let Some(size) = content.first_chunk().map(|size| u32::from_be_bytes(*size) as usize) else {
        return false;
    };
    content.len() >= 12
        && size <= content.len()
        && size.is_multiple_of(4)
        && stands_at(content, 4, b"ftyp")
        && (8..size).step_by(4).any(|at| at != 12 && stands_at(content, at, b"mp4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_by_how_it_begins() {
        for (content, expected) in [
            (&b""[..], TEXT),
            (b"hello", TEXT),
            (b"  <html><body>", "text/html; charset=utf-8"),
            (b"<!doctype html>\n<p>", "text/html; charset=utf-8"),
            (b"<!-- x -->", "text/html; charset=utf-8"),
            (b"<htmlx>", TEXT),
            (b"\n<?xml version=\"1.0\"?>", "text/xml; charset=utf-8"),
            (b"{\"a\": 1}", TEXT),
            (b"%PDF-1.7", "application/pdf"),
            (b"\x89PNG\r\n\x1a\nxxxx", "image/png"),
            (b"GIF89a...", "image/gif"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"RIFF1234WEBPVP8 ", "image/webp"),
            (b"RIFF1234WAVEfmt ", "audio/wave"),
            (b"\x1f\x8b\x08\x00", "application/x-gzip"),
            (b"PK\x03\x04....", "application/zip"),
            (b"\x00asm\x01\x00", "application/wasm"),
            (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video/mp4"),
            (b"\xef\xbb\xbftext", TEXT),
            (b"\xff\xfet\x00", "text/plain; charset=utf-16le"),
            (b"with \x00 in it", BINARY),
            (b"\xc3\xa9t\xc3\xa9", TEXT),
        ] {
            assert_eq!(detect(content), expected, "{:?}", String::from_utf8_lossy(content));
        }
        let mut late = vec![b'x'; SNIFFED_BYTES];
        late.push(0);
        assert_eq!(detect(&late), TEXT, "only the beginning counts");
    }
}
