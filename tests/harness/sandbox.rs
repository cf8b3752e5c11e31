//! A machine of its own for one test: network, processes and mounts that vanish with the test, however it ends.
//!
//! One process, the keeper, holds a network, a process and a mount namespace. It reads from a pipe that only the test holds:
//! when the test ends, even by SIGKILL, the pipe closes, the keeper exits, and the kernel kills everything that ran in
//! the sandbox. `/run` is a tmpfs of the sandbox, so an engine's gigabytes of state leave no file behind, and the test
//! reaches into it through `/proc/<keeper>/root`: a short path, as UNIX sockets need.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{Process, only_child};
use super::tools::require;
use super::{cgroups, wait};

/// What the first process of a sandbox does.
///
/// A private `/run` hides the machine's engine and its containerd, which dockerd would otherwise use. Overlays catch what
/// dockerd and containerd write to fixed places (`/etc/docker/key.json`, `/opt/containerd`). Without duplicate address
/// detection an IPv6 address of a bridge works at once, not after a second or two. `wait` in the shell collects orphans: an
/// uncollected containerd would look alive to the dockerd that is started after it.
const KEEPER: &str = r"
set -e
exec 2>&1
mount -t tmpfs -o mode=755 tmpfs /run
for dir in /etc /opt; do
    mkdir -p /run/over$dir/upper /run/over$dir/work
    mount -t overlay -o lowerdir=$dir,upperdir=/run/over$dir/upper,workdir=/run/over$dir/work overlay $dir
done
mkdir /run/log
for scope in all default; do
    echo 0 > /proc/sys/net/ipv6/conf/$scope/accept_dad
done
ip link set lo up
echo ready
exec 3<&0 >/dev/null 2>&1
cat <&3 & wait $!
";

/// The namespaces of one test, which the thread that entered them is in until the sandbox is dropped.
///
/// Sockets that this thread opens, and processes and threads that it starts, are in the sandbox's network.
#[derive(Debug)]
pub struct Sandbox {
    keeper: Mutex<Child>,
    keeper_pid: u32,
    cgroup: String,
    thread: ThreadId,
    /// The network that the thread came from.
    home: File,
}

thread_local! {
    static CURRENT: RefCell<Weak<Sandbox>> = const { RefCell::new(Weak::new()) };
}

impl Sandbox {
    /// Moves this thread into a new sandbox, or returns the one that it is in.
    pub fn enter() -> Arc<Self> {
        CURRENT.with_borrow_mut(|current| {
            current.upgrade().unwrap_or_else(|| {
                let sandbox = Arc::new(Self::create());
                *current = Arc::downgrade(&sandbox);
                sandbox
            })
        })
    }

    fn create() -> Self {
        cgroups::sweep();
        let cgroup = cgroups::unique_name();
        let home = network_of("thread-self");
        let mut keeper = start_keeper();
        await_ready(&mut keeper);
        let keeper_pid =
            only_child(keeper.id()).expect("unshare has forked the process that said it is ready");
        join(&network_of(&keeper_pid.to_string()));
        Self { keeper: Mutex::new(keeper), keeper_pid, cgroup, thread: thread::current().id(), home }
    }

    /// Where the test finds the sandbox's file `inside`. Only `/run`, `/etc`, `/opt` and `/proc` differ from the machine's.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        let relative = inside.strip_prefix("/").expect("paths in a sandbox are absolute");
        Path::new("/proc").join(self.keeper_pid.to_string()).join("root").join(relative)
    }

    /// Writes a file of the sandbox, by rename as careful editors do, and returns its path in the sandbox.
    pub fn write(&self, inside: &str, text: &str) -> String {
        let (path, new) = (self.path(inside), self.path(format!("{inside}.new")));
        let directory = path.parent().expect("a file has a directory");
        fs::create_dir_all(directory).expect("make a directory in the sandbox");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).expect("write a file in the sandbox");
        inside.to_owned()
    }

    /// A command that will run in all of the sandbox's namespaces, with `/` as its working directory.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(require("nsenter"));
        command
            .args(["--target", &self.keeper_pid.to_string(), "--mount", "--pid", "--"])
            .arg(program.as_ref());
        command
    }

    /// Starts a command made by [`Self::command`]; what it writes is in the process's log.
    pub fn spawn(self: &Arc<Self>, name: &str, command: Command) -> Process {
        Process::spawn(Arc::clone(self), name, command)
    }

    /// Kills a process of the sandbox, given by the pid that it has there: what an engine calls the pid of a container.
    pub fn kill(&self, pid: u64) {
        let killed = self.command(require("sh")).args(["-c", &format!("kill -KILL {pid}")]).status();
        assert!(killed.is_ok_and(|status| status.success()), "kill the process {pid} of the sandbox");
    }

    /// Runs `work` in the network of a process of the sandbox, given by the pid that it has there.
    pub(super) fn in_network_of<T: Send>(&self, pid: u64, work: impl FnOnce() -> T + Send) -> T {
        self.in_network(&format!("/proc/{pid}/ns/net"), work)
    }

    /// Runs `work` in a network of the sandbox, given by its file: `/run/netns/NAME` for one that `ip netns` has made.
    /// Sockets that it opens stay there.
    pub fn in_network<T: Send>(&self, file: &str, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.path(file)).expect("the network is there");
        // A thread of its own, as this one stays where it is.
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                join(&network);
                work()
            });
            inside.join().expect("no panic in there")
        })
    }

    /// Runs lines of shell in the sandbox; gives what they wrote.
    #[track_caller]
    pub fn shell(&self, lines: &str) -> String {
        let output = self.command(require("sh")).args(["-ec", lines]).output().expect("start a shell");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{lines}: {complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The name of the control group of the engine in this sandbox.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The directories of that control group, one for each hierarchy.
    pub fn cgroup_dirs(name: &str) -> Vec<PathBuf> {
        cgroups::existing(name)
    }

    /// The first process of the sandbox, as the test sees it.
    pub fn keeper_pid(&self) -> u32 {
        self.keeper_pid
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        cgroups::thaw(&self.cgroup);
        drop(keeper.stdin.take());
        // The keeper is gone when all that ran in the sandbox is: the kernel collects them first.
        let deadline = Instant::now() + wait::PATIENCE;
        while matches!(keeper.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = keeper.kill();
                let _ = keeper.wait();
            }
            thread::sleep(Duration::from_millis(1));
        }
        if thread::current().id() == self.thread {
            join(&self.home);
        }
        let swept = cgroups::remove(&self.cgroup);
        // A second panic would abort the process and hide the first.
        if !thread::panicking() {
            swept.expect("remove the sandbox's control groups");
        }
    }
}

fn start_keeper() -> Child {
    for tool in ["ip", "mount", "nsenter"] {
        require(tool);
    }
    Command::new(require("unshare"))
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child=KILL",
            "--",
            "sh",
            "-c",
            KEEPER,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start unshare")
}

fn await_ready(keeper: &mut Child) {
    let mut output = BufReader::new(keeper.stdout.take().expect("its output is a pipe"));
    let mut said = String::new();
    while !said.ends_with("ready\n") {
        let length = output.read_line(&mut said).expect("read from the sandbox's first process");
        assert_ne!(length, 0, "no sandbox: {said} (namespaces need root: run ./test, which asks for it)");
    }
}

fn network_of(process: &str) -> File {
    File::open(format!("/proc/{process}/ns/net")).expect("open a network namespace")
}

fn join(network: &File) {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("move this thread into a network namespace (tests need root)");
}
