//! What the README shows is true: its commands run, in order, and their output has the shape that is shown.
//!
//! A ```` ```sh ```` block is run as it stands. In a ```` ```console ```` block each `$ command` is run, and what stands
//! below it is compared with what it writes: numbers and column widths may differ, `…` stands for anything, and a line
//! that is nothing but `…` for any number of lines. A section of the README has a sandbox of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use portolan_config::Labels;

use crate::harness::{
    ADMIN, Container, ENTRY_POINT, Engine, NGINX, PATIENCE, Portolan, Process, Sandbox, dns, eventually,
    http, require,
};

const README: &str = include_str!("../README.md");

/// The sections with commands, and whether an engine runs there. One that is not listed here fails a test.
const SECTIONS: [(&str, bool); 4] = [
    ("Two commands", false),
    ("A tour without Docker", false),
    ("A tour with Docker", true),
    ("Who takes a request", false),
];

/// What is not run as it stands, and why. Everything else is.
const STAND_INS: [(&str, StandIn); 5] = [
    // It builds first; the binary that it then starts was built for this test.
    ("./run", StandIn::Serve(&["run", "--source", "auto"])),
    // This test is part of it.
    ("./test", StandIn::Nothing),
    // The directory of the binary under test is in the path already.
    ("PATH=\"$PWD/target/release:$PATH\"", StandIn::Nothing),
    // They run until they are stopped, in the reader's other terminal.
    ("portolan demo", StandIn::Serve(&["demo"])),
    ("portolan run", StandIn::Serve(&["run"])),
];

#[derive(Clone, Copy)]
enum StandIn {
    Nothing,
    Serve(&'static [&'static str]),
}

#[test]
fn every_command_is_in_a_section_that_is_run() {
    let known: BTreeSet<&str> = SECTIONS.iter().map(|(section, _)| *section).collect();
    let found: BTreeSet<&str> =
        blocks(README).iter().filter(|block| block.is_run()).map(|block| block.section).collect();
    assert_eq!(found, known, "sections of the README with sh or console blocks, and those that are run here");
    for (command, _) in STAND_INS {
        assert!(
            blocks(README).iter().any(|block| block.text.trim() == command),
            "`{command}` is in the README"
        );
    }
}

#[test]
fn the_two_commands_do_what_they_say() {
    assert_eq!(walk(SECTIONS[0]), 3);
}

#[test]
fn the_tour_without_docker_is_as_it_is_told() {
    assert_eq!(walk(SECTIONS[1]), 9);
}

#[test]
fn the_tour_with_docker_is_as_it_is_told() {
    assert_eq!(walk(SECTIONS[2]), 13);
}

#[test]
fn who_takes_a_request_is_as_it_is_told() {
    assert_eq!(walk(SECTIONS[3]), 3);
}

/// Runs the commands of a section in a sandbox of its own; gives how many those were.
fn walk((section, with_engine): (&str, bool)) -> usize {
    let engine = with_engine.then(Engine::start);
    if let Some(engine) = &engine {
        // The name that readers have it by.
        engine.docker(&["tag", NGINX, "nginx"]);
    }
    let sandbox = Sandbox::enter();
    let mut serving = Vec::new();
    let mut count = 0;
    for block in blocks(README).into_iter().filter(|block| block.section == section && block.is_run()) {
        for step in block.steps() {
            count += 1;
            match STAND_INS.iter().find(|(command, _)| *command == step.command) {
                None => step.run(&sandbox),
                Some((_, StandIn::Nothing)) => {}
                Some((_, StandIn::Serve(arguments))) => serving.push(serve(&sandbox, arguments)),
            }
        }
    }
    count
}

/// Starts what serves until it is stopped, and waits until it is ready.
fn serve(sandbox: &Arc<Sandbox>, arguments: &[&str]) -> Process {
    let mut command = sandbox.command(Portolan::binary());
    clear_environment(&mut command);
    let mut process = sandbox.spawn("portolan", {
        command.args(arguments);
        command
    });
    eventually(PATIENCE, "portolan to be ready", || {
        match (process.exited(), http::get(ADMIN, "admin", "/readyz")) {
            (Some(status), _) => panic!("portolan ended with {status}: {}", process.log()),
            (None, Ok(ready)) if ready.status == 200 => Ok(()),
            (None, Ok(not_yet)) => Err(not_yet.text()),
            (None, Err(error)) => Err(error.to_string()),
        }
    });
    process
}

