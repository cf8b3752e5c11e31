//! The files of `config/examples/dynamic`, each a real use, and of `config/invalid/dynamic`, each with the one fault that
//! it must have: `# expect LINE: MESSAGE`.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_config::dynamic::{Items, Place, Wrong, format_of, read_file};

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read(path: &Path) -> (String, Result<Vec<Wrong>, Wrong>) {
    let text = fs::read_to_string(path).unwrap();
    let format = format_of(path.extension().unwrap().to_str().unwrap()).unwrap();
    let wrong = read_file("file", format, &text).map(|dynamic| dynamic.wrong);
    (text, wrong)
}

fn line(wrong: &Wrong) -> usize {
    match wrong.place {
        Place::Line { line, .. } => line,
        Place::Label(_) => 0,
    }
}

#[test]
fn examples_have_no_fault_but_what_is_not_applied_yet() {
    let files = files("examples/dynamic");
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let (_, wrong) = read(&path);
        let wrong = wrong.unwrap_or_else(|wrong| panic!("{}: {wrong:?}", path.display()));
        for wrong in wrong {
            assert!(wrong.message.contains("Portolan can't do this yet"), "{}: {wrong:?}", path.display());
        }
    }
}

#[test]
fn an_example_means_the_same_in_yaml_and_in_toml() {
    /// What is said, wherever it stands.
    fn means(path: &Path) -> Vec<String> {
        fn all<T: std::fmt::Debug>(kind: &str, items: &Items<T>) -> Vec<String> {
            items.iter().map(|(name, item)| format!("{kind} {name}: {:?}", item.value)).collect()
        }
        let text = fs::read_to_string(path).unwrap();
        let format = format_of(path.extension().unwrap().to_str().unwrap()).unwrap();
        let read = read_file("file", format, &text).unwrap();
        let certificates = read.certificates.iter().map(|pair| format!("{pair:?}")).collect();
        [
            all("router", &read.routers),
            all("service", &read.services),
            all("middleware", &read.middlewares),
            all("tcp router", &read.tcp_routers),
            all("tcp service", &read.tcp_services),
            all("TLS options", &read.tls_options),
            certificates,
        ]
        .concat()
    }
    let mut pairs = 0;
    for yaml in files("examples/dynamic").iter().filter(|file| file.extension().unwrap() == "yml") {
        let toml = yaml.with_extension("toml");
        if toml.is_file() {
            assert_eq!(means(yaml), means(&toml), "{}", yaml.display());
            pairs += 1;
        }
    }
    assert!(pairs >= 4, "only {pairs} pairs seen");
}

#[test]
fn what_is_invalid_is_told_in_the_words_that_the_file_expects() {
    let files = files("invalid/dynamic");
    assert!(files.len() >= 12, "{files:?}");
    for path in files {
        let (text, wrong) = read(&path);
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect ")).expect("a fault");
        let (expected_line, expected) = expected.split_once(": ").expect("line and message");
        let expected_line: usize = expected_line.parse().expect("a line");
        match wrong {
            Err(wrong) => {
                assert_eq!(expected, "unreadable", "{}: {wrong:?}", path.display());
                assert!(line(&wrong) >= expected_line, "{}: {wrong:?}", path.display());
            }
            Ok(all) => {
                let mut told: Vec<&Wrong> =
                    all.iter().filter(|wrong| !wrong.message.contains("can't do this yet")).collect();
                let wrong = told.pop().unwrap_or_else(|| panic!("{}: nothing is told of it", path.display()));
                assert!(told.is_empty(), "{}: {told:?}", path.display());
                assert_eq!(wrong.message, expected, "{}", path.display());
                assert_eq!(line(wrong), expected_line, "{}", path.display());
            }
        }
    }
}
