"""Stands where the SDK's runtime is in an image, for runs that are started a thousand times: speaks its protocol, and
starts in a hundredth of its time. Python's standard library only; it runs inside of a sandbox.

``WORK`` says what to do: ``{"value": int, "calls": [action, …], "fails": int}``. Its value and those of its calls are
added up. Every execution leaves a byte in a file of the run's ``meta``, which the host can count.
"""

import http.client
import json
import os
import sys
import urllib.parse

SERVICE = "/flyteidl2.actions.ActionsService/"
HEADERS = {"Connect-Protocol-Version": "1"}
END = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")


def field(number, data):
    return bytes([number << 3 | 2, len(data)]) + data


def outputs(value):
    """A serialized ``flyteidl2.task.Outputs`` of one integer, ``o0``."""
    digits = bytearray([8])
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return field(1, field(1, b"o0") + field(2, field(1, field(1, bytes(digits)))))


def value_of(data):
    value = shift = 0
    for byte in data[13:]:
        value |= (byte & 127) << shift
        shift += 7
    return value


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


class Service:
    def __init__(self):
        self.url = urllib.parse.urlsplit(os.environ["_U_EP_OVERRIDE"])

    def ask(self, method, kind, body):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port)
        connection.request("POST", self.url.path + SERVICE + method, body, {**HEADERS, "Content-Type": kind})
        return connection.getresponse()

    def enqueue(self, action):
        answer = self.ask("Enqueue", "application/json", json.dumps({"action": action}).encode())
        said = answer.read()
        if answer.status != 200 and b"already_exists" not in said:
            raise SystemExit(f"enqueue: {answer.status} {said!r}")

    def ended(self, parent, names):
        """Name → the last update of each of ``names``, once all have ended."""
        body = json.dumps({"parentActionId": parent}).encode()
        stream = self.ask("WatchForUpdates", "application/connect+json", b"\0" + len(body).to_bytes(4, "big") + body)
        found = {}
        while not names <= found.keys():
            head = stream.read(5)
            if len(head) < 5 or head[0] & 2:
                raise SystemExit("the watch ended")
            update = json.loads(stream.read(int.from_bytes(head[1:], "big"))).get("actionUpdate")
            if update and update["phase"].replace("ACTION_PHASE_", "") in END:
                found[update["actionId"]["name"]] = update
        return found


def main():
    work = json.loads(os.environ["WORK"])
    name, run = os.environ["ACTION_NAME"], os.environ["RUN_NAME"]
    base, into = os.environ["_U_RUN_BASE"], option("--outputs-path")
    with open(base + "/executed-" + name, "ab") as f:
        f.write(b".")
    if int(os.environ["FLYTE_ATTEMPT_NUMBER"]) < work.get("fails", 0):
        with open(into + "/error.pb", "wb") as f:
            f.write(bytes.fromhex(work["error"]))
        return
    value, service = work["value"], Service()
    for action in work.get("calls", ()):
        called = action["actionId"]["name"]
        os.makedirs(base + "/" + called, exist_ok=True)
        with open(base + "/" + called + "/inputs.pb", "wb"):
            pass
        action["actionId"]["run"]["name"] = run
        service.enqueue({**action, "parentActionName": name, "inputUri": base + "/" + called + "/inputs.pb"})
    if work.get("calls"):
        own = {**work["calls"][0]["actionId"], "name": name}
        ended = service.ended(own, {a["actionId"]["name"] for a in work["calls"]})
        for update in ended.values():
            if not update["phase"].endswith("SUCCEEDED"):
                raise SystemExit(f"{update['actionId']['name']}: {update}")
            with open(update["outputUri"] + "/outputs.pb", "rb") as f:
                value += value_of(f.read())
    with open(into + "/outputs.pb", "wb") as f:
        f.write(outputs(value))


main()
