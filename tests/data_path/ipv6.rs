//! Clients by IPv6 keep their addresses as those by IPv4 do.

use super::*;

const OUTSIDE_V6: &str = "fd09::2";

/// Two replicas of `web` with addresses of both kinds, and an outside that has both as well.
fn start_both(data_path: &str) -> Engine {
    let engine = Engine::start();
    engine.network6("six", "fd00:6::/64");
    for name in ["web-1", "web-2"] {
        let container = Container::new(name)
            .network("six")
            .label("portolan.service", "web")
            .label("portolan.publish", "8080:7, 5353:7/udp")
            .label("portolan.publish.datapath", data_path);
        engine.run(&container);
        echo(&engine, name);
    }
    let sandbox = engine.sandbox();
    add_outside(sandbox);
    sandbox.shell(
        "ip addr add fd09::1/64 dev to-outside nodad
         ip -n outside addr add fd09::2/64 dev eth0 nodad
         ip -n outside route add default via fd09::1
         echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
         iptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT
         ip6tables -P FORWARD ACCEPT
         ip6tables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
    );
    engine
}

#[test]
fn endpoints_see_the_own_address_of_clients_by_ipv6() {
    for path in ["transparent", "nftables"] {
        let engine = start_both(path);
        let sandbox = engine.sandbox();
        let mut portolan = Portolan::start(&engine, &[]);
        for name in ["web-1", "web-2"] {
            portolan.await_state(name, "ready");
        }
        await_path(&portolan, path);
        for (host, own) in [("[fd09::1]", OUTSIDE_V6), (HOST, OUTSIDE_IP)] {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for _ in 0..6 {
                let (mut stream, said) = sandbox
                    .in_network(OUTSIDE, || connect(&format!("{host}:8080")))
                    .unwrap_or_else(|error| panic!("{host} by {path}: {error}"));
                assert_eq!(say(&mut stream).expect("another answer"), said);
                *counts.entry(said).or_default() += 1;
            }
            let both = ["web-1", "web-2"].map(|name| (format!("{name} {own}"), 3));
            assert_eq!(counts, BTreeMap::from(both), "{host} by {path}");
            let any = if host == HOST { "0.0.0.0:0" } else { "[::]:0" };
            let client = sandbox.in_network(OUTSIDE, || UdpSocket::bind(any)).expect("a socket");
            client.connect(format!("{host}:5353")).expect("a destination");
            client.set_read_timeout(Some(PATIENCE)).expect("a deadline");
            let said = super::ask(&client).expect("an answer");
            assert!(said.ends_with(own), "{said} at {host} by {path}");
        }
        portolan.terminate();
        portolan.wait_exit(PATIENCE);
        let left = sandbox.shell("ip -6 rule; ip -6 route show table all; nft list tables");
        assert!(!left.contains("0x706f7274") && !left.contains("portolan"), "{left}");
    }
}
