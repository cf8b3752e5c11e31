//! The programs that the tests need on the machine.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::{env, iter};

/// Finds `tool`, or fails the test saying how to get it. Looks where root's programs live, whatever `PATH` says.
#[track_caller]
pub fn require(tool: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(tool))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("this test needs `{tool}`, which is not installed: run ./test, which installs it")
        })
}

/// The Python that has `tests/clients/requirements.txt` installed. `./test` makes it, beside what cargo builds.
#[track_caller]
pub fn python() -> PathBuf {
    // target/<profile>/portolan
    let target = super::Portolan::binary().ancestors().nth(2).expect("a binary is built into a directory");
    let python = target.join("clients/bin/python3");
    assert!(python.is_file(), "this test needs {}: run ./test, which makes it", python.display());
    python
}

/// Runs a command to its end: what it wrote to standard output, or what it wrote to standard error.
pub(super) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{}: {error}", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}: {}", shown(command), output.status, said.trim_end()))
}

/// The command as a person would write it, without its environment.
fn shown(command: &Command) -> String {
    let words = iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
