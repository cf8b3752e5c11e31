//! An answer's body on its way through the middlewares that change it.
//!
//! ```text
//! endpoint ──▶ stage 0 ──▶ stage 1 ──▶ … ──▶ client      the innermost middleware's first
//! ```
//!
//! Some stages must have seen some of the body before the head can be sent: they say in it what they found, or how they
//! changed what follows. Until all have [settled](Alteration::is_settled), the head waits. Sans-I/O: whoever moves the
//! bytes says when there are no more for the moment.

use http::HeaderMap;
use portolan_config::dynamic::middleware::Encoding;

use super::buffering::Room;
use super::compress::{self, Encoder, Worth};
use super::content_type::{SNIFFED_BYTES, detect};
use super::{AnswerHead, grpc_web};

/// All that is done to one body.
#[derive(Debug, Default)]
pub(crate) struct Alteration {
    stages: Vec<Stage>,
    /// What is to be sent.
    out: Vec<u8>,
    /// What goes from one stage to the next.
    between: Vec<u8>,
}

/// Why an answer can't be passed on as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is larger than the operator lets it be.
    TooLarge,
    /// A coder gave up.
    Encoder,
}

/// One thing that is done.
#[derive(Debug)]
enum Stage {
    /// Finds out what kind of content it is.
    Sniff { held: Option<Vec<u8>> },
    /// Gathers it before anything is sent.
    Gather { held: Option<Vec<u8>>, room: Room, seen: u64 },
    /// Makes it smaller.
    Squeeze(Squeeze),
    /// Frames it for browsers.
    GrpcWeb(grpc_web::Framing),
}

#[derive(Debug)]
enum Squeeze {
    /// Whether it is worth it shows when there is this much.
    Undecided {
        encoding: Encoding,
        bytes_min: u64,
        held: Vec<u8>,
    },
    Does(Box<Encoder>),
    Leaves,
}

/// What is told to a stage.
#[derive(Clone, Copy)]
enum Word<'a> {
    Piece(&'a [u8]),
    /// Nothing more for the moment.
    Pause,
    /// Nothing more; with what is said behind the body.
    End(Option<&'a HeaderMap>),
}

impl Alteration {
    /// Finds out what kind of content it is, and says so in the head.
    pub(crate) fn sniff(&mut self) {
        self.stages.push(Stage::Sniff { held: Some(Vec::new()) });
    }

    /// Gathers it before anything is sent.
    pub(crate) fn gather(&mut self, room: Room) {
        self.stages.push(Stage::Gather { held: Some(Vec::new()), room, seen: 0 });
    }

    /// Makes it smaller, where that is worth it.
    pub(crate) fn squeeze(&mut self, encoding: Encoding, worth: Worth) {
        let bytes_min = match worth {
            Worth::Nothing => return,
            Worth::All => 0,
            Worth::From(bytes) => bytes,
        };
        self.stages.push(Stage::Squeeze(Squeeze::Undecided { encoding, bytes_min, held: Vec::new() }));
    }

    /// Frames it for browsers.
    pub(crate) fn frame(&mut self, call: grpc_web::Call) {
        self.stages.push(Stage::GrpcWeb(grpc_web::Framing::new(call)));
    }

    /// Whether it does nothing at all, or nothing to what has no body.
    pub(crate) fn is_idle(&self, has_body: bool) -> bool {
        self.stages.iter().all(|stage| !has_body && !matches!(stage, Stage::GrpcWeb(_)))
    }

    /// Whether what is said behind the body becomes a part of it.
    pub(crate) fn takes_trailers(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::GrpcWeb(_)))
    }

    /// Whether the head may be sent.
    pub(crate) fn is_settled(&self) -> bool {
        self.stages.iter().all(Stage::is_settled)
    }

    /// Takes a piece of the body.
    pub(crate) fn push(&mut self, head: &mut AnswerHead, piece: &[u8]) -> Result<(), Fault> {
        self.tell(head, Word::Piece(piece))
    }

    /// Lets out what can be let out: nothing more comes for the moment.
    pub(crate) fn pause(&mut self, head: &mut AnswerHead) -> Result<(), Fault> {
        self.tell(head, Word::Pause)
    }

    /// Ends the body; `fields` are said behind it.
    pub(crate) fn end(&mut self, head: &mut AnswerHead, fields: Option<&HeaderMap>) -> Result<(), Fault> {
        self.tell(head, Word::End(fields))
    }

    /// What is to be sent. The caller empties it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Tells the first stage; what comes out of it is a piece for the next, and behind that the same word.
    fn tell(&mut self, head: &mut AnswerHead, word: Word<'_>) -> Result<(), Fault> {
        let Self { stages, out, between } = self;
        let is_piece = matches!(word, Word::Piece(_));
        let mut input = std::mem::take(between);
        input.clear();
        if let Word::Piece(piece) = word {
            input.extend_from_slice(piece);
        }
        let mut output = Vec::new();
        for stage in stages.iter_mut() {
            if !input.is_empty() {
                stage.hear(head, Word::Piece(&input), &mut output)?;
            }
            if !is_piece {
                stage.hear(head, word, &mut output)?;
            }
            std::mem::swap(&mut input, &mut output);
            output.clear();
        }
        out.extend_from_slice(&input);
        *between = input;
        Ok(())
    }
}

