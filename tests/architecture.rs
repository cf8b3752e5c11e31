//! The rules of the tree, each a test: which crate may know which, what no file may hold, what documents must not get
//! wrong. It reads files, and starts nothing but `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portolan_config::settings::known;
use serde_json::Value;

mod limits;

/// This file names what it forbids.
const THIS_FILE: &str = "tests/architecture.rs";

/// Lines a file may have.
const LINES_MAX: usize = 600;
/// Files that may have more, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// Files that may hold unsafe code, each with its reason.
const UNSAFE_FILES: [(&str, &str); 2] = [
    ("proxy/src/sockmap/bpf.rs", "bpf(2) and tcp_info take pointers, and no crate has these few calls alone"),
    ("proxy/src/worker/memory.rs", "malloc_trim(3) has no safe way in"),
];

/// Files of `tests/` that may sleep, each with its reason. Everything else waits for a condition.
const SLEEPING_TESTS: [(&str, &str); 3] = [
    ("tests/harness/wait.rs", "the poll loop that everything else waits with"),
    ("tests/harness/cgroups.rs", "the kernel says nothing when a control group is empty"),
    ("tests/harness/sandbox.rs", "the keeper's end is polled for, as waiting has no deadline"),
];

/// What each crate may know of the others.
const MAY_KNOW: [(&str, &[&str]); 5] = [
    ("portolan-config", &[]),
    ("portolan-discovery", &["portolan-config"]),
    ("portolan-proxy", &["portolan-config", "portolan-discovery"]),
    ("portolan-dns", &["portolan-config", "portolan-discovery"]),
    ("portolan", &["portolan-config", "portolan-discovery", "portolan-dns", "portolan-proxy"]),
];

/// Crates that only some parts may use: who may, and why nobody else.
const CONFINED: [(&str, &[&str], &str); 4] = [
    ("bollard", &["discovery/src/provider/docker"], "nothing else knows that Docker exists"),
    ("hickory", &["dns/", "tests/"], "nothing else reads DNS messages"),
    (
        "rustls",
        &[
            "proxy/src/tls",
            "proxy/src/stream.rs",
            "proxy/tests/",
            "tests/",
            "dns/src/server/tls.rs",
            "dns/src/server/tests",
            "dns/src/forward/secure.rs",
        ],
        "nothing else knows how TLS is made",
    ),
    ("httparse", &["proxy/src/http/"], "nothing else reads HTTP of clients and endpoints"),
];

/// Modules that are given all they need: no socket, no file, no clock.
const PURE: [&str; 15] = [
    "config/src/",
    "discovery/src/chart.rs",
    "discovery/src/chart/",
    "discovery/src/provider/docker/view.rs",
    "discovery/src/provider/docker/container.rs",
    "discovery/src/provider/docker/events.rs",
    "discovery/src/provider/docker/swarm/view.rs",
    "discovery/src/provider/docker/swarm/world.rs",
    "discovery/src/provider/docker/swarm/task.rs",
    "discovery/src/provider/docker/swarm/service.rs",
    "dns/src/answer.rs",
    "dns/src/zone/",
    "proxy/src/http/head.rs",
    "proxy/src/http/body.rs",
    "proxy/src/table/",
];

#[test]
fn crates_know_only_those_below_them() {
    let packages = packages();
    let may_know = BTreeMap::from(MAY_KNOW);
    assert_eq!(
        packages.keys().map(String::as_str).collect::<Vec<_>>(),
        may_know.keys().copied().collect::<Vec<_>>()
    );
    for (package, dependencies) in &packages {
        for other in dependencies.iter().filter(|name| name.starts_with("portolan")) {
            assert!(
                may_know[package.as_str()].contains(&other.as_str()),
                "{package} depends on {other}: the rule is config <- discovery <- {{ proxy, dns }} <- portolan"
            );
        }
    }
}

#[test]
fn config_has_neither_runtime_nor_sockets() {
    for forbidden in ["tokio", "hyper", "socket2", "rustix", "libc", "bollard", "prometheus"] {
        assert!(
            !packages()["portolan-config"].contains(forbidden),
            "config depends on {forbidden}: labels mean the same wherever they are read, so nothing in it does I/O"
        );
    }
}

#[test]
fn some_crates_are_known_to_one_place_only() {
    for (name, places, why) in CONFINED {
        let mut seen = 0;
        for file in rust_files().iter().filter(|file| file.path != THIS_FILE) {
            if !file
                .code()
                .any(|(_, line)| line.contains(&format!("{name}::")) || line.contains(&format!("{name}_")))
            {
                continue;
            }
            seen += 1;
            assert!(
                places.iter().any(|place| file.path.starts_with(place)),
                "{} uses {name}, which only {places:?} may: {why}",
                file.path
            );
        }
        assert!(seen > 0, "nobody uses {name}: take it off the list");
    }
}

