"""The name servers, each with the same names, on one thread and one core."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query

import engine

ZONE = "portolan.internal"
OTHERS = "forwarded.example"
PORTS = {"portolan": 5301, "unbound": 5302, "dnsmasq": 5303, "upstream": 5304, "nothing": 5305}
TLS_PORTS = {"portolan": 8531, "unbound": 8532}
SERVER_CORE, LOAD_CORE = 0, 1


@dataclass
class Server:
    name: str
    process: subprocess.Popen
    port: int

    def at(self, flags: list[str]) -> int:
        """The port where it is asked so."""
        return TLS_PORTS[self.name] if "dot" in flags else self.port


def pinned(core: int, command: list[str], log: Path) -> subprocess.Popen:
    """Starts a program on one core; it dies with this one."""
    command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *command]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=subprocess.STDOUT)


def certificate(folder: Path) -> None:
    """One for all who speak TLS, of the same kind and size."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ns.example"
    paths = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *paths], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o644)


def nothing(folder: Path) -> Server:
    """What sends back what came, as a measure of the kernel's part."""
    program, port = folder / "floor", PORTS["nothing"]
    source = Path(__file__).resolve().parent / "floor.c"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
    return Server("nothing", pinned(SERVER_CORE, [str(program), str(port)], folder / "nothing.log"), port)


def addresses() -> dict[str, list[str]]:
    """Every name with an address that all servers have."""
    names: dict[str, list[str]] = {}
    for name, ip, labels in engine.containers():
        names.setdefault(name, []).append(ip)
        if service := labels.get("portolan.service"):
            names.setdefault(service, []).append(ip)
    return names


def ports() -> dict[str, list[str]]:
    """Every SRV name with its targets."""
    found: dict[str, list[str]] = {}
    for name, _, labels in engine.containers():
        service = labels.get("portolan.service", name)
        found.setdefault(f"_80._tcp.{service}", []).append(name)
    return found


def portolan(folder: Path, binary: Path) -> Server:
    sock = folder / "engine.sock"
    pinned(LOAD_CORE, [sys.executable, engine.__file__, str(sock)], folder / "engine.log")
    port = PORTS["portolan"]
    command = [
        str(binary), "run", f"--docker-host=unix://{sock}", f"--dns-address=127.0.0.1:{port}", "--dns-workers=1",
        "--workers=1", "--dns-ttl=60s", "--dns-cache=20000", f"--dns-forward={OTHERS}=127.0.0.1:{PORTS['upstream']}",
        "--entry-point=web=127.0.0.1:7101", "--admin-address=127.0.0.1:7103", "--exposed-by-default=false",
        f"--dns-tls-address=127.0.0.1:{TLS_PORTS['portolan']}", f"--dns-tls-certificate={folder}/certificate.pem",
        f"--dns-tls-key={folder}/key.pem",
    ]
    return Server("portolan", pinned(SERVER_CORE, command, folder / "portolan.log"), port)


def unbound(folder: Path) -> Server:
    port = PORTS["unbound"]
    lines = [f'local-data: "{name}.{ZONE}. 60 IN A {ip}"' for name, ips in addresses().items() for ip in ips]
    lines += [
        f'local-data: "{name}.{ZONE}. 60 IN SRV 0 1 80 {target}.{ZONE}."'
        for name, targets in ports().items()
        for target in targets
    ]
    config = folder / "unbound.conf"
    config.write_text(f"""
server:
    interface: 127.0.0.1@{port}
    interface: 127.0.0.1@{TLS_PORTS["unbound"]}
    tls-port: {TLS_PORTS["unbound"]}
    tls-service-key: "{folder}/key.pem"
    tls-service-pem: "{folder}/certificate.pem"
    num-threads: 1
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: "{folder}/unbound.pid"
    use-syslog: no
    do-not-query-localhost: no
    module-config: "iterator"
    msg-cache-size: 64m
    rrset-cache-size: 128m
    so-reuseport: no
    local-zone: "{ZONE}." static
    local-data: "{ZONE}. 60 IN SOA ns.{ZONE}. hostmaster.{ZONE}. 1 7200 1800 86400 60"
    {chr(10).join(lines)}
forward-zone:
    name: "{OTHERS}."
    forward-addr: 127.0.0.1@{PORTS["upstream"]}
remote-control:
    control-enable: no
""")
    return Server("unbound", pinned(SERVER_CORE, ["unbound", "-d", "-p", "-c", str(config)], folder / "unbound.log"), port)


def dnsmasq(folder: Path) -> Server:
    port = PORTS["dnsmasq"]
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{ip} {name}.{ZONE}\n" for name, ips in addresses().items() for ip in ips))
    command = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--local-ttl=60", f"--local=/{ZONE}/",
        "--user=root", "--pid-file=", "--cache-size=10000",
    ]
    return Server("dnsmasq", pinned(SERVER_CORE, command, folder / "dnsmasq.log"), port)


def upstream(folder: Path, names: int) -> Server:
    """Who has the names that are forwarded."""
    port = PORTS["upstream"]
    hosts = folder / "others"
    hosts.write_text("".join(f"192.0.2.{n % 256} n{n}.{OTHERS}\n" for n in range(names)))
    command = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--local-ttl=86400", "--user=root",
        "--pid-file=", "--dns-forward-max=10000",
    ]
    return Server("upstream", pinned(LOAD_CORE, command, folder / "upstream.log"), port)


def await_answer(server: Server, name: str) -> None:
    query = dns.message.make_query(name, "A")
    deadline = time.monotonic() + 60
    while True:
        try:
            if dns.query.udp(query, "127.0.0.1", port=server.port, timeout=1).answer:
                return
        except (dns.exception.Timeout, OSError):
            pass
        if time.monotonic() > deadline or server.process.poll() is not None:
            sys.exit(f"{server.name} does not answer for {name}")
        time.sleep(0.05)
