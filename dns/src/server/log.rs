//! The query log: a line for each query that is to be logged, written by a thread of its own. Nobody waits for it: what it
//! can't take is counted and lost.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

use portolan_config::settings::dns::{self, Class};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Asking;
use crate::answer::{Outcome, Transport};
use crate::metrics::Metrics;
use crate::rcode::Rcode;
use crate::request::Request;

/// Lines that may wait to be written.
const WAITING: usize = 4096;

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) struct QueryLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines: SyncSender<String>,
    sample: u32,
    /// How many could have been logged.
    seen: AtomicU32,
    classes: Vec<Class>,
    metrics: Metrics,
}

/// A query and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note<'a> {
    pub(super) query: &'a [u8],
    pub(super) reply: &'a [u8],
    pub(super) asked: Asking,
    pub(super) outcome: Outcome,
}

impl QueryLog {
    /// Opens the log. Its thread ends when nobody can write to it.
    pub(super) fn start(settings: &dns::QueryLog, metrics: &Metrics) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match &settings.file {
            None => Box::new(io::stdout()),
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("the query log {}: {error}", path.display()))
                })?;
                Box::new(file)
            }
        };
        let (lines, received) = sync_channel(WAITING);
        std::thread::Builder::new().name("dns-log".to_owned()).spawn(move || write(&received, out))?;
        let seen = AtomicU32::new(0);
        let (sample, classes) = (settings.sample, settings.classes.clone());
        Ok(Self(Arc::new(Inner { lines, sample, seen, classes, metrics: metrics.clone() })))
    }

    /// Takes what is to be logged.
    pub(super) fn take(&self, note: &Note<'_>) {
        let Inner { lines, sample, seen, classes, metrics } = &*self.0;
        if !classes.contains(&class(note)) || !seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(*sample) {
            return;
        }
        if lines.try_send(line(note, SystemTime::now())).is_err() {
            metrics.log_dropped();
        }
    }
}

/// Writes line by line; what was written is seen at the latest when there is no more.
fn write(lines: &Receiver<String>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    while let Ok(first) = lines.recv() {
        let mut line = Some(first);
        while let Some(text) = line {
            let _ = out.write_all(text.as_bytes());
            line = lines.try_recv().ok();
        }
        let _ = out.flush();
    }
}

fn class(note: &Note<'_>) -> Class {
    let answers = note.reply.get(6..8).is_some_and(|count| count != [0, 0]);
    match note.outcome.rcode {
        Rcode::NoError if answers || note.outcome.truncated => Class::Success,
        Rcode::NoError | Rcode::NxDomain => Class::Denial,
        _ => Class::Error,
    }
}

/// One JSON object: what a machine reads, and a person can.
fn line(note: &Note<'_>, now: SystemTime) -> String {
    let Note { query, reply, asked, outcome } = note;
    let time = OffsetDateTime::from(now).format(&Rfc3339).unwrap_or_default();
    let proto = match asked.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Https => "https",
    };
    let request = Request::read(query);
    let question = request.as_ref().and_then(|request| request.question.as_ref());
    let name = question.map_or_else(String::new, |question| shown(question.name.written()));
    let kind = outcome.record_type.map_or_else(String::new, |kind| kind.to_string());
    let count = |at: usize| reply.get(at..at + 2).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let mut line = String::with_capacity(256);
    // Names are shown in letters that need no escape but the backslash's own.
    let _ = writeln!(
        line,
        r#"{{"time":"{time}","client":"{}","proto":"{proto}","id":{},"name":"{}","type":"{kind}","rcode":"{}","answers":{},"bytes":{},"truncated":{},"duration_us":{}}}"#,
        asked.client.to_canonical(),
        request.as_ref().map_or(0, |request| request.id),
        name.replace('\\', "\\\\").replace('"', "\\\""),
        outcome.rcode.as_str(),
        count(6),
        reply.len(),
        outcome.truncated,
        asked.begun.elapsed().as_micros(),
    );
    line
}

/// A name in wire form as it is written in a zone file: what is no letter there is `\DDD` (RFC 1035 §5.1).
fn shown(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((length, after)) = rest.split_first() {
        let Some((label, after)) = after.split_at_checked(usize::from(*length)).filter(|_| *length > 0)
        else {
            break;
        };
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                0x21..=0x7E => text.push(char::from(byte)),
                _ => {
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        text.push('.');
        rest = after;
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::test_support::{asker, container, query, zone};

    #[test]
    fn a_line_says_who_asked_what_and_how_it_went() {
        let zone = zone([container("web", "10.0.0.1")]);
        let query = query("WEB", hickory_proto::rr::RecordType::A).to_vec().unwrap();
        let mut reply = Vec::new();
        let outcome = crate::answer(&zone, &query, &asker(Transport::Udp), &mut reply).unwrap();
        let asked =
            Asking { transport: Transport::Udp, client: [192, 0, 2, 1].into(), begun: Instant::now() };
        let note = Note { query: &query, reply: &reply, asked, outcome };
        assert_eq!(class(&note), Class::Success);
        let line = line(&note, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let start = r#"{"time":"1970-01-01T00:00:01Z","client":"192.0.2.1","proto":"udp","id":4711,"name":"WEB.portolan.internal.","type":"A","rcode":"noerror","answers":1,"bytes":55,"truncated":false,"duration_us":"#;
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with("}\n"));
    }

    #[test]
    fn any_name_can_be_shown() {
        assert_eq!(shown(b"\x01a\x02b.\x00"), "a.b\\..");
        assert_eq!(shown(b"\x03\"\\\n\x00"), "\\\"\\\\\\010.");
        assert_eq!(shown(b"\x00"), ".");
        assert_eq!(shown(b"\x09ab"), ".");
    }
}