/// The settings of whoever runs the tests are not the reader's.
fn clear_environment(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if ["PORTOLAN_", "TRAEFIK_", "DOCKER_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    command.env("DOCKER_CONFIG", "/run/engine");
}

/// A fenced block.
struct Block<'a> {
    /// The heading above it.
    section: &'a str,
    language: &'a str,
    text: &'a str,
}

/// A command, and the lines it is shown to write, if any are shown.
struct Step<'a> {
    command: &'a str,
    shown: Option<Vec<&'a str>>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("```"), open) {
            (Some(_), Some((language, start))) => {
                found.push(Block { section, language, text: &text[start..at] });
                open = None;
            }
            (Some(language), None) => open = Some((language.trim(), at + line.len())),
            (None, None) => section = line.strip_prefix("## ").map_or(section, str::trim),
            (None, Some(_)) => {}
        }
        at += line.len();
    }
    assert!(open.is_none(), "a block of {section} is not closed");
    found
}

impl<'a> Block<'a> {
    fn is_run(&self) -> bool {
        matches!(self.language, "sh" | "console")
    }

    fn steps(&self) -> Vec<Step<'a>> {
        if self.language == "sh" {
            return vec![Step { command: self.text.trim(), shown: None }];
        }
        let mut steps: Vec<Step<'a>> = Vec::new();
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command, shown: Some(Vec::new()) });
            } else {
                let step = steps.last_mut().expect("a console block begins with `$ `");
                step.shown.get_or_insert_default().push(line);
            }
        }
        steps
    }
}

impl Step<'_> {
    /// Runs the command. One that only looks is run again until it shows what is shown: a reader is slower than this.
    fn run(&self, sandbox: &Sandbox) {
        let only_looks = ["curl -s", "dig ", "portolan "].iter().any(|start| self.command.starts_with(start))
            && !self.command.contains("POST");
        let attempt = || {
            let written = self.written(sandbox)?;
            let shown = self.shown.as_ref().map_or(Ok(()), |shown| compare(shown, &written));
            shown.map_err(|why| format!("{why}\nthe whole output:\n{written}"))
        };
        if only_looks {
            eventually(PATIENCE, &format!("`{}`", self.command), attempt);
        } else if let Err(error) = attempt() {
            panic!("`{}`: {error}", self.command);
        }
    }

    /// What it writes, if it succeeds.
    fn written(&self, sandbox: &Sandbox) -> Result<String, String> {
        let binaries = Portolan::binary().parent().expect("a program is in a directory").to_path_buf();
        let tools = ["bash", "docker", "curl", "dig", "seq"]
            .map(|tool| require(tool).parent().expect("a program is in a directory").to_path_buf());
        let path = std::env::join_paths([binaries].iter().chain(&tools)).expect("no path has a colon");
        let mut bash = sandbox.command(require("bash"));
        clear_environment(&mut bash);
        let output = bash
            .args(["-euo", "pipefail", "-c", self.command])
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("{}: {errors}", output.status))
        }
    }
}

/// Whether the lines written have the shape of those shown.
fn compare(shown: &[&str], written: &str) -> Result<(), String> {
    let mut written = written.lines().map(shape).peekable();
    let mut any = false;
    for line in shown {
        if line.trim() == "…" {
            any = true;
            continue;
        }
        let wanted = shape(line);
        if any {
            while written.next_if(|line| !fits(&wanted, line)).is_some() {}
            any = false;
        }
        match written.next() {
            Some(line) if fits(&wanted, &line) => {}
            Some(line) => return Err(format!("shown is `{wanted}`, written is `{line}`")),
            None => return Err(format!("shown is `{wanted}`, nothing is written")),
        }
    }
    match written.next() {
        Some(line) if !any => Err(format!("`{line}` is written, and not shown")),
        _ => Ok(()),
    }
}

/// A line without what differs from run to run: numbers (and the unit of an age) become `#`, space is one space.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.split_whitespace() {
        let mut digits = false;
        shape.push_str(if shape.is_empty() { "" } else { " " });
        for letter in word.chars() {
            if !letter.is_ascii_digit() {
                shape.push(letter);
            } else if !digits {
                shape.push('#');
            }
            digits = letter.is_ascii_digit();
        }
    }
    shape
}

