//! Traefik's dynamic configuration from files: followed as it changes, beside what runs, and never half.

use crate::harness::{ENTRY_POINT, PATIENCE, Portolan, Sandbox, await_http, eventually, http};

const ROUTES: &str = "
http:
  routers:
    pages:
      rule: Host(`pages.test`) && Method(`GET`) && !HeaderRegexp(`User-Agent`, `bot`)
      service: whoami@demo
    old:
      rule: HostRegexp(`^old[0-9]+\\.test$`) && Query(`go`, `a b`)
      service: whoami@demo
    lost:
      rule: Host(`lost.test`)
      service: whoami
";

fn status(host: &str, path: &str) -> u16 {
    http::get(ENTRY_POINT, host, path).expect("an answer").status
}

fn faults(portolan: &Portolan) -> Vec<String> {
    let snapshot = portolan.snapshot();
    let faults = snapshot["faults"].as_array().expect("a list").iter();
    faults.map(|fault| format!("{}: {}", fault["origin"], fault["message"])).collect()
}

#[test]
fn routers_of_a_file_lead_to_what_runs_and_follow_the_file() {
    let sandbox = Sandbox::enter();
    let directory = "/etc/dynamic";
    sandbox.write("/etc/dynamic/routes.yml", ROUTES);
    let portolan = Portolan::start(None, &["--source", "demo", "--file", directory]);
    await_http("pages.test", 200);
    assert_eq!(status("old7.test", "/?go=a+b"), 200);
    assert_eq!(status("old7.test", "/"), 404);
    assert_eq!(status("lost.test", "/"), 404);
    let told = faults(&portolan);
    assert!(
        told.iter()
            .any(|fault| fault.contains("routes.yml:10") && fault.contains("did you mean `whoami@demo`?")),
        "{told:#?}"
    );
    sandbox.write(
        "/etc/dynamic/more.toml",
        "[http.routers.more]\nrule = \"Host(`more.test`)\"\nservice = \"whoami@demo\"\n",
    );
    await_http("more.test", 200);
    // Broken, it keeps its word and is told; mended, it counts again.
    sandbox.write("/etc/dynamic/routes.yml", "http: [");
    eventually(PATIENCE, "the broken file to be told", || {
        let told = faults(&portolan);
        let broken =
            told.iter().any(|fault| fault.contains("routes.yml:1") && fault.contains("can't be read"));
        if broken { Ok(()) } else { Err(format!("{told:#?}")) }
    });
    assert_eq!(status("pages.test", "/"), 200);
    sandbox.write("/etc/dynamic/routes.yml", &ROUTES.replace("pages.test", "mended.test"));
    await_http("mended.test", 200);
    assert_eq!(status("pages.test", "/"), 404);
}

#[test]
fn servers_of_a_file_are_reached_by_url() {
    let sandbox = Sandbox::enter();
    let text = "
http:
  routers:
    admin: {rule: Host(`admin.test`), service: admin}
    down: {rule: Host(`down.test`), service: down}
  services:
    admin: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9080'}]}}
    down: {loadBalancer: {servers: [{url: 'http://nobody.invalid'}]}}
";
    sandbox.write("/etc/dynamic.yml", text);
    let _portolan = Portolan::start(None, &["--source", "demo", "--file", "/etc/dynamic.yml"]);
    await_http("admin.test", 200);
    let answer = http::get(ENTRY_POINT, "admin.test", "/ping").expect("an answer");
    assert_eq!((answer.status, answer.text().trim_end().to_owned()), (200, "OK".to_owned()));
    // What has no address is there, and says why it can't serve.
    let answer = await_http("down.test", 503);
    assert!(answer.text().contains("1 endpoint"), "{}", answer.text());
}

#[test]
fn check_reads_files_without_an_engine() {
    let sandbox = Sandbox::enter();
    sandbox.write("/etc/dynamic.yml", &ROUTES.replace("service: whoami@demo", "service: whoami@docker"));
    let mut command = sandbox.command(Portolan::binary());
    command.args(["check", "--providers.file.filename=/etc/dynamic.yml"]);
    let output = command.output().expect("portolan runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let faults: Vec<&str> = shown.lines().filter(|line| line.starts_with("fault: ")).collect();
    assert_eq!(faults.len(), 1, "{shown}");
    assert!(faults[0].contains("/etc/dynamic.yml:10: http.routers.lost.service"), "{shown}");
}