impl Stage {
    fn is_settled(&self) -> bool {
        match self {
            Self::Sniff { held } | Self::Gather { held, .. } => held.is_none(),
            Self::Squeeze(squeeze) => !matches!(squeeze, Squeeze::Undecided { .. }),
            Self::GrpcWeb(_) => true,
        }
    }

    fn hear(&mut self, head: &mut AnswerHead, word: Word<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Sniff { held } => sniff(held, head, word, out),
            Self::Gather { held, room, seen } => return gather(held, *room, seen, word, out),
            Self::Squeeze(squeeze) => return squeeze.hear(head, word, out),
            Self::GrpcWeb(framing) => match word {
                Word::Piece(piece) => framing.push(piece, out),
                Word::Pause => framing.flush(out),
                Word::End(fields) => {
                    let fields = fields.into_iter().flatten();
                    framing.finish(fields.map(|(name, value)| (name.as_str(), value.as_bytes())), out);
                }
            },
        }
        Ok(())
    }
}

fn sniff(held: &mut Option<Vec<u8>>, head: &mut AnswerHead, word: Word<'_>, out: &mut Vec<u8>) {
    let Some(beginning) = held else {
        if let Word::Piece(piece) = word {
            out.extend_from_slice(piece);
        }
        return;
    };
    if let Word::Piece(piece) = word {
        beginning.extend_from_slice(piece);
        if beginning.len() < SNIFFED_BYTES {
            return;
        }
    }
    // Nothing has no kind.
    if !beginning.is_empty() {
        head.fields.set("Content-Type", detect(beginning).as_bytes());
    }
    out.append(beginning);
    *held = None;
}

fn gather(
    held: &mut Option<Vec<u8>>,
    room: Room,
    seen: &mut u64,
    word: Word<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    if let Word::Piece(piece) = word {
        *seen += piece.len() as u64;
        if !room.allows(*seen) {
            return Err(Fault::TooLarge);
        }
    }
    match (held.as_mut(), word) {
        (None, Word::Piece(piece)) => out.extend_from_slice(piece),
        (None, _) | (Some(_), Word::Pause) => {}
        (Some(gathered), Word::Piece(piece)) => {
            gathered.extend_from_slice(piece);
            if *seen > room.gathered_max {
                out.append(gathered);
                *held = None;
            }
        }
        (Some(gathered), Word::End(_)) => {
            out.append(gathered);
            *held = None;
        }
    }
    Ok(())
}

impl Squeeze {
    fn hear(&mut self, head: &mut AnswerHead, word: Word<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if let Self::Undecided { encoding, bytes_min, held } = self {
            match word {
                Word::Piece(piece) => {
                    held.extend_from_slice(piece);
                    if (held.len() as u64) < *bytes_min {
                        return Ok(());
                    }
                }
                Word::Pause if held.is_empty() => return Ok(()),
                // What comes in pieces is a stream, and may become long.
                Word::Pause => {}
                Word::End(_) => {
                    out.append(held);
                    *self = Self::Leaves;
                    return Ok(());
                }
            }
            let held = std::mem::take(held);
            let encoding = *encoding;
            *self = Self::begin(encoding, head);
            self.hear(head, Word::Piece(&held), out)?;
            return if let Word::Piece(_) = word { Ok(()) } else { self.hear(head, word, out) };
        }
        let coded = match (&mut *self, word) {
            (Self::Does(encoder), Word::Piece(piece)) => encoder.push(piece, out),
            (Self::Does(encoder), Word::Pause) => encoder.flush(out),
            (Self::Does(_), Word::End(_)) => match std::mem::replace(self, Self::Leaves) {
                Self::Does(encoder) => encoder.finish(out),
                _ => Ok(()),
            },
            (_, Word::Piece(piece)) => {
                out.extend_from_slice(piece);
                Ok(())
            }
            _ => Ok(()),
        };
        coded.map_err(|_| Fault::Encoder)
    }

