//! What the DNS flag days of 2019 and 2020 ask of every server: EDNS as RFC 6891 has it, whatever a client puts in it.

use super::*;

/// An OPT of this version, with these flags and options.
struct Opt {
    version: u8,
    flags: u16,
    size: u16,
    options: Vec<u8>,
}

const PLAIN: Opt = Opt { version: 0, flags: 0, size: 4096, options: Vec::new() };
const DO: u16 = 0x8000;

/// An option of this code.
fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// A query for the SOA of the zone, with this OPT.
fn query_with(opt: &Opt, record_type: RecordType) -> Vec<u8> {
    let mut query = bytes(&query("", record_type));
    query[11] = 1;
    query.push(0);
    query.extend_from_slice(&41_u16.to_be_bytes());
    query.extend_from_slice(&opt.size.to_be_bytes());
    query.extend_from_slice(&[0, opt.version]);
    query.extend_from_slice(&opt.flags.to_be_bytes());
    query.extend_from_slice(&(opt.options.len() as u16).to_be_bytes());
    query.extend_from_slice(&opt.options);
    query
}

/// Code, the version and flags in its OPT, the codes of its options, whether there is an SOA; by UDP and by TCP alike.
fn answered(opt: &Opt) -> (u16, u8, u16, Vec<u16>, bool) {
    let read = |transport| {
        let reply = exchange(&small(), &query_with(opt, RecordType::SOA), transport).expect("an answer");
        let edns = reply.edns.as_ref().expect("an OPT in the query brings one in the answer");
        let flags = u16::from(edns.flags().dnssec_ok) << 15 | edns.flags().z;
        let options = edns.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect();
        let code = u16::from(reply.metadata.response_code);
        (code, edns.version(), flags, options, reply.answers.len() == 1)
    };
    let (udp, tcp) = (read(Transport::Udp), read(Transport::Tcp));
    assert_eq!(udp, tcp);
    udp
}

#[test]
fn a_client_may_say_anything_that_it_knows_and_we_do_not() {
    let fine = |flags| (0, 0, flags, Vec::new(), true);
    let with = |options| Opt { options, ..PLAIN };
    for (what, opt, flags) in [
        ("edns", PLAIN, 0),
        ("edns@512", Opt { size: 512, ..PLAIN }, 0),
        ("a size below the least", Opt { size: 0, ..PLAIN }, 0),
        ("do", Opt { flags: DO, ..PLAIN }, DO),
        ("flags nobody knows", Opt { flags: 0x0080, ..PLAIN }, 0),
        ("all flags", Opt { flags: 0xFFFF, ..PLAIN }, DO),
        ("an option nobody knows", with(option(100, b"")), 0),
        ("one with something in it", with(option(65_001, &[7; 200])), 0),
        ("nsid", with(option(3, b"")), 0),
        ("subnet", with(option(8, &[0, 1, 0, 0])), 0),
        ("expire", with(option(9, b"")), 0),
        ("keepalive", with(option(11, b"")), 0),
        ("padding", with(option(12, &[0; 64])), 0),
        ("several", with([option(3, b""), option(8, &[0, 1, 0, 0]), option(100, b"x")].concat()), 0),
    ] {
        assert_eq!(answered(&opt), fine(flags), "{what}");
    }
}

#[test]
fn another_version_is_told_ours_and_nothing_else() {
    for opt in [
        Opt { version: 1, ..PLAIN },
        Opt { version: 255, flags: 0x0080, ..PLAIN },
        Opt { version: 1, options: option(100, b"x"), ..PLAIN },
        Opt { version: 1, flags: DO, ..PLAIN },
    ] {
        let (code, version, flags, options, answered) = answered(&opt);
        assert_eq!((code, version, options, answered), (16, 0, vec![], false), "{}", opt.version);
        assert_eq!(flags & !DO, 0);
    }
}

#[test]
fn options_that_are_not_whole_are_a_form_error() {
    for options in [vec![0], vec![0, 100, 0], vec![0, 100, 0, 9, 1], vec![0, 10, 0, 3, 1, 2, 3]] {
        let query = query_with(&Opt { options: options.clone(), ..PLAIN }, RecordType::SOA);
        let reply = exchange(&small(), &query, Transport::Udp).expect("an answer");
        assert_eq!(u16::from(reply.metadata.response_code), 1, "{options:?}");
    }
}

#[test]
fn what_is_cut_still_says_that_we_speak_edns() {
    let query = query_with(&Opt { size: 512, ..PLAIN }, RecordType::A);
    let mut question = query.clone();
    // A name of many instead of the zone's.
    let name = b"\x05crowd\x08portolan\x08internal\x00";
    let end = 12 + b"\x08portolan\x08internal\x00".len();
    question.splice(12..end, name.iter().copied());
    let reply = exchange(&crowd(100), &question, Transport::Udp).expect("an answer");
    assert!(reply.metadata.truncation && reply.edns.is_some(), "{reply}");
}
