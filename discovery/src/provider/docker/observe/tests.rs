//! Models as engines sent them, cut down to what is read.

use serde_json::{Value, json};

use super::*;

const ID: &str = "988540f46bce1111222233334444555566667777888899990000aaaabbbbcccc";

fn inspection(change: impl FnOnce(&mut Value)) -> Observed {
    let mut model = json!({
        "Id": ID,
        "Name": "/web-1",
        "Created": "2026-08-23T10:00:00.5Z",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "ExitCode": 0,
            "StartedAt": "2026-08-23T10:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "Config": {
            "Labels": {"com.docker.compose.service": "web"},
            "ExposedPorts": {"8080/tcp": {}, "53/udp": {}, "80/tcp": {}, "5000/sctp": {}},
            "StopSignal": "SIGQUIT"
        },
        "HostConfig": {"NetworkMode": "shop_default"},
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null},
            "Networks": {
                "shop_default": {
                    "NetworkID": "n1", "EndpointID": "e1", "IPAddress": "172.19.0.5", "GlobalIPv6Address": "",
                    "Aliases": ["web", "web-1", "988540f46bce", "web"]
                }
            }
        }
    });
    change(&mut model);
    inspected(serde_json::from_value(model).unwrap(), &Networks::from([("internal".to_owned(), true)]))
        .unwrap()
}

