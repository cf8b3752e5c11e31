//! The control groups of an engine's containers. They are the one thing that outlives a namespace, so they carry their
//! owner's name (pid and start time), and whoever comes next removes those of the dead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PREFIX: &str = "portolan-test-";

/// A name that no other sandbox has, and that tells whose it is.
pub(super) fn unique_name() -> String {
    static SANDBOXES: AtomicU32 = AtomicU32::new(0);
    let pid = process::id();
    let started = start_time(pid).expect("this process is in /proc");
    format!("{PREFIX}{pid}-{started}-{}", SANDBOXES.fetch_add(1, Ordering::Relaxed))
}

/// Removes the groups of test processes that are gone: killed before they could clean up.
pub(super) fn sweep() {
    for hierarchy in hierarchies() {
        let groups = fs::read_dir(hierarchy).into_iter().flatten().flatten();
        for group in groups.filter(|group| owner_is_dead(&group.file_name().to_string_lossy())) {
            thaw_tree(&group.path());
            // Someone else may sweep at the same time, or the kernel may still be emptying it: the next one will do it.
            let _ = remove_tree(&group.path());
        }
    }
}

/// Lets paused containers of a sandbox go on: what is frozen can't even be killed.
pub(super) fn thaw(name: &str) {
    for group in existing(name) {
        thaw_tree(&group);
    }
}

fn thaw_tree(group: &Path) {
    // Version 1 and version 2; a group has one of these files, or none.
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        let file = group.join(file);
        if file.exists() {
            let _ = fs::write(file, thawed);
        }
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            thaw_tree(&entry.path());
        }
    }
}

/// Removes a sandbox's groups in every hierarchy. Its processes are gone, but the kernel needs a moment to notice.
pub(super) fn remove(name: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    for group in existing(name) {
        while let Err(error) = remove_tree(&group) {
            if Instant::now() > deadline {
                return Err(format!("{}: {error}", group.display()));
            }
            thread::sleep(Duration::from_millis(3));
        }
    }
    Ok(())
}

/// The groups that exist under a sandbox's name.
pub(super) fn existing(name: &str) -> Vec<PathBuf> {
    hierarchies().map(|hierarchy| hierarchy.join(name)).filter(|group| group.exists()).collect()
}

/// Where control groups are mounted: one place on version 2, one for each controller on version 1.
fn hierarchies() -> impl Iterator<Item = PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let paths: Vec<PathBuf> = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| matches!(fields[2], "cgroup" | "cgroup2"))
        .map(|fields| PathBuf::from(fields[1]))
        .collect();
    paths.into_iter()
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    // Only directories can be removed; the files in them are the kernel's.
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn owner_is_dead(name: &str) -> bool {
    let Some(owner) = name.strip_prefix(PREFIX) else { return false };
    let mut parts = owner.split('-');
    let (Some(pid), Some(started)) = (parts.next(), parts.next()) else { return false };
    pid.parse().is_ok_and(|pid| start_time(pid).as_deref() != Some(started))
}

/// When a process started, in the kernel's own unit; with the pid it names a process for all time since boot.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything; the 22nd is the start time.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}
