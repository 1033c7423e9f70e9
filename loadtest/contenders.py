"""The servers that `compare` measures: what each is, how it is had and started, and what it promises with its 200.

Each gets what its own documentation recommends for one core: one worker, no access log, keep-alive without an end.
Those that store nothing give the body to a thread that parses it (`loadtest/peers`), except nginx and HAProxy, which
only answer; those that store wait for a database beside them, whose time counts as theirs.
"""
import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import rig

# From this version on nats-server can sync each message to the disk (`sync_interval: always`).
NATS_THAT_SYNCS = (2, 10)

NGINX = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/bodies;
  client_body_in_single_buffer on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /webhook {{ return 200; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 30s
  timeout http-keep-alive 30s
frontend webhook
  bind 127.0.0.1:{port} backlog 4096
  http-request return status 200
"""

REDIS = """
bind 127.0.0.1
port {port}
dir {directory}
save ""
appendonly yes
appendfsync always
"""

NATS = """
listen: 127.0.0.1:{port}
jetstream {{
  store_dir: {directory}
  {sync}
}}
"""

# A database and what is in front of it, in one process tree: $1 is the database's port.
IN_FRONT = """cd {directory}
{database} &
until (: </dev/tcp/127.0.0.1/$1) 2>/dev/null; do kill -0 $! || exit 1; sleep 0.05; done
exec "$2" "$3" "$4"
"""


@dataclass
class Contender:
    """A server; `command` gives what to start for a port and a directory of its own."""
    label: str
    does: str
    command: Callable
    version: Callable
    # `hookline`, `floor`, `memory` for what has stored nothing when it answers, or `stored` for what promises more.
    kind: str = "memory"
    programs: list = field(default_factory=list)
    packages: list = field(default_factory=list)
    # From `loadtest/peers`, which cargo builds.
    is_peer: bool = False
    script: str = ""

    def lacks(self):
        """Why it cannot be had, after an attempt to install it; nothing when it can."""
        missing = [program for program in self.programs if not found(program)]
        if missing:
            rig.install(self.packages)
            missing = [program for program in missing if not found(program)]
        return f"{', '.join(missing)} missing (Debian: {' '.join(self.packages)})" if missing else ""


def contenders(binary, floor):
    """All of them by name, in the order in which they are measured; `floor` is where that program will be."""
    hookline = lambda label, does, mode, script="": Contender(
        label, does, lambda port, directory: rig.hookline(binary, mode, script == "signed", port, directory),
        lambda: first_line(str(binary), "--version").split()[-1], kind="hookline", script=script)
    return {
        "floor": Contender("floor", "recv and send in C, nothing parsed", lambda port, _: [str(floor), str(port)],
                           lambda: first_line("cc", "--version"), kind="floor", programs=["cc"],
                           packages=["gcc", "libc6-dev"]),
        "received": hookline("Hookline received", "200 once the body is in memory; journal, worker and sink follow",
                             "received"),
        "stored": hookline("Hookline stored", "200 after `fdatasync`; journal, worker and sink follow", "stored"),
        "signed": hookline("Hookline, signature checked", "`received`, with the HMAC-SHA256 of each body", "received",
                           script="signed"),
        "hyper": peer("hyper"),
        "axum": peer("axum"),
        "actix": peer("actix", crate="actix-web"),
        "ntex": peer("ntex"),
        "may_minihttp": peer("may_minihttp"),
        "nginx": Contender("nginx, answers only", "200, the body thrown away", nginx,
                           lambda: number(first_line("nginx", "-v")), programs=["nginx"], packages=["nginx"]),
        "haproxy": Contender("HAProxy, answers only", "200, the body thrown away", haproxy,
                             lambda: number(first_line("haproxy", "-v")), programs=["haproxy"], packages=["haproxy"]),
        "aiohttp": Contender("aiohttp", "200 once the body is in a queue, which a thread parses", aiohttp,
                             aiohttp_version, programs=["aiohttp"], packages=["python3-aiohttp", "python3-uvloop"]),
        "redis": Contender("axum + Redis, fsync always", "200 once a stream has it, `appendfsync always`", redis,
                           lambda: f"{locked('axum')}, Redis {number(first_line('redis-server', '--version'))}",
                           kind="stored", is_peer=True, programs=["redis-server"], packages=["redis-server"]),
        "jetstream": Contender("axum + JetStream", "200 once a file store acknowledged it", jetstream,
                               lambda: f"{locked('axum')}, nats-server {nats_version()}", kind="stored", is_peer=True,
                               programs=["nats-server"], packages=["nats-server"]),
    }


def settle_promise(jetstream):
    """What JetStream does before it answers depends on the version that is installed."""
    if nats_syncs():
        jetstream.label += ", sync always"
        jetstream.does += " and synced it"
    else:
        jetstream.label += ", not synced"
        jetstream.does += "; it syncs every two minutes, for this version has no `sync_interval: always`"
        jetstream.kind = "memory"


def peer(name, crate=None):
    return Contender(crate or name, "200 once the body is in a queue, which a thread parses",
                     lambda port, _: [program(name), str(port)], lambda: locked(crate or name), is_peer=True)


def build_peers():
    """Builds them, which takes some minutes the first time; whether that worked."""
    if not shutil.which("cargo"):
        return False
    rig.progress("building loadtest/peers, if anything has changed: some ten minutes the first time")
    try:
        rig.run_group(["cargo", "build", "--release", "--locked", "--manifest-path", rig.HERE / "peers/Cargo.toml",
                       "--target-dir", rig.target() / "peers"])
    except rig.Failed as error:
        rig.progress(str(error))
        return False
    return True


def program(name):
    return str(rig.target() / "peers/release" / name)


def nginx(port, directory):
    (directory / "nginx.conf").write_text(NGINX.format(port=port, directory=directory))
    return ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]


def haproxy(port, directory):
    (directory / "haproxy.cfg").write_text(HAPROXY.format(port=port))
    return ["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]


def aiohttp(port, _):
    return [python_with_aiohttp(), str(rig.HERE / "peers/aiohttp_server.py"), str(port)]


def redis(port, directory):
    database = rig.free_port()
    (directory / "redis.conf").write_text(REDIS.format(port=database, directory=directory))
    return in_front("redis-server redis.conf", "axum_redis", port, database, "redis", directory)


def jetstream(port, directory):
    database = rig.free_port()
    sync = "sync_interval: always" if nats_syncs() else ""
    (directory / "nats.conf").write_text(NATS.format(port=database, directory=json.dumps(str(directory / "store")),
                                                     sync=sync))
    return in_front("nats-server -c nats.conf -l nats.log", "axum_jetstream", port, database, "nats", directory)


def in_front(database, front, port, database_port, scheme, directory):
    script = IN_FRONT.format(directory=shlex.quote(str(directory)), database=database)
    return ["bash", "-c", script, front, str(database_port), program(front), str(port),
            f"{scheme}://127.0.0.1:{database_port}"]


def found(program):
    if program == "aiohttp":
        python_with_aiohttp.cache_clear()
        return python_with_aiohttp() is not None
    return shutil.which(program) is not None


@functools.cache
def python_with_aiohttp():
    """Debian's packages are for its own Python, which need not be the one that runs this."""
    has_it = lambda python: subprocess.run([python, "-c", "import aiohttp"], stderr=subprocess.DEVNULL).returncode == 0
    pythons = (python for python in [sys.executable, "/usr/bin/python3"] if Path(python).exists())
    return next(filter(has_it, pythons), None)


def aiohttp_version():
    code = "import aiohttp, platform\ntry: import uvloop; on = ', uvloop ' + uvloop.__version__\nexcept ImportError: " \
           "on = ''\nprint(aiohttp.__version__ + on + ', Python ' + platform.python_version())"
    return first_line(python_with_aiohttp(), "-c", code)


@functools.cache
def nats_version():
    return number(first_line("nats-server", "--version"))


def nats_syncs():
    return tuple(map(int, nats_version().split(".")[:2])) >= NATS_THAT_SYNCS


def locked(crate):
    lock = (rig.HERE / "peers/Cargo.lock").read_text()
    return re.search(rf'^name = "{crate}"\nversion = "(.*)"', lock, re.M)[1]


def number(text):
    return re.search(r"\d+(\.\d+)+", text)[0]


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().splitlines()[0]
