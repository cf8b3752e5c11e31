"""A stand-in for a container engine: it tells of many containers, and of nothing else, ever."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "compare"))

import stand_in  # noqa: E402

ALONE, SERVICES, REPLICAS = 1000, 100, 4


def address(number: int) -> str:
    return f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"


def containers() -> list[tuple[str, str, dict]]:
    """Names, addresses and labels: some alone, some four to a service."""
    found = [(f"app-{n}", address(n), {}) for n in range(ALONE)]
    for service in range(SERVICES):
        for replica in range(REPLICAS):
            number = ALONE + service * REPLICAS + replica
            found.append((f"svc-{service}-{replica}", address(number), {"portolan.service": f"svc-{service}"}))
    return found


def whole(name: str, ip: str, labels: dict) -> dict:
    identity = name.encode().hex().rjust(64, "0")[::-1]
    attachment = {"NetworkID": "n" * 64, "EndpointID": identity[::-1], "IPAddress": ip, "Aliases": []}
    return {
        "Id": identity,
        "Name": f"/{name}",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Labels": labels, "ExposedPorts": {"80/tcp": {}}},
        "HostConfig": {"NetworkMode": "bench"},
        "NetworkSettings": {"Networks": {"bench": attachment}},
    }


def main() -> None:
    stand_in.stand_in(sys.argv[1], [whole(*container) for container in containers()])


if __name__ == "__main__":
    main()
