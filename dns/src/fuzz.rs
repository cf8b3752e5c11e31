//! What fuzz targets are given of the name server: pure functions of bytes. Nothing else may use it.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use portolan_config::settings::Dns;
use portolan_config::settings::dns::Options;
use portolan_discovery::{ProviderName, Snapshot, SourceStatus};

use crate::forward::{Reply, question_of};
use crate::{Asker, Compiler, Fixed, Transport, Zone, answer};

/// Names of many kinds.
const RECORDS: &str = "web 60 IN A 192.0.2.1\nweb 60 IN A 192.0.2.2\nweb IN AAAA 2001:db8::1\n_http._tcp.web IN SRV 0 1 80 web\n\
    *.apps IN A 192.0.2.3\nalias IN CNAME web\nround IN CNAME about\nabout IN CNAME round\nout IN CNAME www.example.\n\
    deep.er.name IN TXT \"a\" \"b\"\n@ IN MX 10 web\n1.2.0.192.in-addr.arpa. IN PTR web\n";

/// A zone that has them.
static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let settings = Dns {
        address: "127.0.0.1:53".parse().expect("an address"),
        zone: "portolan.internal".to_owned(),
        ttl: Duration::from_secs(2),
        options: Options::default(),
    };
    let source = SourceStatus {
        provider: ProviderName::new("fuzz"),
        last_sync: Some(SystemTime::UNIX_EPOCH),
        lost: None,
        kept: None,
    };
    let snapshot = Snapshot { generation: 1, sources: vec![source], ..Snapshot::default() };
    let fixed = Fixed::parse(RECORDS, None, &settings).expect("the records can be read");
    Compiler::with_records(&settings, &fixed).compile(&snapshot).0
});

/// What is answered to a query by UDP or TCP; empty where silence is the answer.
pub fn answered(query: &[u8], by_udp: bool) -> Vec<u8> {
    let mut reply = Vec::new();
    let asker = Asker {
        transport: if by_udp { Transport::Udp } else { Transport::Tcp },
        client: Ipv4Addr::LOCALHOST.into(),
        cookies: None,
        now: 0,
        recursion: true,
        near: true,
        views: true,
        may_transfer: true,
    };
    answer(&ZONE, query, &asker, &mut reply);
    reply
}

/// What is made of another server's message: for `None` it is no answer to `query`; else the bytes that are given on, and
/// how many there are of whole records.
pub fn said(message: &[u8], query: &[u8]) -> Option<(Vec<u8>, usize)> {
    let reply = Reply::read(message, query).ok()?;
    let mut out = Vec::new();
    reply.append(&mut out, 7, None);
    let (name, kind) = question_of(query)?;
    let answers = reply.answers(name, kind, 7, Some(30));
    assert!(answers.len() <= usize::from(reply.counts[0]), "more is given on than came");
    Some((out, reply.records.len()))
}
