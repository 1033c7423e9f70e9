"""Writes the comparison as a page of Markdown: the charts, where it was measured, tables, and how to read them."""
import statistics

import rig

READING = """
Each server runs alone on one core, wrk on another. wrk sends the next request of a connection when the answer is there,
so requests/s is what a server can do, and latency what it has at that: with so many connections, not at a rate that it
carries easily. Every figure is a median of rounds; a ratio is taken round by round, with the lowest and the highest
beside it, so that a machine that drifts does so for both sides. Absolute figures are those of this machine.

- CPU us: user and system time of the server's whole process tree for each request, with what it does after the answer.
  The kernel's own threads, such as those that write to the disk, are nobody's. Where requests/s times that is more than
  a second, some of the work was done after the last answer: Hookline's journal holds what waits for it, and the queue
  of the others 65,536 bodies, then they wait.
- The floor is one recv and one send, nothing parsed (`loadtest/floor.c`). It is quicker than wrk, so its requests/s are
  wrk's, as are those of all that come near it, and the ratio of CPU time is the better one to look at.
- Hookline is the whole server: it checks, writes its journal, parses, sorts out repeats and delivers to a file, in both
  modes. The others parse and no more, and nginx and HAProxy not even that; those with a database have stored the body
  and parsed nothing.
- failed: answers other than 2xx, which count neither in requests/s nor in the CPU time of one, and connections that
  broke or timed out, in all rounds together.
- p50, p99 and p99.9 are microseconds until the answer; RSS is the most memory that was resident.
- disk us: the median of 4 KiB written over zeros and `fdatasync`, taken before each measurement. What `stored` and the
  databases cost means nothing without it.
"""

MESSAGES = {True: "Each message has an id of its own.", False: "All messages are the same bytes."}


def page(record, images):
    """The whole page."""
    lines = ["# Hookline beside other servers", "",
             "Written by `loadtest/compare`, which reproduces it; each round is in [`results.json`](results.json).", ""]
    lines += [f"![{image.removesuffix('.svg')}]({image})" for image in images]
    lines += ["", "## Where", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in record["machine"].items()]
    parts = record["parts"].values()
    servers = {name: about for part in parts for name, about in part["servers"].items()}
    lines += ["", "## Who", "", "| | version | what a 200 means, and what is done |", "|---|---|---|"]
    lines += [f"| {about['label']} | {about['version']} | {about['does']} |" for about in servers.values()]
    lines += ["", "## How to read it", READING.rstrip()]
    for part in parts:
        lines += section(part)
    return "\n".join(lines) + "\n"


def section(part):
    disk, results = part["fdatasync"], part["results"]
    lines = ["", f"## {part['title']}", "",
             f"{part['date']}, commit {part['commit']}: `{part['command']}`, rounds: {part['rounds']}, of "
             f"{part['seconds']} s. {MESSAGES[part['new']]} fdatasync took {disk['p50']:.0f} us at p50, "
             f"{disk['p99']:.0f} us at p99 beforehand."]
    missing = {**part["left_out"], **part["failed"]}
    for server, why in missing.items():
        lines += ["", f"Left out: {server}: {why}."]
    for connections in map(str, part["connections"]):
        lines += table(part, connections)
        if {"received", "signed"} <= set(results):
            both = zip(results["signed"][connections], results["received"][connections])
            adds = sorted(signed["cpu"] - unsigned["cpu"] for signed, unsigned in both)
            lines += ["", f"The signature adds {statistics.median(adds):.2f} us of CPU to a request "
                      f"({adds[0]:.2f} to {adds[-1]:.2f})."]
    return lines


def table(part, connections):
    label = lambda server: part["servers"][server]["label"]
    baseline = next(iter(part["results"]))
    lines = ["", f"| {connections} connections | req/s | to {baseline} | CPU us | to {baseline} | p50 | p99 | p99.9 "
             "| RSS MiB | failed | disk us |", "|---|" + "--:|" * 10]
    median = lambda server, key: statistics.median(figures[key] for figures in part["results"][server][connections])
    for server in sorted(part["results"], key=lambda server: -median(server, "rate")):
        rounds = part["results"][server][connections]
        versus = [ratio(rounds, part["results"][baseline][connections], key) for key in ("rate", "cpu")]
        # wrk loses the highest percentiles of pipelined requests and says 0.
        percentiles = [f"{median(server, key):,.0f}" if all(figures[key] for figures in rounds) else "-"
                       for key in ("p50", "p99", "p999")]
        failed = sum(figures["refused"] + figures["socket"] for figures in rounds)
        name = f"**{label(server)}**" if part["servers"][server]["kind"] == "hookline" else label(server)
        cells = [name, f"{median(server, 'rate'):,.0f}", versus[0], f"{median(server, 'cpu'):.2f}", versus[1],
                 *percentiles, f"{median(server, 'rss'):,.0f}", f"{failed:,}", f"{median(server, 'disk'):.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def ratio(mine, theirs, key):
    found = rig.ratios(mine, theirs, key)
    return f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})" if found else "-"
