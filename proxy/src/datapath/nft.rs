//! Runs the `nft` program, with a deadline. It knows nothing of what is in a script.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long the program may take. It waits while another one makes a change.
const DEADLINE: Duration = Duration::from_secs(5);

/// The program, where it is.
#[derive(Clone, Debug)]
pub(super) struct Nft {
    program: PathBuf,
}

/// What a named counter has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Nft {
    /// Looks where root's programs are, whatever the path says.
    pub(super) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
            .map(|directory| directory.join("nft"))
            .find(|program| program.is_file())
            .map(|program| Self { program })
    }

    /// Carries out a script, all of it or nothing.
    pub(super) fn run(&self, script: &str) -> Result<(), String> {
        self.call(&["-f", "-"], script).map(drop)
    }

    /// What the program says to these words.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String, String> {
        self.call(words, "")
    }

    /// Input and output are memory, not pipes: neither side can make the other wait.
    fn call(&self, words: &[&str], input: &str) -> Result<String, String> {
        let calling = || -> io::Result<Result<String, String>> {
            let mut said = memory("nft-output")?;
            let mut complaint = memory("nft-error")?;
            let mut script = memory("nft-script")?;
            script.write_all(input.as_bytes())?;
            script.rewind()?;
            let mut child = Command::new(&self.program)
                .args(words)
                .env("LC_ALL", "C")
                .stdin(Stdio::from(script))
                .stdout(Stdio::from(said.try_clone()?))
                .stderr(Stdio::from(complaint.try_clone()?))
                .spawn()?;
            if !ends(child.id(), DEADLINE)? {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(Err(format!("nft did not end within {} s", DEADLINE.as_secs())));
            }
            let status = child.wait()?;
            let mut text = String::new();
            let source = if status.success() { &mut said } else { &mut complaint };
            source.rewind()?;
            source.read_to_string(&mut text)?;
            if status.success() {
                return Ok(Ok(text));
            }
            let first = text.lines().next().unwrap_or("nothing was said").trim().to_owned();
            Ok(Err(format!("nft: {first}")))
        };
        calling().unwrap_or_else(|error| Err(format!("{} can't be run: {error}", self.program.display())))
    }
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

/// Whether the process ends in time.
fn ends(pid: u32, deadline: Duration) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = rustix::time::Timespec { tv_sec: deadline.as_secs() as i64, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&deadline))? > 0)
}

/// The named counters in a listing, and the listing without their numbers: by that it can be compared.
pub(super) fn read_listing(text: &str) -> (BTreeMap<String, Count>, String) {
    let (mut counts, mut rest) = (BTreeMap::new(), String::with_capacity(text.len()));
    let mut within: Option<String> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["counter", name, "{"] => within = Some((*name).to_owned()),
            ["packets", packets, "bytes", bytes] if within.is_some() => {
                if let (Some(name), Ok(packets), Ok(bytes)) = (within.take(), packets.parse(), bytes.parse())
                {
                    counts.insert(name, Count { packets, bytes });
                }
                continue;
            }
            _ => {}
        }
        rest.push_str(line);
        rest.push('\n');
    }
    (counts, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_for_its_counters_and_compared_without_them() {
        let listing = |packets: u32| {
            format!(
                "table inet portolan {{\n\tcounter tcp-80-sent {{\n\t\tpackets {packets} bytes 1500\n\t}}\n\n\
                 \tchain x {{\n\t\tcounter packets 7 bytes 9 accept\n\t}}\n}}\n"
            )
        };
        let (counts, rest) = read_listing(&listing(3));
        assert_eq!(counts, BTreeMap::from([("tcp-80-sent".to_owned(), Count { packets: 3, bytes: 1500 })]));
        assert_eq!(rest, read_listing(&listing(4)).1);
        assert!(rest.contains("counter packets 7 bytes 9 accept"));
    }

    #[test]
    fn what_a_program_complains_of_is_told() {
        let not_there = Nft { program: "/nowhere/nft".into() };
        assert!(not_there.run("").unwrap_err().starts_with("/nowhere/nft can't be run: "));
        let shell = Nft { program: "/bin/sh".into() };
        assert_eq!(shell.ask(&["-c", "echo fine"]), Ok("fine\n".to_owned()));
        let complaint = shell.ask(&["-c", "echo 'Error: no' >&2; exit 1"]);
        assert_eq!(complaint, Err("nft: Error: no".to_owned()));
    }
}