#[test]
fn pure_modules_are_given_what_they_need() {
    let forbidden = [
        "Instant::now(",
        "SystemTime::now(",
        "tokio::net",
        "tokio::time",
        "std::fs",
        "TcpStream",
        "UdpSocket",
        "thread::",
    ];
    for place in PURE {
        let files: Vec<File> = rust_files().into_iter().filter(|file| file.path.starts_with(place)).collect();
        assert!(!files.is_empty(), "there is no {place}: correct the list");
        for file in files.iter().filter(|file| !file.is_test()) {
            let product = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for word in forbidden {
                assert!(
                    !product.contains(word),
                    "{} has `{word}`: it is to be given time and bytes",
                    file.path
                );
            }
        }
    }
}

#[test]
fn every_file_says_first_what_it_is() {
    for file in rust_files() {
        let header = file.text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(header > 0, "{} does not begin with `//!`: say what it knows and must not know", file.path);
    }
}

#[test]
fn no_file_is_long() {
    for file in rust_files() {
        let lines = file.text.lines().count();
        let excepted = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        assert!(
            excepted || lines <= LINES_MAX,
            "{} has {lines} lines, and {LINES_MAX} are the most: find the second thing that it holds",
            file.path
        );
        assert!(!excepted || lines > LINES_MAX, "{} is short again: take it off the list", file.path);
    }
}

