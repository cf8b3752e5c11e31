//! Traefik's users change nothing: the same file and the same requests are answered the same, but for what is otherwise on
//! purpose, which `tests/traefik/differences.py` names with its reasons.

use std::process::Command;

use crate::harness::{Portolan, python};

#[test]
fn traefik_answers_the_same_but_for_what_is_meant() {
    let traefik = python().with_file_name("traefik");
    assert!(traefik.is_file(), "this test needs {}: run ./test, which gets it", traefik.display());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/traefik/run");
    let output = Command::new(python())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg("--portolan")
        .arg(Portolan::binary())
        .arg("--traefik")
        .arg(traefik)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let count =
        said.lines().last().and_then(|line| line.split(' ').next()).and_then(|count| count.parse().ok());
    assert!(count.is_some_and(|count: usize| count >= 600), "{said}");
}