    /// Begins, and says so. Where there are as many at work as may be, the body goes as it is.
    fn begin(encoding: Encoding, head: &mut AnswerHead) -> Self {
        let Some(encoder) = Encoder::new(encoding) else { return Self::Leaves };
        let fields = &mut head.fields;
        fields.set("Content-Encoding", compress::name(encoding).as_bytes());
        fields.remove("Content-Length");
        // Parts of it can't be asked for any more, nor is it byte for byte what it was.
        fields.remove("Accept-Ranges");
        if let Some(weak) = fields.get("ETag").and_then(compress::weakened) {
            fields.set("ETag", &weak);
        }
        Self::Does(Box::new(encoder))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> AnswerHead {
        let mut head = AnswerHead::new(200);
        for (name, value) in fields {
            head.fields.add(name, value.as_bytes());
        }
        head
    }

    fn unzipped(coded: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(coded).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_head_waits_until_what_follows_is_known() {
        let mut head = head(&[("ETag", "\"x\""), ("Accept-Ranges", "bytes")]);
        let mut alteration = Alteration::default();
        alteration.sniff();
        alteration.squeeze(Encoding::Gzip, Worth::From(1000));
        let text = "<p>".to_owned() + &"words ".repeat(300);
        let (begin, rest) = text.split_at(300);
        alteration.push(&mut head, begin.as_bytes()).unwrap();
        assert!(!alteration.is_settled() && alteration.out().is_empty());
        alteration.push(&mut head, rest.as_bytes()).unwrap();
        assert!(alteration.is_settled());
        alteration.end(&mut head, None).unwrap();
        assert_eq!(unzipped(alteration.out()), text);
        assert_eq!(head.fields.text("content-type"), "text/html; charset=utf-8");
        assert_eq!(head.fields.text("content-encoding"), "gzip");
        assert_eq!(head.fields.text("etag"), "W/\"x\"");
        assert_eq!(head.fields.get("accept-ranges"), None);
    }

    #[test]
    fn what_turns_out_to_be_short_goes_as_it_is() {
        let mut head = head(&[("ETag", "\"x\"")]);
        let mut alteration = Alteration::default();
        alteration.squeeze(Encoding::Gzip, Worth::From(1000));
        alteration.push(&mut head, b"short").unwrap();
        alteration.end(&mut head, None).unwrap();
        assert!(alteration.is_settled());
        assert_eq!(alteration.out(), b"short");
        assert_eq!((head.fields.get("content-encoding"), head.fields.text("etag")), (None, "\"x\""));
    }

    #[test]
    fn a_stream_is_let_out_whenever_it_pauses() {
        let mut head = head(&[]);
        let mut alteration = Alteration::default();
        alteration.squeeze(Encoding::Gzip, Worth::From(1000));
        alteration.pause(&mut head).unwrap();
        assert!(!alteration.is_settled(), "nothing is no beginning");
        let mut coded = Vec::new();
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            alteration.push(&mut head, event.as_bytes()).unwrap();
            alteration.pause(&mut head).unwrap();
            assert!(alteration.is_settled() && !alteration.out().is_empty());
            coded.append(alteration.out());
        }
        alteration.end(&mut head, None).unwrap();
        coded.append(alteration.out());
        assert_eq!(unzipped(&coded), "data: 1\n\ndata: 2\n\n");
    }

    #[test]
    fn a_body_is_gathered_within_its_room() {
        let room = Room { bytes_max: Some(20), gathered_max: 10 };
        let run = |pieces: &[&[u8]]| {
            let mut head = head(&[]);
            let mut alteration = Alteration::default();
            alteration.gather(room);
            for piece in pieces {
                alteration.push(&mut head, piece)?;
                alteration.pause(&mut head)?;
            }
            let early = alteration.out().len();
            alteration.end(&mut head, None)?;
            Ok((early, alteration.out().clone()))
        };
        assert_eq!(run(&[b"12345", b"67890"]), Ok((0, b"1234567890".to_vec())));
        assert_eq!(run(&[b"12345", b"678901"]), Ok((11, b"12345678901".to_vec())));
        assert_eq!(run(&[b"1234567890", b"1234567890"]), Ok((20, b"12345678901234567890".to_vec())));
        assert_eq!(run(&[b"1234567890", b"12345678901"]), Err(Fault::TooLarge));
    }

    #[test]
    fn a_call_ends_with_its_trailers() {
        let mut head = head(&[]);
        let mut alteration = Alteration::default();
        alteration.frame(grpc_web::Call { is_text: false });
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", 0.into());
        alteration.push(&mut head, b"message").unwrap();
        alteration.end(&mut head, Some(&fields)).unwrap();
        assert_eq!(alteration.out(), b"message\x80\0\0\0\x10grpc-status: 0\r\n");
    }
}