#[test]
fn every_file_is_part_of_its_crate() {
    let (files, manifest) = (rust_files(), read("Cargo.toml"));
    let mut seen = 0;
    for file in files.iter().filter(|file| file.path.contains("src/") || file.path.starts_with("tests/")) {
        let path = Path::new(&file.path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a file has a name");
        let directory = path.parent().expect("a file is in a directory");
        let roots = ["lib.rs", "main.rs", "promises.rs", "architecture.rs"].map(|root| directory.join(root));
        let is_root =
            matches!(stem, "lib" | "main") || manifest.contains(&format!("path = \"{}\"", file.path));
        let sibling = directory.with_extension("rs");
        let mut parents = roots.iter().chain([&sibling]).map(|path| path.display().to_string());
        let declaration = format!("mod {stem};");
        let declared = parents.any(|parent| {
            files.iter().any(|other| {
                // With whatever visibility in front.
                other.path == parent
                    && other.code().any(|(_, line)| {
                        ["", "pub ", "pub(crate) ", "pub(super) "]
                            .iter()
                            .any(|visibility| line.strip_prefix(visibility) == Some(&*declaration))
                    })
            })
        });
        assert!(is_root || declared, "no file says `mod {stem};` for {}: it is not compiled", file.path);
        seen += 1;
    }
    assert!(seen > 100, "only {seen} files seen");
}

#[test]
fn unsafe_code_is_where_it_was_agreed_on() {
    for file in rust_files().iter().filter(|file| file.path != THIS_FILE) {
        let agreed = UNSAFE_FILES.iter().any(|(path, _)| *path == file.path);
        let found = file.code().find(|(_, line)| {
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"]
                .iter()
                .any(|word| line.contains(word))
        });
        if let Some((number, line)) = found {
            assert!(
                agreed,
                "{}:{number}: `{}` is unsafe; there is a safe way, or list it with a reason",
                file.path,
                line.trim()
            );
        } else {
            assert!(!agreed, "{} is safe: take it off the list", file.path);
        }
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    for file in rust_files().iter().filter(|file| file.path != THIS_FILE) {
        for (number, line) in file.code() {
            for word in ["todo!", "unimplemented!", "dbg!", "#[ignore]", "#[should_panic]"] {
                assert!(
                    !line.contains(word),
                    "{}:{number}: `{word}`: finish it, or say why (`#[ignore = \"…\"]`, `#[should_panic(expected = …)]`)",
                    file.path
                );
            }
        }
    }
}

#[test]
fn tests_wait_for_conditions() {
    let mut allowed: BTreeSet<&str> = SLEEPING_TESTS.iter().map(|(path, _)| *path).collect();
    let mut seen = 0;
    for file in rust_files().iter().filter(|file| file.path.starts_with("tests/") && file.path != THIS_FILE) {
        seen += 1;
        let sleeps = file.code().find(|(_, line)| line.contains("sleep("));
        if let Some((number, _)) = sleeps {
            assert!(
                SLEEPING_TESTS.iter().any(|(path, _)| *path == file.path),
                "{}:{number} sleeps: wait for a condition with `eventually`",
                file.path
            );
            allowed.remove(file.path.as_str());
        }
    }
    assert!(seen > 15, "only {seen} files seen");
    assert!(allowed.is_empty(), "{allowed:?} do not sleep: take them off the list");
}

/// A path of one machine is wrong on every other, and a registry is the user's own choice.
#[test]
fn no_file_names_a_machine_or_a_registry() {
    let here = format!("{}/", root().display());
    let paths = [here.as_str(), "/root/", "/home/", "/Users/"];
    // The Debian package of that name is meant where no path follows.
    let hosts = [
        "crates.io",
        ".docker.io",
        "docker.io/",
        "hub.docker.com",
        "ghcr.io",
        "quay.io",
        "gcr.io",
        "pypi.org",
        "npmjs.org",
    ];
    // A lock file is cargo's, and names where it found what it locks.
    for file in
        text_files().iter().filter(|file| file.path != THIS_FILE && !file.path.ends_with("Cargo.lock"))
    {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in paths.iter().chain(&hosts) {
                assert!(!line.contains(word), "{}:{number} has `{word}`: {}", file.path, line.trim());
            }
        }
    }
}

#[test]
fn the_commands_can_be_run() {
    for script in ["run", "test", ".ci/run"] {
        let mode = fs::metadata(root().join(script))
            .unwrap_or_else(|error| panic!("{script}: {error}"))
            .permissions();
        assert_eq!(mode.mode() & 0o111, 0o111, "{script} is executable");
        let text = read(script);
        assert!(text.starts_with("#!/usr/bin/env bash\n"), "{script} says what runs it");
        assert!(text.contains("\nset -euo pipefail\n"), "{script} ends at the first failure");
    }
}

#[test]
fn every_path_in_the_architecture_exists() {
    let text = read("ARCHITECTURE.md");
    let roots = ["src/", "config/", "discovery/", "proxy/", "dns/", "tests/", "benches/", ".ci/", ".config/"];
    let words = text.split(|letter: char| letter.is_whitespace() || "`,;()".contains(letter));
    let paths: BTreeSet<&str> = words
        .filter(|word| roots.iter().any(|root| word.starts_with(root)))
        .map(|word| word.trim_end_matches(['.', ':', '*']))
        .collect();
    assert!(paths.len() >= 60, "only {} paths seen", paths.len());
    for path in paths {
        // `docker*` stands for a file and a directory.
        let exists = root().join(path).exists() || root().join(format!("{path}.rs")).exists();
        assert!(exists, "ARCHITECTURE.md names {path}, which does not exist");
    }
}

#[test]
fn every_crate_directory_is_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let mut seen = 0;
    for file in rust_files().iter().filter(|file| file.path.ends_with("/lib.rs")) {
        let directory = file.path.trim_end_matches("src/lib.rs");
        assert!(
            text.contains(&format!("\n{directory} ")),
            "the code map of ARCHITECTURE.md has no {directory}"
        );
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} crates seen");
}

#[test]
fn metrics_are_documented_and_exist() {
    let documented = metric_names(&read("README.md"));
    let mut exist = BTreeSet::new();
    let mut parts = BTreeSet::new();
    let sources = [
        "proxy/src/metrics.rs",
        "proxy/src/metrics/tally.rs",
        "proxy/src/access_log.rs",
        "proxy/src/tls/metrics.rs",
        "proxy/src/udp/metrics.rs",
        "proxy/src/datapath/metrics.rs",
        "discovery/src/metrics.rs",
        "dns/src/metrics.rs",
        "src/admin/metrics.rs",
        "src/state.rs",
    ];
    for source in sources {
        let text = read(source);
        for literal in text.split('"').skip(1).step_by(2) {
            let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if literal.starts_with("portolan_") && is_name(literal) {
                exist.insert(literal.to_owned());
            }
            // The proxy makes families: `portolan_{kind}_requests_total` for each kind.
            parts.insert(literal.trim_start_matches("portolan_{kind}_").to_owned());
        }
    }
    assert!(exist.len() >= 20, "{exist:?}");
    for name in &exist {
        assert!(documented.contains(name), "{name} is not in README.md");
    }
    for name in documented.union(&metric_names(&read("ARCHITECTURE.md"))) {
        let composed = ["entrypoint", "route", "service"].iter().any(|kind| {
            name.strip_prefix(&format!("portolan_{kind}_")).is_some_and(|part| parts.contains(part))
        });
        assert!(exist.contains(name) || composed, "{name} is documented, and exists nowhere");
    }
}

