//! Whatever split of the bytes arrives gives the same result, and hyper understands it in the same way.

use std::fs;
use std::path::Path;

use portolan_proxy::fuzz::{answers, requests, sent_back};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::differential::differential;
use crate::differential_answers::differential_answers;

/// The bytes, cut at these places.
fn cut<'b>(bytes: &'b [u8], at: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A body in one of the ways to frame it: the fields that say so, and the bytes.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let content = prop::collection::vec(any::<u8>(), 0..40);
    let chunks = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..4);
    prop_oneof![
        Just((String::new(), Vec::new())),
        content.prop_map(|content| (format!("Content-Length: {}\r\n", content.len()), content)),
        (chunks, select(vec!["", "X-Sum: 1\r\n"])).prop_map(|(chunks, trailer)| {
            let mut written = Vec::new();
            for chunk in chunks {
                written.extend(format!("{:x};a=b\r\n", chunk.len()).bytes());
                written.extend(chunk);
                written.extend(b"\r\n");
            }
            written.extend(format!("0\r\n{trailer}\r\n").bytes());
            ("Transfer-Encoding: chunked\r\n".to_owned(), written)
        }),
    ]
}

/// Fields that decide nothing.
fn fields() -> impl Strategy<Value = String> {
    let field =
        ("X-[A-Za-z0-9-]{1,12}", "[ -~]{0,20}").prop_map(|(name, value)| format!("{name}: {value}\r\n"));
    prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat())
}

/// Requests one behind the other, with how many they are.
fn pipeline() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let line = (select(vec!["GET", "POST", "PUT", "DELETE", "OTHER"]), "/[a-z0-9/.%?=&-]{0,30}");
    let request = (line, fields(), body()).prop_map(|((method, target), fields, (framing, body))| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{fields}{framing}\r\n");
        [head.into_bytes(), body].concat()
    });
    prop::collection::vec(request, 1..5).prop_map(|requests| (requests.len(), requests.concat()))
}

/// Cases that are not kept in a file: a failure shows its input.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn requests_are_read_alike_wherever_they_are_cut(
        (count, bytes) in pipeline(),
        at in prop::collection::vec(any::<Index>(), 0..24),
    ) {
        let whole = requests([bytes.as_slice()]);
        prop_assert_eq!((whole.requests.len(), whole.refused), (count, false));
        prop_assert_eq!(requests(cut(&bytes, &at)), whole);
    }

    #[test]
    fn nonsense_is_refused_alike_wherever_it_is_cut(
        (_, mut bytes) in pipeline(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        at in prop::collection::vec(any::<Index>(), 0..24),
    ) {
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        prop_assert_eq!(requests(cut(&bytes, &at)), requests([bytes.as_slice()]));
    }

    #[test]
    fn answers_are_read_alike_wherever_they_are_cut(
        status in 100..600_u16,
        fields in fields(),
        (framing, body) in body(),
        at in prop::collection::vec(any::<Index>(), 0..24),
    ) {
        let head = format!("HTTP/1.1 {status} Phrase\r\n{fields}{framing}\r\n");
        let bytes = [head.as_bytes(), &body].concat();
        let whole = answers("GET", [bytes.as_slice()]);
        prop_assert_eq!(whole.0.first().map(|(status, _)| *status), Some(status));
        prop_assert_eq!(answers("GET", cut(&bytes, &at)), whole);
    }

    #[test]
    fn hyper_understands_what_is_sent_back_in_the_same_way(
        status in select(vec![200, 204, 206, 299, 304, 404, 500, 999_u16]),
        fields in fields(),
        (framing, body) in body(),
        behind in select(vec!["", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]),
    ) {
        let head = format!("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 {status} Phrase\r\n{fields}{framing}\r\n");
        differential_answers(&[head.as_bytes(), &body, behind.as_bytes()].concat());
    }

    #[test]
    fn hyper_understands_what_is_sent_on_in_the_same_way((_, bytes) in pipeline()) {
        differential(&bytes);
    }
}

#[test]
fn hyper_understands_the_corpus_of_answers_in_the_same_way() {
    let mut seen = 0;
    for corpus in ["answers", "differential_answers"] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(corpus);
        for entry in fs::read_dir(corpus).expect("there is a corpus").flatten() {
            let bytes = fs::read(entry.path()).expect("a file");
            differential_answers(&bytes);
            seen += usize::from(sent_back("GET", &bytes).is_some());
        }
    }
    assert!(seen >= 8, "only {seen} answers were taken");
}

#[test]
fn hyper_understands_the_corpus_in_the_same_way() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/differential");
    let mut seen = 0;
    for entry in fs::read_dir(corpus).expect("there is a corpus").flatten() {
        let bytes = fs::read(entry.path()).expect("a file");
        differential(&bytes);
        seen += requests([bytes.as_slice()]).requests.len();
    }
    assert!(seen >= 8, "only {seen} requests were taken");
}
