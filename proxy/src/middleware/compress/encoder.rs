//! Bytes in, fewer bytes out, piece by piece.
//!
//! The levels are those at which a worker still moves tens of megabytes a second: what is compressed on the way is
//! compressed once for one client.

use std::cell::Cell;
use std::io::{self, Write};

use portolan_config::dynamic::middleware::Encoding;

use crate::limits::ENCODERS_MAX;

/// Where zlib-like coders stop winning much for the time they take.
const GZIP_LEVEL: u32 = 5;
/// nginx and CDNs use 4 to 6 for what is made on the way.
const BROTLI_QUALITY: u32 = 4;
/// 512 KiB: as much as a connection's answer may keep of memory for it, and what the quality can make use of.
const BROTLI_WINDOW_BITS: u32 = 19;
/// zstd's own.
const ZSTD_LEVEL: i32 = 3;

/// A stream that is being compressed.
pub(crate) struct Encoder {
    coder: Coder,
    _place: Place,
}

enum Coder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

/// A place among those that work at once.
struct Place;

thread_local! {
    /// How many there are on this thread: a worker keeps its connections.
    static AT_WORK: Cell<usize> = const { Cell::new(0) };
}

impl Place {
    fn take() -> Option<Self> {
        let taken = AT_WORK.get();
        (taken < ENCODERS_MAX).then(|| {
            AT_WORK.set(taken + 1);
            Self
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        AT_WORK.set(AT_WORK.get().saturating_sub(1));
    }
}

impl Encoder {
    /// A stream in this coding; `None` where as many are at work as may be.
    pub(crate) fn new(encoding: Encoding) -> Option<Self> {
        let place = Place::take()?;
        let coder = Coder::new(encoding).ok()?;
        Some(Self { coder, _place: place })
    }

    /// Takes a piece in; what comes of it by now is put behind `out`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.coder.push(piece, out)
    }

    /// Lets out all that was taken in: whoever reads must not wait for more.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.coder.flush(out)
    }

    /// Ends the stream.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        self.coder.finish(out)
    }
}

impl Coder {
    fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Encoding::Br => Self::Br(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                BROTLI_WINDOW_BITS,
            ))),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(piece)?,
            Self::Br(encoder) => encoder.write_all(piece)?,
            Self::Zstd(encoder) => encoder.write_all(piece)?,
        }
        self.drain(out);
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush()?,
            Self::Br(encoder) => encoder.flush()?,
            Self::Zstd(encoder) => encoder.flush()?,
        }
        self.drain(out);
        Ok(())
    }

    fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Br(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        let held = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        out.append(held);
    }
}

/// What the coder gathers before it hands bytes on.
const BROTLI_BUFFER_BYTES: usize = 4096;

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.coder {
            Coder::Gzip(_) => "gzip",
            Coder::Br(_) => "br",
            Coder::Zstd(_) => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Br, Encoding::Zstd];

    /// Reads as much as is there; an unfinished stream gives what was let out.
    fn decoded(encoding: Encoding, coded: &[u8]) -> Vec<u8> {
        let mut reader: Box<dyn Read + '_> = match encoding {
            Encoding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
            Encoding::Br => Box::new(brotli::Decompressor::new(coded, 4096)),
            Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
        };
        let mut out = Vec::new();
        let mut piece = [0; 512];
        while let Ok(count @ 1..) = reader.read(&mut piece) {
            out.extend_from_slice(&piece[..count]);
        }
        out
    }

    fn text() -> Vec<u8> {
        (0..5000).flat_map(|line| format!("{line}: the same words again\n").into_bytes()).collect()
    }

    #[test]
    fn what_was_compressed_is_read_back_however_it_came() {
        let text = text();
        for encoding in ALL {
            for size in [1000, 16_384, text.len()] {
                let mut encoder = Encoder::new(encoding).unwrap();
                let mut out = Vec::new();
                for piece in text.chunks(size) {
                    encoder.push(piece, &mut out).unwrap();
                }
                encoder.finish(&mut out).unwrap();
                assert_eq!(decoded(encoding, &out), text, "{encoding:?} in pieces of {size}");
                assert!(out.len() * 5 < text.len(), "{encoding:?}: {} of {}", out.len(), text.len());
            }
        }
    }

    #[test]
    fn what_was_let_out_is_read_before_the_end() {
        for encoding in ALL {
            let mut encoder = Encoder::new(encoding).unwrap();
            let mut out = Vec::new();
            for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                let before = decoded(encoding, &out).len();
                encoder.push(event.as_bytes(), &mut out).unwrap();
                encoder.flush(&mut out).unwrap();
                assert_eq!(&decoded(encoding, &out)[before..], event.as_bytes(), "{encoding:?}");
            }
        }
    }

    #[test]
    fn no_more_work_at_once_than_may() {
        let encoders: Vec<Encoder> =
            std::iter::from_fn(|| Encoder::new(Encoding::Gzip)).take(ENCODERS_MAX + 1).collect();
        assert_eq!(encoders.len(), ENCODERS_MAX);
        drop(encoders);
        assert!(Encoder::new(Encoding::Gzip).is_some());
    }

    #[test]
    fn nothing_is_a_stream_too() {
        for encoding in ALL {
            let mut out = Vec::new();
            Encoder::new(encoding).unwrap().finish(&mut out).unwrap();
            assert!(!out.is_empty() && decoded(encoding, &out).is_empty(), "{encoding:?}");
        }
    }
}
