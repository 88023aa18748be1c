#!/usr/bin/python3
"""Writes a key every few milliseconds with the credentials that the `db` relation delivered, and checks later
that every acknowledged write is still there.

    writer.py write DIRECTORY   until DIRECTORY/stop exists; then prints a summary as one JSON document
    writer.py verify DIRECTORY  compares every acknowledged write with what etcd holds; prints a summary

DIRECTORY holds endpoints, ca.crt, client.crt, client.key as the charm wrote them; they are read again whenever they
change, as a consumer does. A write that is not acknowledged by one endpoint is tried at the next: the value of a key
depends on its number alone, so writing it twice is the same as once.
"""
import base64
import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse

INTERVAL_S = 0.010
# A member that was just removed keeps a request for seconds; a consumer that cares goes elsewhere.
REQUEST_S = 0.4
# How much longer than the machine's control etcd and its client may be held up by the same cause.
HELD_UP_TIMES = 3
FILES = ("endpoints", "ca.crt", "client.crt", "client.key")


class Machine:
    """A control beside etcd: how long this machine itself holds up who sleeps a moment and syncs a byte to the disk.

    What etcd needs for one write takes several such moments, so a pause is etcd's own only beyond a multiple of this.
    """

    PAUSE_S = 0.05
    NORMAL_S = 0.1

    def __init__(self, path):
        self.total, self.began = 0.0, time.monotonic()
        threading.Thread(target=self.probe, args=(path,), daemon=True).start()

    def probe(self, path):
        with open(path, "wb", buffering=0) as file:
            while True:
                self.began = time.monotonic()
                time.sleep(self.PAUSE_S)
                os.pwrite(file.fileno(), b"x", 0)
                os.fdatasync(file.fileno())
                self.total += max(0.0, time.monotonic() - self.began - self.NORMAL_S)

    def held_up(self):
        """Seconds since the start, the present moment included."""
        return self.total + max(0.0, time.monotonic() - self.began - self.NORMAL_S)


class Pauses:
    """Between acknowledged writes. The worst is the one that the machine explains least."""

    def __init__(self, machine):
        self.machine, self.last, self.before = machine, time.monotonic(), machine.held_up()
        self.worst = {"worst-gap-ms": 0, "worst-gap-at": 0, "held-up-ms": 0}

    def end(self, number):
        now, held_up = time.monotonic(), self.machine.held_up()
        gap = {"worst-gap-ms": round((now - self.last) * 1000), "worst-gap-at": number,
               "held-up-ms": round((held_up - self.before) * 1000)}
        if unexplained(gap) > unexplained(self.worst):
            self.worst = gap
        self.last, self.before = now, held_up


def unexplained(gap):
    return gap["worst-gap-ms"] - HELD_UP_TIMES * gap["held-up-ms"]


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def key(number):
    return f"writer/{number:08d}"


def value(number):
    return f"value-{number}"


class Cluster:
    """The endpoints, with one kept connection each."""

    def __init__(self, directory):
        self.directory = directory
        self.stamp = None
        self.connections = {}
        self.endpoints = []
        self.at = 0
        self.refresh()

    def path(self, name):
        return os.path.join(self.directory, name)

    def refresh(self):
        stamp = tuple(os.stat(self.path(name)).st_mtime_ns for name in FILES)
        if stamp == self.stamp:
            return
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        context.load_cert_chain(self.path("client.crt"), self.path("client.key"))
        with open(self.path("endpoints"), encoding="utf-8") as file:
            self.endpoints = file.read().strip().split(",")
        self.context, self.stamp = context, stamp
        self.connections = {}

    def post(self, call, document, patience=REQUEST_S):
        """One request to the present endpoint; moves on to the next one when it fails."""
        endpoint = self.endpoints[self.at % len(self.endpoints)]
        try:
            if endpoint not in self.connections:
                address = urllib.parse.urlsplit(endpoint)
                self.connections[endpoint] = http.client.HTTPSConnection(
                    address.hostname, address.port, timeout=patience, context=self.context)
            connection = self.connections[endpoint]
            connection.request("POST", "/v3/kv/" + call, json.dumps(document))
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"{response.status} {body[:200]!r}")
            return json.loads(body)
        except (OSError, http.client.HTTPException, ValueError):
            self.connections.pop(endpoint, None)
            self.at += 1
            raise


def write(directory):
    cluster = Cluster(directory)
    number, refused = 0, {}
    pauses = Pauses(Machine(os.path.join(directory, "control")))
    with open(os.path.join(directory, "acknowledged"), "w", encoding="utf-8", buffering=1) as acknowledged:
        while not os.path.exists(os.path.join(directory, "stop")):
            started = time.monotonic()
            try:
                cluster.refresh()
                cluster.post("put", {"key": encoded(key(number)), "value": encoded(value(number))})
            except (OSError, http.client.HTTPException, ValueError) as error:
                what = f"{type(error).__name__}: {error}"[:120]
                refused[what] = refused.get(what, 0) + 1
                # The very next endpoint may answer; only a full round without one deserves a pause.
                if cluster.at % len(cluster.endpoints) == 0:
                    time.sleep(0.02)
                continue
            pauses.end(number)
            acknowledged.write(f"{number}\n")
            number += 1
            time.sleep(max(0.0, INTERVAL_S - (time.monotonic() - started)))
    pauses.end(number)
    worst = {**pauses.worst, "unexplained-ms": unexplained(pauses.worst)}
    print(json.dumps({"acknowledged": number, **worst, "refused": refused}))


def verify(directory):
    cluster = Cluster(directory)
    with open(os.path.join(directory, "acknowledged"), encoding="utf-8") as file:
        wanted = [int(line) for line in file]
    missing = []
    for start in range(0, len(wanted), 1000):
        numbers = wanted[start:start + 1000]
        answer = None
        for _ in range(20):
            try:
                answer = cluster.post("range", {"key": encoded(key(numbers[0])),
                                                "range_end": encoded(key(numbers[-1] + 1))}, patience=5)
                break
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.2)
        if answer is None:
            sys.exit("cannot read back: no endpoint answers")
        held = {item["key"]: item.get("value") for item in answer.get("kvs", [])}
        missing += [number for number in numbers if held.get(encoded(key(number))) != encoded(value(number))]
    print(json.dumps({"acknowledged": len(wanted), "missing": missing[:20], "missing-count": len(missing)}))


if __name__ == "__main__":
    {"write": write, "verify": verify}[sys.argv[1]](sys.argv[2])