fn networks(observed: &Observed) -> Vec<&str> {
    match &observed.reach {
        Reach::Own(attachments) => attachments.iter().map(|a| a.network.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_inspection_is_read_whole() {
    let observed = inspection(|_| {});
    assert_eq!(observed.id, InstanceId::new(ID));
    assert_eq!(observed.name, "web-1");
    assert_eq!(observed.stop_signal, 3);
    assert_eq!((observed.run, observed.health), (Run::Running, Health::Unchecked));
    assert_eq!(observed.started, time::rfc3339("2026-08-23T10:00:01Z"));
    assert_eq!(observed.finished, None);
    let ports: Vec<_> = observed.ports.iter().map(|port| (port.number, port.protocol)).collect();
    let tcp = Protocol::Tcp;
    assert_eq!(ports, [(53, Protocol::Udp), (80, tcp), (443, tcp), (8080, tcp)]);
    let Reach::Own(attachments) = observed.reach else { panic!("own networks") };
    assert_eq!(attachments.len(), 1);
    assert_eq!(attachments[0].aliases, ["web"]);
    assert_eq!(attachments[0].ipv4, Some("172.19.0.5".parse().unwrap()));
    assert_eq!(attachments[0].ipv6, None);
}

#[test]
fn states_are_told_by_what_really_holds() {
    let cases = [
        (json!({"Status": "running", "Running": true, "Paused": true}), Run::Paused),
        (json!({"Status": "paused", "Running": true, "Paused": true}), Run::Paused),
        (
            json!({"Status": "restarting", "Running": true, "Restarting": true, "ExitCode": 1}),
            Run::Stopped("restarting after exit (1)".into()),
        ),
        (json!({"Status": "created"}), Run::Stopped("created".into())),
        (json!({"Status": "exited", "ExitCode": 137}), Run::Stopped("exited (137)".into())),
        (json!({"Status": "dead"}), Run::Stopped("dead".into())),
        (json!({"Status": "removing"}), Run::Stopped("removing".into())),
        (json!({"Status": "stopping", "Running": true}), Run::Stopping),
        (json!({"Running": true}), Run::Running),
    ];
    for (state, expected) in cases {
        assert_eq!(inspection(|model| model["State"] = state.clone()).run, expected, "{state}");
    }
}

#[test]
fn unhealthy_without_a_failed_probe_is_a_stopped_monitor_s_lie() {
    let cases = [
        (json!({"Status": "healthy", "FailingStreak": 0}), Health::Healthy),
        (json!({"Status": "starting", "FailingStreak": 1}), Health::Starting),
        (json!({"Status": "unhealthy", "FailingStreak": 3}), Health::Unhealthy),
        (json!({"Status": "unhealthy", "FailingStreak": 0, "Log": [{"ExitCode": 0}]}), Health::Healthy),
        (json!({"Status": "unhealthy", "FailingStreak": 0, "Log": []}), Health::Starting),
        (json!({"Status": "unhealthy"}), Health::Unhealthy),
        (json!({"Status": "none"}), Health::Unchecked),
        (json!(null), Health::Unchecked),
    ];
    for (health, expected) in cases {
        let observed = inspection(|model| model["State"]["Health"] = health.clone());
        assert_eq!(observed.health, expected, "{health}");
    }
}

#[test]
fn networks_are_in_the_order_of_preference() {
    let observed = inspection(|model| {
        model["NetworkSettings"]["Networks"] = json!({
            "a-internal": {"NetworkID": "internal", "EndpointID": "e", "IPAddress": "10.0.1.2", "GwPriority": 9},
            "back": {"NetworkID": "n2", "EndpointID": "e", "IPAddress": "10.0.2.2"},
            "all": {"NetworkID": "n3", "EndpointID": "e", "IPAddress": "10.0.3.2"},
            "wanted": {"NetworkID": "n4", "EndpointID": "e", "IPAddress": "10.0.4.2", "GwPriority": 1},
            "unwanted": {"NetworkID": "n5", "EndpointID": "e", "IPAddress": "10.0.5.2", "GwPriority": -1},
            "v6": {"NetworkID": "n6", "EndpointID": "e", "IPAddress": "", "GlobalIPv6Address": "fd00::2"},
            "ingress": {"NetworkID": "n7", "EndpointID": "e", "IPAddress": "10.0.7.2"},
            "none": {"NetworkID": "n8", "EndpointID": "e", "IPAddress": ""},
        });
    });
    assert_eq!(networks(&observed), ["wanted", "all", "back", "v6", "unwanted", "a-internal"]);
}

#[test]
fn newer_engines_names_replace_aliases() {
    let observed = inspection(|model| {
        model["NetworkSettings"]["Networks"]["shop_default"]["DNSNames"] =
            json!(["web-1", "web", "api", "988540f46bce", "own-hostname"]);
    });
    let Reach::Own(attachments) = observed.reach else { panic!("own networks") };
    assert_eq!(attachments[0].aliases, ["web", "api", "own-hostname"]);
}

#[test]
fn borrowed_networks_are_seen_as_such() {
    for (mode, expected) in [("host", Reach::Host), ("container:abc", Reach::Of("abc".into()))] {
        assert_eq!(inspection(|model| model["HostConfig"]["NetworkMode"] = json!(mode)).reach, expected);
    }
}

#[test]
fn a_list_alone_gives_what_it_has() {
    let model = json!({
        "Id": ID, "Names": ["/other/alias", "/web-1"], "Created": 1_787_479_872, "State": "running",
        "Status": "Up 3 minutes (health: starting)", "Labels": {"a": "b"},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "front"},
        "NetworkSettings": {"Networks": {"front": {"NetworkID": "n", "EndpointID": "e", "IPAddress": "10.0.0.2"}}}
    });
    let observed = listed(serde_json::from_value(model).unwrap(), &Networks::new()).unwrap();
    assert_eq!(observed.name, "web-1");
    assert_eq!((&observed.run, observed.health), (&Run::Running, Health::Starting));
    assert_eq!(observed.ports, [Port { number: 80, protocol: Protocol::Tcp }]);
    assert_eq!(networks(&observed), ["front"]);
}

#[test]
fn podman_s_gaps_are_no_errors() {
    let model = json!({
        "Id": ID, "Names": ["/web"], "Created": 1_787_479_872, "State": "exited", "Status": "",
        "HostConfig": null, "NetworkSettings": {"Networks": null}, "Ports": []
    });
    let observed = listed(serde_json::from_value(model).unwrap(), &Networks::new()).unwrap();
    assert_eq!(observed.run, Run::Stopped("exited".into()));
    assert_eq!(observed.reach, Reach::Own(vec![]));
}
