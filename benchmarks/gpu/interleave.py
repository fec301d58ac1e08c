"""Measures ours and the peers in turn: case by case ours, then the peers; and all of it again while there is time.

    python3 interleave.py --panamoe FOLDER/panamoe --to FILE --seconds 280

What a machine gives changes within minutes with its heat and its power: only numbers of one run are compared. The file is
written anew after each case; a round begins only if the last one's time is left.
"""

import argparse
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

import cases

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST_ANSWER, ANSWER = 90, 60  # seconds that peers may take: the first time they load and compile
OURS = 60


class Peers:
    """peers.py serve, started anew where it died or was too slow."""

    def __init__(self, command):
        self.command = command
        self.process = None

    def ask(self, name, deadline):
        """Results for a case; a result that says why there are none."""
        try:
            fresh = self.process is None or self.process.poll() is not None
            if fresh:
                self.close()
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.process.stdin.write(f"{name}\n".encode())
            self.process.stdin.flush()
            line = self._line(min(deadline, time.monotonic() + (FIRST_ANSWER if fresh else ANSWER)))
            return json.loads(line)
        except (OSError, ValueError) as e:
            self.close()
            return [{"name": "peers by PyTorch", "absent": f"{e}"}]

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None

    def _line(self, deadline):
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise OSError("no answer in time")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise OSError(f"ended with exit code {self.process.wait()}")
            line += piece
        return line


def times(metrics):
    """Microseconds of a call by the host's clock and, if there is one, by the device's: the medians of JMH's iterations,
    and how many there are."""
    def values(metric):
        return [value for fork in metric["rawData"] for value in fork]

    rates = values(metrics["primaryMetric"])  # calls in a microsecond
    device = values(metrics["secondaryMetrics"]["deviceSeconds"])  # seconds in a microsecond
    host_us = statistics.median(1 / rate for rate in rates)
    device_us = statistics.median(1e6 * seconds / rate for seconds, rate in zip(device, rates, strict=True))
    return host_us, device_us, len(rates)


def why(output):
    """What a failed run of JMH says, in one line."""
    found = re.search(r"^\S*(?:Exception|Error): (.+)$", output, re.MULTILINE)
    if found:
        return found.group(1).strip()[:300]
    lines = output.strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def ours(panamoe, backend, options, given, deadline):
    """One case by JMH, in a JVM of its own, so that a crash costs no other case."""
    name = f"panamoe {backend}" + (f" {options}" if options else "")
    tensor = "math=tensor" in options
    benchmark, params = given.jmh(tensor)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "jmh.json")
        command = [panamoe, "jmh", f"{benchmark}$", "-f", "0", "-bm", "thrpt", "-tu", "us"]
        command += ["-wi", "1", "-w", "200ms", "-i", "5", "-r", "100ms", "-rf", "json", "-rff", file]
        if options:
            command += ["-p", f"options={options}"]
        for key, value in {"backend": backend, **params}.items():
            command += ["-p", f"{key}={value}"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=max(1, min(OURS, deadline - time.monotonic())), errors="replace", text=True)
        except subprocess.TimeoutExpired:
            return {"name": name, "absent": "no result in time"}
        except OSError as e:
            return {"name": name, "absent": f"{e}"}
        try:
            with open(file) as f:
                host_us, device_us, runs = times(json.load(f)[0])
        except (OSError, ValueError, LookupError, ZeroDivisionError):
            return {"name": name, "absent": why(done.stdout)}
    result = {"name": name, "runs": runs, "bytes": given.our_bytes(tensor)}
    if device_us > 0:
        return {**result, "us": device_us, "host_us": host_us}
    return {**result, "us": host_us, "note": "by the host's clock: with launch and wait"}


def measure(options, known, write):
    """Rounds over all cases until the time is up. write is called with what there is after each case."""
    deadline = time.monotonic() + options.seconds
    measured = {"backend": options.backend, "rounds": 0, "results": []}
    peers = Peers([sys.executable, os.path.join(HERE, "peers.py"), "serve"])
    try:
        while measured["rounds"] < options.rounds:
            began = time.monotonic()
            for given in known:
                if time.monotonic() >= deadline:
                    measured["stopped"] = f"time was up before {given.name} of round {measured['rounds'] + 1}"
                    return measured
                found = [ours(options.panamoe, options.backend, more, given, deadline) for more in options.options]
                found += peers.ask(given.name, deadline)
                for result in found:
                    measured["results"].append({"case": given.name, "round": measured["rounds"] + 1, **result})
                write(measured)
                print(f"{given.name}: " + ", ".join(told(result) for result in found), file=sys.stderr, flush=True)
            measured["rounds"] += 1
            if time.monotonic() + (time.monotonic() - began) > deadline:
                return measured
        return measured
    finally:
        peers.close()
        write(measured)


def told(result):
    return f"{result['name']} {result['us']:.1f} us" if "us" in result else f"{result['name']} absent"


def write_json(file, value):
    """A reader never sees half of it."""
    with open(file + ".part", "w") as f:
        json.dump(value, f, indent=1)
    os.replace(file + ".part", file)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panamoe", required=True, help="the bundle's program")
    parser.add_argument("--to", required=True, help="file for the results, JSON")
    parser.add_argument("--seconds", type=float, default=280, help="for all of it")
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--backend", default="cuda")
    parser.add_argument(
        "--options", action="append", help="of the back end; several times for several of ours; both kinds of math for cuda")
    parser.add_argument("--only", default="", help="cases whose name has this regular expression")
    options = parser.parse_args(arguments)
    options.options = options.options or (["math=tensor", "math=exact"] if options.backend == "cuda" else [""])
    return options


def main(arguments):
    options = parse(arguments)
    known = [given for given in cases.CASES if re.search(options.only, given.name)]
    measure(options, known, lambda measured: write_json(options.to, measured))


if __name__ == "__main__":
    main(sys.argv[1:])
