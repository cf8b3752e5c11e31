//! The one image of the tests, made from programs of this machine, so that no registry is needed.
//!
//! nginx, busybox and getent (glibc's resolver) with the libraries they load, as a layer, and two image descriptions that differ in the stop signal:
//! `docker load` takes all in one go, and, unlike `docker import`, knows `StopSignal`. The archive is made once and
//! kept beside the build, named by the hash of what went in.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::{output, require};

/// nginx answering every request on port 80, over IPv4 and IPv6, with its host name; stops gracefully (SIGQUIT).
///
/// `/echo` answers with the request as it arrived, at once; `/body` does so when the request's body is there; `/1m`
/// answers with a mebibyte. It has busybox's commands.
pub const NGINX: &str = "portolan-test/nginx:latest";

/// The same with the default stop signal, SIGTERM, by which nginx drops its connections at once.
pub const NGINX_SIGTERM: &str = "portolan-test/nginx:sigterm";

/// Temporary paths are named because the built-in ones differ between distributions and are not in the image.
const NGINX_CONF: &str = r#"
user root root;
daemon off;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 8192; }
http {
    access_log off;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    server {
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096;
        location / { return 200 "$hostname\n"; }
        location = /1m { root /srv; }
        location = /body { proxy_pass http://127.0.0.1/echo; }
        location = /echo {
            return 200 "$request_method $request_uri $server_protocol
host: $http_host
x-forwarded-for: $http_x_forwarded_for
x-forwarded-proto: $http_x_forwarded_proto
x-forwarded-host: $http_x_forwarded_host
x-forwarded-port: $http_x_forwarded_port
x-real-ip: $http_x_real_ip
connection: $http_connection
peer: $remote_addr
server: $hostname
";
        }
    }
}
"#;

const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// What an image description holds besides its layer, by tag.
const VARIANTS: [(&str, &str); 2] = [(NGINX, r#""StopSignal":"SIGQUIT","#), (NGINX_SIGTERM, "")];

/// The archive for `docker load`, made if this machine has none of this recipe.
pub(super) fn archive() -> PathBuf {
    let (nginx, busybox, getent) = (require("nginx"), require("busybox"), require("getent"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let archive = cache.join(format!("image-{:016x}.tar", recipe_hash(&[&nginx, &busybox, &getent])));
    if !archive.exists() {
        fs::create_dir_all(cache).expect("make the directory of the cache");
        let work =
            tempfile::Builder::new().prefix("image-").tempdir_in(cache).expect("make a work directory");
        let made = build(work.path(), &nginx, &busybox, &getent);
        // Tests run at the same time: each makes a whole archive, and the last rename wins.
        fs::rename(made, &archive).expect("put the archive in its place");
    }
    archive
}

fn recipe_hash(programs: &[&Path]) -> u64 {
    let mut hasher = DefaultHasher::new();
    // This file is the recipe.
    include_str!("image.rs").hash(&mut hasher);
    for program in programs {
        fs::read(program).expect("read a program of the image").hash(&mut hasher);
    }
    hasher.finish()
}

fn build(work: &Path, nginx: &Path, busybox: &Path, getent: &Path) -> PathBuf {
    let image = work.join("image");
    fs::create_dir(&image).expect("make the image's directory");
    let layer = image.join("layer.tar");
    tar(&layer, &root_file_system(work, nginx, busybox, getent));
    let checksum = output(Command::new(require("sha256sum")).arg(&layer)).expect("checksum of the layer");
    let checksum = checksum.split_whitespace().next().expect("a checksum").to_owned();
    let mut manifest = Vec::new();
    for (number, (tag, extra)) in VARIANTS.iter().enumerate() {
        write(&image, &format!("{number}.json"), &description(extra, &checksum));
        manifest.push(format!(r#"{{"Config":"{number}.json","RepoTags":["{tag}"],"Layers":["layer.tar"]}}"#));
    }
    write(&image, "manifest.json", &format!("[{}]", manifest.join(",")));
    let archive = work.join("archive.tar");
    tar(&archive, &image);
    archive
}

/// An image description of the OCI image specification.
fn description(extra: &str, layer: &str) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Env":["PATH=/bin:/usr/sbin"],"Cmd":["nginx"],
        {extra}"ExposedPorts":{{"80/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#
    )
}

fn root_file_system(work: &Path, nginx: &Path, busybox: &Path, getent: &Path) -> PathBuf {
    let root = work.join("root");
    for directory in [
        "bin",
        "usr/sbin",
        "etc",
        "run",
        "tmp",
        "srv",
        "var/log/nginx",
        "var/lib/nginx",
        "dev",
        "proc",
        "sys",
    ] {
        fs::create_dir_all(root.join(directory)).expect("make a directory of the image");
    }
    fs::copy(nginx, root.join("usr/sbin/nginx")).expect("copy nginx");
    fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
    fs::copy(getent, root.join("bin/getent")).expect("copy getent");
    for command in output(Command::new(busybox).arg("--list")).expect("busybox lists its commands").lines() {
        if command != "busybox" && command != "getent" {
            symlink("busybox", root.join("bin").join(command)).expect("link a command to busybox");
        }
    }
    for library in [nginx, busybox, getent].into_iter().flat_map(libraries) {
        let place = root.join(library.strip_prefix("/").expect("libraries have absolute paths"));
        fs::create_dir_all(place.parent().expect("a library is in a directory"))
            .expect("make a library's directory");
        fs::copy(&library, place).expect("copy a library");
    }
    write(&root, "etc/passwd", PASSWD);
    write(&root, "etc/group", GROUP);
    write(&root, "etc/nsswitch.conf", "hosts: files dns\n");
    fs::create_dir(root.join("etc/nginx")).expect("make nginx's directory");
    write(&root, "etc/nginx/nginx.conf", NGINX_CONF);
    File::create(root.join("srv/1m")).and_then(|file| file.set_len(1 << 20)).expect("make a large file");
    root
}

/// What the dynamic linker loads for a program; nothing for a static one, of which ldd says so by failing.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = output(Command::new(require("ldd")).arg(program)).unwrap_or_default();
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
    // The name before "=>" can be a path too, then it is the same file.
    paths.map(PathBuf::from).collect()
}

fn tar(archive: &Path, directory: &Path) {
    let mut tar = Command::new(require("tar"));
    tar.args(["--owner=0", "--group=0", "--sort=name", "--directory"])
        .arg(directory)
        .arg("--create")
        .arg("--file");
    output(tar.arg(archive).arg(".")).expect("make an archive");
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("write a file of the image");
}
