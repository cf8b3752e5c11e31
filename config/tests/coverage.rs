//! Every dynamic option of Traefik's is applied and held by tests that are named, or stands in a list of exceptions with its
//! reason: `held_by.tsv` beside the list of options. The README's table is made from that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portolan_config::not_yet::{NEVER, NOT_YET, PASSED_OVER};

const OPTIONS: &str = include_str!("../src/dynamic/options.tsv");
const HELD_BY: &str = include_str!("../src/dynamic/held_by.tsv");
const README: &str = include_str!("../../README.md");

/// The options that hold a value.
fn options() -> Vec<&'static str> {
    let rows = OPTIONS.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    let options: Vec<&str> = rows.filter(|cells| cells[1] != "struct").map(|cells| cells[0]).collect();
    assert!(options.len() > 330, "only {} options", options.len());
    options
}

fn is_below(path: &str, option: &str) -> bool {
    path.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether an option is an exception: not applied yet, never, or passed over. Each of those has its reason in its list.
fn is_exception(path: &str) -> bool {
    let later = NOT_YET.iter().map(|entry| entry.option);
    let others = NEVER.iter().chain(PASSED_OVER).map(|(option, _)| *option);
    later.chain(others).any(|option| is_below(path, option))
}

/// A row of the list: an option or the beginning of some, files, and a word.
struct Row {
    option: &'static str,
    files: Vec<&'static str>,
    word: Option<&'static str>,
}

fn rows() -> Vec<Row> {
    let rows = HELD_BY.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next();
        Row {
            option: next().expect("an option"),
            files: next().expect("files").split(' ').collect(),
            word: next(),
        }
    });
    rows.collect()
}

/// Letters without case and underscores: `passHostHeader` is `pass_host_header` in code.
fn folded(text: &str) -> String {
    text.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase).collect()
}

/// What of a file is a test.
fn tests_of(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    if file.contains("/src/") && !file.ends_with("tests.rs") {
        let start = text.find("#[cfg(test)]\nmod tests {").unwrap_or_else(|| panic!("{file} has no tests"));
        return folded(&text[start..]);
    }
    folded(&text)
}

/// Whether a word stands in a text, and not only as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_lowercase());
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

/// The last name in a path, without what stands for an index or a name of the operator's own.
fn last_name(path: &str) -> String {
    let names = path.split('.').map(|name| name.split('[').next().unwrap_or_default());
    folded(names.rev().find(|name| !name.starts_with('<')).unwrap_or_default())
}

/// The options that tests hold, and those that none does.
fn held() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let rows = rows();
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let (mut held, mut not_held) = (BTreeSet::new(), BTreeSet::new());
    for option in options().into_iter().filter(|option| !is_exception(option)) {
        let row = rows.iter().filter(|row| is_below(option, row.option)).max_by_key(|row| row.option.len());
        let row = row.unwrap_or_else(|| panic!("{option}: name its test in held_by.tsv"));
        if row.files == ["-"] {
            assert!(row.word.is_some(), "{option}: say why no test holds it");
            not_held.insert(option);
            continue;
        }
        let word = row.word.map_or_else(|| last_name(option), folded);
        let names_it = row
            .files
            .iter()
            .any(|&file| has_word(texts.entry(file).or_insert_with(|| tests_of(file)), &word));
        assert!(names_it, "{option}: none of {:?} has `{word}`", row.files);
        held.insert(option);
    }
    (held, not_held)
}

#[test]
fn every_option_is_held_by_a_test_or_is_an_exception_with_its_reason() {
    let (held, not_held) = held();
    assert!(held.len() > 250, "only {} options are held", held.len());
    // What no test holds becomes less, not more.
    assert!(not_held.len() <= NOT_HELD, "{not_held:?}");
    let options = options();
    for row in rows() {
        assert!(
            options.iter().any(|option| is_below(option, row.option)),
            "{}: there is no such option",
            row.option
        );
    }
}

/// Options whose effect no test holds, at most.
const NOT_HELD: usize = 7;

#[test]
fn the_table_of_the_readme_says_how_much_there_is() {
    let (held, _) = held();
    let mut parts: Vec<String> = Vec::new();
    for option in options() {
        let part: Vec<&str> =
            option.split('.').take(2).map(|name| name.split('[').next().unwrap_or_default()).collect();
        let part = part.join(".");
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    let row = |part: &String| {
        let of_part: Vec<&str> = options().into_iter().filter(|option| is_below(option, part)).collect();
        let count = |takes: &dyn Fn(&str) -> bool| of_part.iter().filter(|option| takes(option)).count();
        let applied = count(&|option| !is_exception(option));
        let by_tests = count(&|option| held.contains(option));
        format!("| `{part}` | {} | {applied} | {by_tests} |", of_part.len())
    };
    let expected: Vec<String> = parts.iter().map(row).collect();
    let after = README.lines().skip_while(|line| !line.starts_with("| Options below |")).skip(2);
    let shown: Vec<&str> = after.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(shown, expected, "the README's table is:\n{}", expected.join("\n"));
}
