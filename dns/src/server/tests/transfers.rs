//! Whole zones over real connections, and telling of changes.

use hickory_proto::op::{MessageType, OpCode};

use super::*;

fn settings_with(change: impl FnOnce(&mut dns::Options)) -> Dns {
    let mut settings = Dns { address: "127.0.0.1:0".parse().unwrap(), ..settings() };
    change(&mut settings.options);
    settings
}

fn run(settings: &Dns) -> Running {
    let registry = Registry::new();
    let zone = shared(settings);
    let server = Server::bind(settings, Arc::clone(&zone), Metrics::register(&registry).unwrap()).unwrap();
    let (stop, stopped) = oneshot::channel();
    let address = server.local_addr();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Running { address, zone, registry, stop, task }
}

#[tokio::test]
async fn a_zone_is_given_to_those_who_may_have_it() {
    for (network, allowed) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let running = run(&settings_with(|options| options.transfer_to = vec![network.parse().unwrap()]));
        let containers =
            (0..300_u16).map(|n| container(&format!("web-{n}"), &format!("10.0.{}.{}", n / 200, n % 200)));
        running.zone.store(Arc::new(zone(containers)));
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&framed(&query("", RecordType::AXFR))).await.unwrap();
        let mut records = Vec::new();
        while records.is_empty()
            || records.last().is_some_and(|record: &String| !record.contains(" SOA "))
            || records.len() == 1
        {
            let message = read_tcp(&mut stream).await;
            if !allowed {
                assert_eq!(message.metadata.response_code, ResponseCode::Refused);
                break;
            }
            records.extend(message.answers.iter().map(ToString::to_string));
        }
        let names = records.iter().filter(|record| record.starts_with("web-") && record.contains(" A 10.0."));
        assert_eq!(names.count(), if allowed { 300 } else { 0 });
        // The connection goes on.
        stream.write_all(&framed(&numbered(5, "web-1"))).await.unwrap();
        assert_eq!(read_tcp(&mut stream).await.answers.len(), 1);
        let given = count(&running.registry, "portolan_dns_transfers_total", &["axfr"]);
        assert_eq!(given, if allowed { "1" } else { "0" });
        // A datagram says whether there is anything new, to those who may know.
        let socket = client(running.address).await;
        let reply = ask_udp(&socket, &query("", RecordType::IXFR)).await;
        assert_eq!(reply.answers.len(), usize::from(allowed), "{reply}");
        let reply = ask_udp(&socket, &query("", RecordType::AXFR)).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
        running.task.abort();
    }
}

#[tokio::test]
async fn secondaries_are_told_of_a_change_until_they_say_they_know() {
    let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = secondary.local_addr().unwrap();
    let running = run(&settings_with(|options| options.notify = vec![address]));
    let mut bytes = [0; 512];
    let mut told = async || {
        let (length, from) = within(secondary.recv_from(&mut bytes)).await.unwrap();
        (Message::from_vec(&bytes[..length]).unwrap(), from)
    };
    running.zone.store(Arc::new(zone([container("web", "10.0.0.1")])));
    let (first, _) = told().await;
    assert_eq!((first.metadata.op_code, first.queries[0].query_type()), (OpCode::Notify, RecordType::SOA));
    assert_eq!(first.queries[0].name().to_ascii(), "portolan.internal.");
    // Nobody answered: it is told again.
    let (mut again, from) = told().await;
    again.metadata.message_type = MessageType::Response;
    secondary.send_to(&again.to_vec().unwrap(), from).await.unwrap();
    let silence = timeout(Duration::from_millis(2500), told()).await;
    assert!(silence.is_err(), "it knows");
    running.task.abort();
}