#[test]
fn flags_are_documented_and_exist() {
    let readme = read("README.md");
    let cli = read("src/cli.rs") + &read("src/cli/dns.rs");
    // Those of other programs are not ours to know.
    let ours = readme
        .lines()
        .filter(|line| !["docker ", "iptables "].iter().any(|other| line.trim_start().starts_with(other)))
        .collect::<Vec<_>>()
        .join("\n");
    let words = ours.split(|letter: char| letter.is_whitespace() || "`,;()|=".contains(letter));
    let flags: BTreeSet<&str> = words.filter(|word| word.starts_with("--") && word.len() > 3).collect();
    assert!(flags.len() >= 13, "{flags:?}");
    for flag in &flags {
        let name = flag.trim_start_matches("--").trim_end_matches('.');
        let field = format!("pub {}:", name.replace('-', "_"));
        let exists = cli.contains(&field) || cli.contains(&format!("long = \"{name}\""));
        // Traefik's spelling.
        let exists = exists || known::is_option(name) || name.eq_ignore_ascii_case("configFile");
        assert!(exists, "README.md has {flag}, which neither src/cli.rs nor the table of options has");
    }
    let mut seen = 0;
    for twin in cli.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(readme.contains(&format!("| `{twin}` |")), "README.md has no row for {twin}");
        seen += 1;
    }
    assert!(seen >= 13, "only {seen} variables seen");
}

/// A reason is what an operator finds in a metric and looks up.
#[test]
fn reasons_are_documented_with_their_status() {
    let readme = read("README.md");
    let source = read("proxy/src/http/reason.rs");
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let words: BTreeMap<&str, &str> = product
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .filter_map(|(variant, rest)| Some((variant, rest.strip_suffix("\",")?)))
        .filter(|(_, word)| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    let section = readme.split("\n## Refusals\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows: BTreeMap<&str, &str> = section
        .expect("a section on refusals")
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once("` | "))
        .collect();
    assert!(words.len() >= 20, "only {} reasons seen", words.len());
    assert_eq!(
        words.values().copied().collect::<BTreeSet<_>>(),
        rows.keys().copied().collect::<BTreeSet<_>>(),
        "the reasons in proxy/src/http/reason.rs, and those in README.md"
    );
    let statuses = product.split("fn status(").nth(1).expect("a status for each");
    for (variant, word) in words {
        let at = statuses.find(&format!("Self::{variant}")).expect("every reason has a status");
        let status = statuses[at..].split_once('(').map_or("", |(_, rest)| &rest[..3]);
        assert!(
            rows[word].starts_with(status),
            "{word} is {status}, and README.md says otherwise: {}",
            rows[word]
        );
    }
}

struct File {
    /// From the root of the repository.
    path: String,
    text: String,
}

impl File {
    /// The lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        let path = Path::new(&self.path);
        let words = ["tests.rs", "convergence.rs", "incremental.rs", "fixtures.rs", "test_support.rs"];
        words.iter().any(|word| path.ends_with(word)) || self.path.contains("/tests/")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file that is text, but what is built and what git keeps.
fn text_files() -> Vec<File> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("the tree can be read").flatten() {
            let path = directory.join(entry.file_name());
            let name = entry.file_name();
            // In a further work tree of a repository, `.git` is a file.
            if name == ".git" || name == "target" {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else if let Ok(text) = fs::read_to_string(root().join(&path)) {
                found.push(File { path: path.display().to_string(), text });
            }
        }
    }
    assert!(found.len() > 120, "only {} files seen", found.len());
    found
}

fn rust_files() -> Vec<File> {
    let files: Vec<File> = text_files()
        .into_iter()
        .filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "rs"))
        .collect();
    assert!(files.len() > 100, "only {} files seen", files.len());
    files
}

/// The names of metrics in a text: `portolan_…`, unless it is the beginning of a name only, or a crate's.
fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| word.starts_with("portolan_") && !word.ends_with('_'))
        .filter(|word| {
            !["portolan_dns", "portolan_proxy", "portolan_config", "portolan_discovery"].contains(word)
        })
        .map(str::to_owned)
        .collect()
}

/// The workspace's packages, with the names of what they depend on, tests not counted.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("start cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
            let names = dependencies
                .iter()
                .filter(|dependency| dependency["kind"] != "dev")
                .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
            (package["name"].as_str().expect("a package has a name").to_owned(), names.collect())
        })
        .collect()
}
