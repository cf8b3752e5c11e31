//! What a Portolan that was killed has left in the kernel.

use super::*;

const LOOK: &str = "nft list tables; ip rule; ip -6 rule; ip route show table all";

/// Whether anything of Portolan's is there.
fn is_there(sandbox: &Sandbox) -> bool {
    let shown = sandbox.shell(LOOK);
    shown.contains("portolan") || shown.contains("0x706f7274")
}

#[test]
fn what_a_killed_portolan_left_goes_at_the_next_start_and_what_somebody_has_stays() {
    let engine = Engine::start();
    for (name, port, path) in [("web", 8080, "nftables"), ("own", 8081, "transparent")] {
        let container = Container::new(name)
            .label("portolan.publish", &format!("{port}:7"))
            .label("portolan.publish.datapath", path);
        engine.run(&container);
        echo(&engine, name);
    }
    let sandbox = engine.sandbox();
    add_outside(sandbox);
    sandbox.shell("iptables -I DOCKER-USER -m conntrack --ctstate DNAT -j ACCEPT");
    let mut portolan = Portolan::start(&engine, &[]);
    let by_kernel = |port: u16| {
        eventually(LOOKED, "the client to be seen", || {
            match sandbox.in_network(OUTSIDE, || connect(&format!("{HOST}:{port}"))) {
                Ok((_, said)) if said.ends_with(OUTSIDE_IP) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    };
    by_kernel(8080);
    by_kernel(8081);

    // Another one, which needs nothing of the kind, leaves it alone.
    let idle = ["--source", "demo", "--dns-address", "off", "--entry-point", "web=127.0.0.1:8500"];
    let mut other = Portolan::spawn(None, &[&idle[..], &["--admin-address", "127.0.0.1:9500"]].concat())
        .admin_at("127.0.0.1:9500");
    other.await_ready();
    other.terminate();
    other.wait_exit(PATIENCE);
    assert!(!other.logs().contains("left behind"), "{}", other.logs());
    by_kernel(8080);
    by_kernel(8081);
    assert!(portolan.metric("portolan_datapath_repairs_total") < 0.5);

    portolan.signal(Signal::KILL);
    portolan.wait_exit(PATIENCE);
    assert!(is_there(sandbox), "it had no time to remove anything");
    // Until then the kernel goes on as it was told.
    by_kernel(8080);

    let mut next = Portolan::start(None, &idle);
    eventually(PATIENCE, "all of it to be gone", || {
        if is_there(sandbox) { Err(sandbox.shell(LOOK)) } else { Ok(()) }
    });
    next.terminate();
    next.wait_exit(PATIENCE);

    // One that needs it again begins anew.
    let mut last = Portolan::start(&engine, &[]);
    by_kernel(8080);
    by_kernel(8081);
    last.terminate();
    last.wait_exit(PATIENCE);
    assert!(!is_there(sandbox), "{}", sandbox.shell(LOOK));
}
