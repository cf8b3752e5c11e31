//! Podman's API, which speaks as Docker's does but for its events: the same containers, the same promises.

use crate::harness::{Container, PATIENCE, Podman, Portolan, await_http, eventually, http};

const PUBLISHED: &str = "127.0.0.1:8080";

fn replica(name: &str) -> Container {
    Container::new(name).label("portolan.service", "web").label("portolan.publish", "8080:80")
}

#[test]
fn containers_of_podman_are_followed_through_their_lives() {
    let podman = Podman::start();
    podman.docker(&["network", "create", "front"]);
    podman.run(replica("web-1"));
    let portolan = Portolan::start(None, &[]);
    assert!(portolan.logs().contains("podman engine"), "{}", portolan.logs());
    portolan.await_state("web-1", "ready");
    await_http("web", 200);
    eventually(PATIENCE, "the published port", || http::get(PUBLISHED, "any", "/"));
    // What begins while Portolan follows.
    podman.run(replica("web-2").network("front"));
    portolan.await_state("web-2", "ready");
    podman.docker(&["pause", "web-2"]);
    portolan.await_state("web-2", "paused");
    podman.docker(&["unpause", "web-2"]);
    portolan.await_state("web-2", "ready");
    podman.docker(&["stop", "web-1"]);
    assert!(portolan.await_state("web-1", "stopped").reason.starts_with("exited"));
    podman.docker(&["start", "web-1"]);
    portolan.await_state("web-1", "ready");
    podman.docker(&["rename", "web-1", "first"]);
    portolan.await_state("first", "ready");
    podman.docker(&["rm", "--force", "first"]);
    portolan.await_gone("first");
    await_http("web", 200);
}
