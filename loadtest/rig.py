"""What the programs of this directory share: a server on one core, wrk on another, and what each of them cost.

Measured is one server at a time, with a directory of its own that is gone afterwards. wrk warms it up for a second, the
server catches up with what it was given, and the disk is asked how quick it is: then the measurement begins. The CPU
time is that of the server's whole process tree, what it does after its answers included; what the kernel's own threads
do for it, such as writing to the disk, is nobody's.

Loopback only, and only what was started here is ended, by its number.
"""
import argparse
import hashlib
import hmac
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECRET = b"the secret of the load test"
# The journal writes its first segments to their full size before it is quiet.
SETTLE_SECONDS_MAX = 15
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 15
PROBE_WRITES = 300
BLOCK = 4096
# From where messages are counted, in ten digits that fit 32 bits: none of the warm-up comes again.
FIRST, FIRST_AFTER_WARM_UP = 1_000_000_000, 1_500_000_000


class Failed(SystemExit):
    """A server or wrk did not do its part: the end, unless somebody can do without."""


def one_of(known, word):
    if word not in known:
        raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(known)}")
    return word


def progress(text):
    print(text, file=sys.stderr, flush=True)


def allow_files(connections):
    """Both ends of every connection are files of processes that inherit this limit."""
    needed = connections + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            sys.exit(f"{connections} connections need {needed} open files and the limit is {hard}: raise `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def need_wrk():
    if not shutil.which("wrk") and not install(["wrk"]):
        sys.exit("wrk is missing: install it, on Debian with `sudo apt-get install wrk`, and run this again")


def install(packages):
    """Whether all of these are there now; one that fails leaves the others alone."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    progress(f"installing {' '.join(packages)}")
    # Installed, and not started: Debian makes services of servers.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
    get = lambda *words: subprocess.run(["apt-get", "-qq", *words], env=quiet, stdout=subprocess.DEVNULL).returncode
    get("update")
    return not any([get("install", "-y", "--no-install-recommends", package) for package in packages])


def hookline_binary(options):
    """The program that was named, or the release build of what is checked out."""
    if options.binary:
        return options.binary.resolve()
    progress("building the release binary, if anything has changed")
    run_group(["cargo", "build", "--release", "--locked", "--quiet"])
    return target() / "release/hookline"


def target():
    return (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()


def run_group(command, **settings):
    """To its end; with its children, if this one ends before."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **settings)
    try:
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code:
        raise Failed(f"{shlex.join(map(str, command))} has failed")


def hookline(binary, mode, signed, port, directory):
    """Writes a configuration with a file sink, so that workers and sinks have their work, and gives the command."""
    proof = 'app_secret = { env = "LOADTEST_SECRET" }' if signed else "accept_unsigned = true"
    (directory / "hookline.toml").write_text(f"""
[server]
listen = "127.0.0.1:{port}"
[journal]
dir = "{directory}/journal"
[admin]
listen = "off"
[[endpoint]]
path = "/webhook"
provider = "meta"
{proof}
ack = "{mode}"
[[sink]]
name = "events"
type = "file"
path = "{directory}/events.ndjson"
""")
    return [str(binary), "serve", "--config", f"{directory}/hookline.toml"]


def pick_cores(options):
    available = sorted(os.sched_getaffinity(0))
    server = available[0] if options.server_core is None else options.server_core
    wrk = options.wrk_core
    if wrk is None:
        others = [core for core in available if core != server]
        wrk = others[0] if others else server
    if wrk == server:
        progress("THERE IS ONE CORE for server and wrk: requests/s and latency are those of both together; only the "
                 "CPU time of the server means something")
    else:
        progress(f"server on core {server}, wrk on core {wrk}")
    return server, wrk


def warn_about_memory(directory):
    """In a file system without a disk fdatasync does nothing."""
    kind = file_system(directory)[1]
    if kind in ("tmpfs", "ramfs"):
        progress(f"{directory} is {kind}: nothing is stored there; choose a disk with --dir")


def file_system(directory):
    """Its device, kind and options."""
    # The mount that comes last among those with the longest matching path.
    mounts = [line.split()[:4] for line in Path("/proc/mounts").read_text().splitlines()]
    holds = lambda path: path == "/" or f"{directory}/".startswith(f"{path}/")
    found = max((len(path), index) for index, (_, path, _, _) in enumerate(mounts) if holds(path))
    device, _, kind, settings = mounts[found[1]]
    return device, kind, settings


def probe_disk(directory, writes=PROBE_WRITES):
    """Microseconds, sorted, of what a commit asks of the disk: a block written over zeros, then fdatasync."""
    path = directory / "probe"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, bytes(writes * BLOCK), 0)
        os.fsync(file)
        block, times = b"x" * BLOCK, []
        for index in range(writes):
            started = time.perf_counter()
            os.pwrite(file, block, index * BLOCK)
            os.fdatasync(file)
            times.append((time.perf_counter() - started) * 1e6)
    finally:
        os.close(file)
        path.unlink()
    return sorted(times)


