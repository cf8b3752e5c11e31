//! README.md has every limit as it is in the code.

use std::collections::BTreeSet;

use super::{File, read, rust_files};

#[test]
fn limits_are_documented_as_they_are() {
    let readme = read("README.md");
    let limits = read("proxy/src/limits.rs");
    let mut seen = 0;
    for line in limits.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let (name, value) = line.split_once(':').expect("a constant has a type");
        let value = value.split_once("= ").expect("a constant has a value").1.trim_end_matches(';');
        let row = readme
            .lines()
            .find(|row| row.ends_with(&format!("| `{name}` |")))
            .unwrap_or_else(|| panic!("README.md has no row for the limit {name}"));
        let shown = limit(value);
        assert!(row.contains(&format!("| {shown} |")), "{name} is {shown}, not as in README.md: {row}");
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} limits seen");
}

/// A limit's value as README.md has it.
fn limit(value: &str) -> String {
    let time = value.strip_prefix("Duration::from_").unwrap_or_default();
    let units = [("secs(", "s"), ("millis(", "ms"), ("micros(", "µs")];
    let mut times = units.iter().filter_map(|(call, unit)| Some((time.strip_prefix(call)?, unit)));
    match (times.next(), value.strip_suffix(" * 1024")) {
        (Some((number, unit)), _) => format!("{} {unit}", number.trim_end_matches(')')),
        (None, Some(kibibytes)) => format!("{kibibytes} KiB"),
        (None, None) => value.to_owned(),
    }
}

/// Those of the name server stand beside what they limit.
#[test]
fn limits_of_the_name_server_are_documented_as_they_are() {
    let readme = read("README.md");
    let table = readme.split("| In `dns/src` |").nth(1).and_then(|rest| rest.split("\n\n").next());
    let mut known = BTreeSet::new();
    for row in table.expect("a table").lines().skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, shown, _, place] = cells[..] else { panic!("four cells: {row}") };
        let (name, file) = place.trim_matches('`').split_once("` in `").expect("a constant and its file");
        let source = read(&format!("dns/src/{file}"));
        let rest = source.split(&format!("const {name}: ")).nth(1).unwrap_or_default();
        let value = rest.split(';').next().and_then(|rest| rest.split(" = ").nth(1)).map(limit);
        assert_eq!(value.as_deref(), Some(shown), "{name} in dns/src/{file}");
        known.insert((file.to_owned(), name.to_owned()));
    }
    // What the protocol itself says needs no row.
    let protocol = ["MAX_NAME", "MAX_LABEL", "MAX_POINTER", "STRING_MAX"];
    for File { path, text } in rust_files().into_iter().filter(|file| file.path.starts_with("dns/src/")) {
        let file = path.trim_start_matches("dns/src/").to_owned();
        let names = text.split("const ").filter_map(|rest| rest.split_once(": ")).map(|(name, _)| name);
        for name in names.filter(|name| name.ends_with("_MAX") || name.starts_with("MAX_")) {
            let is_known = protocol.contains(&name) || known.contains(&(file.clone(), name.to_owned()));
            assert!(is_known, "README.md has no row for {name} of {path}");
        }
    }
}
