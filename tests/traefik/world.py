"""Both proxies and the origins, in a network of their own."""

import os
import signal
import subprocess
import time
from pathlib import Path

import answers
import origin
from cases import Case

TRAEFIK, PORTOLAN, ADMIN = 8001, 8002, 9080
PATIENCE = 20


class World:
    def __init__(self, portolan: str, traefik: str, dynamic: Path):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.origins = origin.serve_all()
        self.folder = folder = dynamic.parent
        self.processes = [
            start(folder / "traefik.log", [
                traefik, "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=ERROR",
                f"--entryPoints.web.address=127.0.0.1:{TRAEFIK}", f"--providers.file.filename={dynamic}",
                "--providers.providersThrottleDuration=0s",
            ]),
            start(folder / "portolan.log", [
                portolan, "run", "--source", "demo", "--dns-address", "off", "--admin-address", f"127.0.0.1:{ADMIN}",
                f"--entryPoints.web.address=127.0.0.1:{PORTOLAN}", f"--providers.file.filename={dynamic}",
            ]),
        ]

    def __enter__(self) -> "World":
        for port, name in ((TRAEFIK, "traefik"), (PORTOLAN, "portolan")):
            await_ready(port, self.folder / f"{name}.log")
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def ask(self, case: Case) -> tuple[answers.Answer, answers.Answer]:
        """What Portolan and Traefik answer."""
        return ask(PORTOLAN, case), ask(TRAEFIK, case)


def ask(port: int, case: Case) -> answers.Answer:
    if case.times == 1:
        return answers.ask(port, case.request())
    each = [answers.ask(port, case.request()) for _ in range(case.times)]
    each[-1].many = case.of_many(each)
    return each[-1]


def start(log: Path, command: list) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAEFIK_", "PORTOLAN_"))}
    return subprocess.Popen([str(word) for word in command], stdout=log.open("wb"), stderr=subprocess.STDOUT, env=environment)


def await_ready(port: int, log: Path) -> None:
    """Until the router that every file has answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if answers.ask(port, b"GET / HTTP/1.1\r\nHost: ready.test\r\n\r\n").status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"traefik: nothing at port {port} became ready\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
