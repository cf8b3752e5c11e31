//! The files of `config/examples/dynamic`, each a real use, and of `config/invalid/dynamic`, each with the one fault that
//! it must have: `# expect LINE: MESSAGE`.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_config::dynamic::{Format, Place, Wrong, read_file};

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read(path: &Path) -> (String, Result<Vec<Wrong>, Wrong>) {
    let text = fs::read_to_string(path).unwrap();
    let format = Format::of(path.extension().unwrap().to_str().unwrap()).unwrap();
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
