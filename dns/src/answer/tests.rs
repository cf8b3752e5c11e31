//! The protocol's rules, one test a rule, over bytes.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use portolan_discovery::State;

use super::*;
use crate::test_support::{asker, container, data, exchange, query, settings, verdict, with_edns, zone};

fn small() -> Zone {
    zone([
        container("web-1", "10.0.0.1").compose("shop", "web").port(80, Some("http")),
        container("web-2", "10.0.0.2").compose("shop", "web").port(80, Some("http")).ipv6("fd00::2"),
        container("db", "10.0.0.3").port(5432, None),
        container("sick", "10.0.0.4").is(State::Unhealthy).port(80, None),
    ])
}

/// A service with so many replicas.
fn crowd(replicas: usize) -> Zone {
    zone((0..replicas).map(|n| {
        let name = format!("a-rather-long-container-name-{n}");
        container(&name, &format!("10.0.{}.{}", n / 250, n % 250))
            .compose("p", "crowd")
            .port(80, Some("http"))
    }))
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

#[test]
fn every_kind_of_name_gets_its_verdict() {
    let zone = small();
    for (name, record_type, expected) in [
        ("web", RecordType::A, "NoError with answers"),
        ("web", RecordType::AAAA, "NoError with answers"),
        ("db", RecordType::AAAA, "NoError SOA"),
        ("web", RecordType::TXT, "NoError with answers"),
        ("_http._tcp.web", RecordType::TXT, "NoError SOA"),
        ("web", RecordType::HTTPS, "NoError SOA"),
        ("web", RecordType::SRV, "NoError SOA"),
        ("web", RecordType::Unknown(4711), "NoError SOA"),
        ("_http._tcp.web", RecordType::SRV, "NoError with answers"),
        ("_http._tcp.web", RecordType::A, "NoError SOA"),
        ("_http._udp.web", RecordType::SRV, "NXDomain SOA"),
        ("_https._tcp.web", RecordType::SRV, "NXDomain SOA"),
        // Unhealthy replicas: the name exists all the same.
        ("sick", RecordType::A, "NoError SOA"),
        ("_80._tcp.sick", RecordType::SRV, "NoError SOA"),
        ("nosuch", RecordType::A, "NXDomain SOA"),
        ("below.web", RecordType::A, "NXDomain SOA"),
        // Empty non-terminals (RFC 8020).
        ("_tcp.web", RecordType::A, "NoError SOA"),
        // `tasks.web` is below `web`: nothing is called `tasks`.
        ("tasks", RecordType::A, "NXDomain SOA"),
        ("shop", RecordType::A, "NoError SOA"),
        ("shop", RecordType::ANY, "NoError SOA"),
        ("", RecordType::A, "NoError SOA"),
        ("", RecordType::SOA, "NoError with answers"),
        ("", RecordType::NS, "NoError with answers"),
        ("internal.", RecordType::A, "Refused"),
        (".", RecordType::NS, "Refused"),
        ("example.com.", RecordType::A, "Refused"),
        ("web.xportolan.internal.", RecordType::A, "Refused"),
        ("webportolan.internal.", RecordType::A, "Refused"),
        ("1.0.0.10.in-addr.arpa.", RecordType::PTR, "NoError with answers"),
        ("1.0.0.10.in-addr.arpa.", RecordType::A, "NoError SOA"),
        ("1.0.0.10.in-addr.arpa.", RecordType::SOA, "NoError with answers"),
        ("9.0.0.10.in-addr.arpa.", RecordType::PTR, "Refused"),
        ("0.0.10.in-addr.arpa.", RecordType::PTR, "Refused"),
        ("web", RecordType::AXFR, "Refused"),
        ("web", RecordType::OPT, "FormErr"),
    ] {
        assert_eq!(verdict(&zone.ask(name, record_type)), expected, "{name} {record_type}");
    }
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let zone = Zone::not_synced(&settings());
    for (name, expected) in [
        ("web", "ServFail"),
        ("", "ServFail"),
        ("1.0.0.10.in-addr.arpa.", "ServFail"),
        ("example.com.", "Refused"),
    ] {
        let reply = zone.ask(name, RecordType::A);
        assert_eq!(verdict(&reply), expected, "{name}");
        assert!(!reply.metadata.authoritative, "{name}");
    }
}

#[test]
fn the_header_says_who_answers() {
    let zone = small();
    let reply = zone.ask("web", RecordType::A);
    assert_eq!(reply.metadata.id, 4711);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
    assert!(!reply.metadata.recursion_available && !reply.metadata.truncation);
    assert!(zone.ask("nosuch", RecordType::A).metadata.authoritative);
    assert!(!zone.ask("example.com.", RecordType::A).metadata.authoritative);
    let mut plain = query("web", RecordType::A);
    plain.metadata.recursion_desired = false;
    assert!(!zone.ask_with(&plain, Transport::Udp).metadata.recursion_desired);
}

#[test]
fn a_negative_answer_is_kept_no_longer_than_a_positive_one() {
    let zone = small();
    for name in ["nosuch", "shop"] {
        let reply = zone.ask(name, RecordType::A);
        let soa = &reply.authorities[0];
        let RData::SOA(content) = &soa.data else { panic!("{soa}") };
        assert_eq!((soa.ttl, content.minimum, content.serial), (2, 2, 7), "{name}");
        assert_eq!(soa.name.to_ascii(), "portolan.internal.", "{name}");
        assert_eq!(content.mname.to_ascii(), "ns.portolan.internal.");
    }
    assert_eq!(zone.ask("web", RecordType::A).answers[0].ttl, 2);
}

#[test]
fn the_apex_names_its_server() {
    let zone = small();
    let reply = zone.ask("", RecordType::NS);
    assert_eq!(data(&reply.answers), ["ns.portolan.internal."]);
    assert_eq!(data(&reply.additionals), ["127.0.0.1"]);
    assert_eq!(zone.get("ns", RecordType::A), ["127.0.0.1"]);
}

#[test]
fn the_question_comes_back_in_the_case_it_was_asked_in() {
    let zone = small();
    for name in ["wEb.PoRtOlAn.iNtErNaL.", "NoSuCh.portolan.INTERNAL.", "1.0.0.10.In-AdDr.ArPa."] {
        let reply = zone.ask(name, RecordType::A);
        assert_eq!(reply.queries[0].name().to_ascii(), name);
        for record in &reply.answers {
            assert_eq!(record.name.to_ascii(), name);
        }
    }
    assert_eq!(zone.get("WEB", RecordType::A), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(zone.get("1.0.0.10.IN-ADDR.ARPA.", RecordType::PTR), ["web-1.portolan.internal."]);
}

#[test]
fn every_replica_is_first_in_turn_though_a_and_aaaa_are_asked_in_pairs() {
    let zone = small();
    let mut first = Vec::new();
    for _ in 0..4 {
        let reply = zone.ask("web", RecordType::A);
        assert_eq!(reply.answers.len(), 2);
        first.push(reply.answers[0].data.to_string());
        zone.ask("web", RecordType::AAAA);
    }
    assert_eq!(first, ["10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.1"]);
}

#[test]
fn srv_points_to_containers_and_brings_their_addresses() {
    let zone = small();
    let reply = zone.ask("_HTTP._tcp.web", RecordType::SRV);
    let mut answers = data(&reply.answers);
    answers.sort();
    assert_eq!(answers, ["0 1 80 web-1.portolan.internal.", "0 1 80 web-2.portolan.internal."]);
    let mut glue: Vec<String> = reply.additionals.iter().map(|r| format!("{} {}", r.name, r.data)).collect();
    glue.sort();
    assert_eq!(
        glue,
        [
            "web-1.portolan.internal. 10.0.0.1",
            "web-2.portolan.internal. 10.0.0.2",
            "web-2.portolan.internal. fd00::2"
        ]
    );
}

#[test]
fn a_host_with_many_ports_brings_its_address_once() {
    let zone = zone([1, 2].map(|n| {
        let ip = format!("10.0.0.{n}");
        container(&format!("c{n}"), &ip).compose("p", "web").port(80, Some("x")).port(81, Some("x"))
    }));
    for _ in 0..4 {
        let reply = zone.ask("_x._tcp.web", RecordType::SRV);
        assert_eq!((reply.answers.len(), reply.additionals.len()), (4, 2));
    }
}

#[test]
fn any_is_answered_with_the_least() {
    let zone = small();
    for name in ["web", "", "1.0.0.10.in-addr.arpa."] {
        let reply = zone.ask(name, RecordType::ANY);
        assert_eq!(reply.answers.len(), 1, "{name}");
        let RData::HINFO(hinfo) = &reply.answers[0].data else { panic!("{name}: {reply}") };
        assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
    }
    assert_eq!(verdict(&zone.ask("nosuch", RecordType::ANY)), "NXDomain SOA");
}

#[test]
fn opt_is_in_the_answer_exactly_when_it_was_in_the_query() {
    let zone = small();
    for name in ["web", "nosuch", "example.com."] {
        let with = zone.ask(name, RecordType::A);
        assert_eq!(
            with.edns.as_ref().map(|edns| (edns.max_payload(), edns.version())),
            Some((1232, 0)),
            "{name}"
        );
        assert_eq!(zone.ask_with(&query(name, RecordType::A), Transport::Udp).edns, None, "{name}");
    }
    let mut dnssec = with_edns(query("web", RecordType::A), 4096);
    dnssec.edns.as_mut().unwrap().set_dnssec_ok(true);
    assert!(zone.ask_with(&dnssec, Transport::Udp).edns.unwrap().flags().dnssec_ok);
}

#[test]
fn an_edns_version_that_we_do_not_speak_is_badvers() {
    let mut query = with_edns(query("web", RecordType::A), 1232);
    query.edns.as_mut().unwrap().set_version(1);
    let reply = small().ask_with(&query, Transport::Udp);
    // hickory calls 16 by its other name, BADSIG, which it is in TSIG only.
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert_eq!(reply.edns.unwrap().version(), 0);
    assert!(reply.answers.is_empty());
}

#[test]
fn two_opts_are_one_too_many() {
    let mut bytes = bytes(&with_edns(query("web", RecordType::A), 1232));
    let opt = bytes[bytes.len() - 11..].to_vec();
    bytes.extend(opt);
    bytes[11] = 2;
    let reply = exchange(&small(), &bytes, Transport::Udp).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn what_is_not_a_query_for_the_internet_class_is_refused() {
    let mut chaos = query("web", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(verdict(&small().ask_with(&chaos, Transport::Udp)), "Refused");
}

#[test]
fn other_operations_are_not_implemented() {
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(9)] {
        let mut other = with_edns(query("web", RecordType::SOA), 1232);
        other.metadata.op_code = op_code;
        let reply = small().ask_with(&other, Transport::Udp);
        assert_eq!((reply.metadata.response_code, reply.metadata.op_code), (ResponseCode::NotImp, op_code));
        assert!(reply.edns.is_some());
    }
}

#[test]
fn no_question_and_two_questions_are_form_errors() {
    let mut none = query("web", RecordType::A);
    none.queries.clear();
    let mut two = query("web", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("db.portolan.internal.").unwrap(), RecordType::A));
    for wrong in [none, two] {
        let reply = small().ask_with(&wrong, Transport::Udp);
        assert_eq!(verdict(&reply), "FormErr");
        assert_eq!(reply.metadata.id, 4711);
    }
}

#[test]
fn answers_are_never_answered() {
    let mut reply = query("web", RecordType::A);
    reply.metadata.message_type = MessageType::Response;
    assert_eq!(exchange(&small(), &bytes(&reply), Transport::Udp), None);
}

#[test]
fn a_cut_message_is_a_form_error_as_long_as_there_is_a_header() {
    let zone = small();
    let whole = bytes(&with_edns(query("web", RecordType::A), 1232));
    for length in 0..whole.len() {
        let reply = exchange(&zone, &whole[..length], Transport::Udp);
        let expected = (length >= 12).then_some(ResponseCode::FormErr);
        assert_eq!(reply.map(|reply| reply.metadata.response_code), expected, "{length}");
    }
}

#[test]
fn a_query_full_of_records_is_not_read() {
    let mut wrong = query("web", RecordType::A);
    let filler = small().ask("web", RecordType::A).answers[0].clone();
    wrong.add_additionals(std::iter::repeat_n(filler, 17));
    assert_eq!(verdict(&small().ask_with(&wrong, Transport::Tcp)), "FormErr");
}

#[test]
fn an_answer_is_never_longer_than_the_client_takes() {
    let zone = crowd(400);
    for (udp_size, limit) in
        [(None, 512), (Some(0), 512), (Some(512), 512), (Some(900), 900), (Some(65535), 1232)]
    {
        let mut query = query("crowd", RecordType::A);
        if let Some(size) = udp_size {
            query = with_edns(query, size);
        }
        let mut reply = Vec::new();
        let outcome = answer(&zone, &bytes(&query), &asker(Transport::Udp), &mut reply).unwrap();
        assert!(outcome.truncated);
        assert!(reply.len() <= limit && reply.len() > limit - 16, "{udp_size:?}: {}", reply.len());
        let reply = Message::from_vec(&reply).unwrap();
        assert!(reply.metadata.truncation);
        assert_eq!(reply.edns.is_some(), udp_size.is_some(), "OPT stays");
    }
    let whole = zone.ask_with(&query("crowd", RecordType::A), Transport::Tcp);
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (400, false));
}

#[test]
fn leaving_out_additional_records_needs_no_second_query() {
    let zone = crowd(10);
    let reply = zone.ask_with(&with_edns(query("_http._tcp.crowd", RecordType::SRV), 900), Transport::Udp);
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (10, false));
    assert!(reply.additionals.len() < 10, "{}", reply.additionals.len());
    assert!(reply.edns.is_some());
    let cut = zone.ask_with(&query("_http._tcp.crowd", RecordType::SRV), Transport::Udp);
    assert!(cut.metadata.truncation && cut.additionals.is_empty() && !cut.answers.is_empty());
    let whole = zone.ask_with(&query("_http._tcp.crowd", RecordType::SRV), Transport::Tcp);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (10, 10));
}

