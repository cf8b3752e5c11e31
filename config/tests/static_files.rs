//! `config/examples/static` and `config/invalid/static`: what may be written as settings, and what may not, each beside
//! the messages that it must produce.
//!
//! A `.flags` file has a flag a line, and stands for a command line.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_config::Settings;
use portolan_config::document::Format;
use portolan_config::settings::own::{ENTRY_POINT, OWN};
use portolan_config::settings::{OwnFlag, Written};

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    files
}

fn written(path: &Path) -> Written {
    let name = path.file_name().and_then(|name| name.to_str()).expect("files have names");
    let text = fs::read_to_string(path).expect("it is text");
    let mut written = Written::default();
    match Format::of(name) {
        Some(format) => written.take_file(name, &text, format),
        None => {
            let own = OWN.iter().chain([&ENTRY_POINT]);
            let own: Vec<OwnFlag> =
                own.map(|own| OwnFlag { name: own.flag.to_owned(), takes_next: true }).collect();
            let flags = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
            let left = written.take_flags(flags, &own);
            assert!(left.is_empty(), "{name}: {left:?} are no flags in Traefik's spelling");
        }
    }
    written
}

#[test]
fn every_example_is_understood() {
    let examples = files("examples/static");
    assert!(examples.len() >= 6, "only {} examples seen", examples.len());
    for example in examples {
        let written = written(&example);
        let settings = Settings::resolve(&written, 2);
        assert!(settings.is_ok(), "{}: {settings:#?}", example.display());
        assert_eq!(written.warnings(), [], "{}", example.display());
    }
}

#[test]
fn an_example_means_the_same_in_yaml_and_in_toml() {
    let mut pairs = 0;
    for yaml in
        files("examples/static").iter().filter(|file| file.extension().is_some_and(|end| end == "yml"))
    {
        let toml = yaml.with_extension("toml");
        if toml.is_file() {
            let means = |file: &Path| Settings::resolve(&written(file), 2).expect("it is understood");
            assert_eq!(means(yaml), means(&toml), "{}", yaml.display());
            pairs += 1;
        }
    }
    assert!(pairs >= 3, "only {pairs} pairs seen");
}

/// With `UPDATE` set, the messages are written down as they are, to be read before they are kept.
#[test]
fn every_fault_is_told_as_it_is_written_down() {
    let mut seen = 0;
    for wrong in files("invalid/static").iter().filter(|file| file.extension().is_none_or(|end| end != "txt"))
    {
        let faults = Settings::resolve(&written(wrong), 2).expect_err("it is wrong");
        let mut told: String = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        told.push('\n');
        let beside = wrong.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&beside, &told).expect("it can be written");
        }
        let expected =
            fs::read_to_string(&beside).unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
        assert_eq!(told, expected, "{}", wrong.display());
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} files seen");
}