/// Whether a line fits one in which `…` stands for anything.
fn fits(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn shapes_are_compared_and_not_numbers() {
    let shown = ["SERVICE  FOR", "web      5s", "…", "port 8080/tcp -> …"];
    assert_eq!(compare(&shown, "SERVICE      FOR\nweb     12s\nx\ny\nport 9/tcp -> a port 1\n"), Ok(()));
    for different in ["SERVICE FOR\nweb 5m\nport 8080/tcp -> \n", "SERVICE FOR\n", "SERVICE FOR\nweb 5s\nx\n"]
    {
        assert!(compare(&shown, different).is_err(), "{different}");
    }
    assert!(compare(&["a"], "a\nb\n").is_err(), "what is written and not shown");
    assert!(compare(&["a…c"], "abc\n").is_ok());
    assert!(compare(&["a…c"], "abd\n").is_err());
}

/// The labels in backticks in the first column of the tables below a line that begins with `after`.
fn labels_in_table(after: &str) -> Vec<String> {
    let mut lines = README.lines().skip_while(|line| !line.starts_with(after));
    let table =
        lines.by_ref().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table
        .filter_map(|row| row.replace("\\|", "/").split('|').nth(1).map(str::to_owned))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The faults of one label as the README writes it.
fn faults(label: &str) -> Vec<String> {
    let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("`{label}` has no value"));
    // Backticks can't stand within backticks; a value that the label's twin has is not written twice.
    let value = match (name.rsplit('.').next(), value) {
        (Some("rule"), _) => "Host(`a.example`)",
        (Some("priority" | "port"), "…") => "80",
        (_, value) => value,
    };
    let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Labels::decode(&labels).faults.into_iter().map(|fault| fault.message).collect()
}

#[test]
fn every_label_of_the_table_is_understood() {
    let labels = labels_in_table("Both prefixes mean the same");
    assert!(labels.len() >= 20, "{labels:?}");
    for label in labels {
        assert_eq!(faults(&label), Vec::<String>::new(), "{label}");
    }
}

#[test]
fn what_the_tables_say_of_traefiks_options_is_what_the_code_has() {
    use portolan_config::not_yet::{NEVER, NOT_YET, PASSED_OVER};

    let not_yet: Vec<&str> = NOT_YET.iter().map(|entry| entry.option).collect();
    assert_eq!(labels_in_table("These options are read and not applied yet"), not_yet);
    for (after, list) in
        [("These will not be applied", NEVER), ("These may be written, and change nothing", PASSED_OVER)]
    {
        let known: Vec<&str> = list.iter().map(|(option, _)| *option).collect();
        assert_eq!(labels_in_table(after), known, "{after}");
    }
}

/// Compose itself is not needed for it: what it gives its containers are labels.
#[test]
fn the_compose_file_is_served() {
    let blocks = blocks(README);
    let file = blocks.iter().find(|block| block.language == "yaml").expect("the README has a Compose file");
    let service = file.text.lines().nth(1).expect("a service").trim().trim_end_matches(':');
    let labels: Vec<(&str, &str)> = file
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .map(|label| label.split_once('=').expect("a label has a value"))
        .collect();
    assert_eq!((service, labels.len()), ("web", 4));
    let engine = Engine::start();
    for number in 1..=3 {
        let mut container = Container::new(&format!("shop-{service}-{number}"))
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", service);
        for (label, value) in &labels {
            container = container.label(label, value);
        }
        engine.run(&container);
    }
    let portolan = Portolan::start(&engine, &[]);
    assert_eq!(portolan.snapshot()["faults"], serde_json::json!([]));
    for (address, host) in [("127.0.0.1:8080", "any"), (ENTRY_POINT, "shop.example")] {
        eventually(PATIENCE, &format!("{host} on {address}"), || match http::get(address, host, "/") {
            Ok(response) if response.text().starts_with("shop-web-") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let answer = dns::query(crate::harness::NAME_SERVER, "web.portolan.internal.", dns::RecordType::A)
        .expect("an answer");
    assert_eq!(dns::answers(&answer).len(), 3);
}

#[test]
fn every_metric_that_is_exposed_is_in_the_table() {
    let sandbox = Sandbox::enter();
    let _portolan = serve(&sandbox, &["demo"]);
    for (address, host) in
        [("127.0.0.1:8080", "any"), (ENTRY_POINT, "whoami.localhost"), (ENTRY_POINT, "none")]
    {
        http::get(address, host, "/").expect("an answer");
    }
    let metrics = http::get(ADMIN, "admin", "/metrics").expect("metrics").text();
    let names: Vec<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE portolan_")?.split(' ').next()).collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        assert!(
            README.contains(&format!("| `portolan_{name}` |")),
            "portolan_{name} is in the README's table"
        );
    }
}

#[test]
fn every_file_that_the_readme_links_to_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let links: Vec<&str> = README.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        assert!(link.starts_with("http") || root.join(link).exists(), "{link}");
    }
}