def percentile(ordered, share):
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def measure_one(seconds, script, connections, command, cores, work, new=False):
    """The figures of one server, which `command` starts on a port and in a directory; `new` as `wrk` has it."""
    directory = Path(tempfile.mkdtemp(dir=work))
    try:
        port = free_port()
        server = Server(command(port, directory), port, cores[0], directory)
        try:
            wrk(1, script, connections, port, cores[1], first=FIRST if new else None)
            server.settle()
            # What earlier servers left to be written would be this one's to wait for.
            os.sync()
            disk = probe_disk(directory)
            cpu = server.cpu()
            figures = wrk(seconds, script, connections, port, cores[1], first=FIRST_AFTER_WARM_UP if new else None)
            server.settle()
            figures["cpu"] = (server.cpu() - cpu) * 1e6 / max(figures["requests"] - figures["refused"], 1)
            figures |= {"rss": server.rss(), "disk": statistics.median(disk), "disk99": percentile(disk, 0.99)}
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return figures


def wrk(seconds, script, connections, port, core, first=None):
    """With `first`, ten digits, each message has an id of its own, counted from there; without it all are the same."""
    body = (ROOT / "src/rig/samples/text.json").read_bytes()
    signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    environment = {**os.environ, "SIGNATURE": signature}
    if first is not None:
        environment["FIRST"] = str(first)
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
               "-s", str(HERE / f"{script}.lua"), f"http://127.0.0.1:{port}/webhook"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds + 30)
    line = re.search(r"^FIGURES (.*)$", done.stdout, re.M)
    if not line:
        raise Failed(f"wrk has failed: {done.stdout}{done.stderr}")
    figures = {key: int(value) for key, value in (pair.split("=") for pair in line[1].split())}
    figures["rate"] = (figures["requests"] - figures["refused"]) / (figures["duration"] / 1e6)
    return figures


def ratios(mine, theirs, key):
    """Round by round, so that a machine that drifts drifts out of it: the median, the lowest and the highest."""
    each = sorted(my[key] / their[key] for my, their in zip(mine, theirs) if their[key])
    return (statistics.median(each), each[0], each[-1]) if each else None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


class Server:
    """A process tree of ours, on one core."""

    def __init__(self, command, port, core, directory):
        self.log = directory / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env={**os.environ, "LOADTEST_SECRET": SECRET.decode()}, start_new_session=True)
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not self.answers(port):
                if self.has_ended() or time.monotonic() > deadline:
                    log = self.log.read_text(errors="replace")[-2000:]
                    raise Failed(f"{shlex.join(command)} did not start:\n{log}")
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def has_ended(self):
        # WNOWAIT leaves it in the table of processes, so that its number is nobody else's before `stop` is done.
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def answers(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        except OSError:
            return False

    def tree(self, process=None):
        process = process or self.process.pid
        yield process
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in read(children).split():
                yield from self.tree(int(child))

    def cpu(self):
        """Seconds on a core, of all threads of all processes."""
        threads = (path for process in self.tree() for path in Path(f"/proc/{process}/task").glob("*/schedstat"))
        return sum(int((read(path).split() or [0])[0]) for path in threads) / 1e9

    def written(self):
        """Octets on the way to the disk so far."""
        fields = (re.search(r"^write_bytes: (\d+)", read(f"/proc/{process}/io"), re.M) for process in self.tree())
        return sum(int(field[1]) for field in fields if field)

    def rss(self):
        """The most MiB that were resident, summed over the processes."""
        fields = (re.search(r"^VmHWM:\s+(\d+)", read(f"/proc/{process}/status"), re.M) for process in self.tree())
        return sum(int(field[1]) for field in fields if field) / 1024

    def settle(self):
        """Waits until it has caught up: no work for 0.2 s, for a bounded time."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        cpu, written = self.cpu(), self.written()
        while time.monotonic() < deadline:
            time.sleep(0.2)
            last, (cpu, written) = (cpu, written), (self.cpu(), self.written())
            if cpu - last[0] < 0.005 and written - last[1] < 1 << 20:
                return

    def stop(self):
        """Ends the session that the server leads, which holds nothing else."""
        os.killpg(self.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