#[test]
fn more_than_a_tcp_message_holds_is_cut_to_whole_records() {
    let zone = crowd(5000);
    let reply = zone.ask_with(&with_edns(query("crowd", RecordType::A), 1232), Transport::Tcp);
    assert!(reply.metadata.truncation && reply.answers.len() > 4000 && reply.edns.is_some());
}

#[test]
fn compressed_and_longest_names_are_read() {
    let zone = small();
    let longest = format!("{0}.{0}.{0}.{1}.", "x".repeat(63), "y".repeat(60));
    assert_eq!(verdict(&zone.ask(&longest, RecordType::A)), "Refused");
    let in_zone = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(40));
    let mut plain = query(&in_zone, RecordType::A);
    assert_eq!(verdict(&zone.ask_with(&plain, Transport::Udp)), "NXDomain SOA");
    plain.queries[0].set_query_type(RecordType::ANY);
    assert_eq!(verdict(&zone.ask_with(&plain, Transport::Udp)), "NXDomain SOA");
}

#[test]
fn no_bytes_make_it_panic() {
    let zone = crowd(40);
    let seeds: Vec<Vec<u8>> =
        [("crowd", RecordType::A), ("_http._tcp.crowd", RecordType::SRV), ("", RecordType::ANY)]
            .into_iter()
            .map(|(name, record_type)| bytes(&with_edns(query(name, record_type), 1232)))
            .collect();
    let mut random = crate::test_support::Random(0x5EED);
    let mut answered = 0;
    for round in 0..20_000 {
        let packet = random.packet(&seeds[round % seeds.len()]);
        let transport = if round % 2 == 0 { Transport::Udp } else { Transport::Tcp };
        answered += usize::from(exchange(&zone, &packet, transport).is_some());
    }
    assert!(answered > 5000, "{answered}");
}

#[test]
fn a_label_that_only_holds_the_zones_bytes_is_outside() {
    // One label `x\x08portolan`: its bytes end as the zone's name begins, but no label begins there.
    let name = Name::from_labels([&b"x\x08portolan"[..], b"internal"]).unwrap();
    let mut query = query("", RecordType::A);
    query.queries[0].set_name(name);
    assert_eq!(verdict(&small().ask_with(&query, Transport::Udp)), "Refused");
}

#[test]
fn the_target_of_srv_is_never_compressed() {
    let mut reply = Vec::new();
    answer(&small(), &bytes(&query("_5432._tcp.db", RecordType::SRV)), &asker(Transport::Udp), &mut reply)
        .unwrap();
    let target = b"\x02db\x08portolan\x08internal\0"; // in the question too, below its own labels
    assert_eq!(reply.windows(target.len()).filter(|window| window == target).count(), 2);
}

mod edns;
