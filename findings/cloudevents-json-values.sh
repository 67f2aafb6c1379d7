#!/usr/bin/env bash
# The CloudEvents SDKs for JavaScript and Python lose, or change, JSON data that is neither an
# object nor a text: 0 and false vanish, numbers become texts, lists are written in Python's syntax.
#
# Packages: npm cloudevents 10.0.0; PyPI cloudevents 2.2.0.
# Ran with: Node.js 20.20.2, Python 3.11.7, 2026-11-30.
#
# CloudEvents 1.0, JSON format, section 3.1: `data` of an event whose datacontenttype is JSON is a
# JSON value of any type. HTTP binding, section 3.1: in binary mode the body is that value, in the
# encoding that datacontenttype names.
#
# Expected: both SDKs read the same value out of a structured and out of a binary message, and write
# a body that is JSON and that value again.
#
# Seen, with datacontenttype application/json:
#   - JavaScript takes `"data": 0` and `"data": false` of a structured message for no data at all.
#   - JavaScript reads 17, 0, true and false in a binary message as the texts "17", "0", "true",
#     "false", so that a number is one type in one mode and another in the other.
#   - Python reads all of them, and writes lists and booleans into a binary message by str(): true
#     is `True`, and a list of objects has single quotes. That is not JSON. An event that came as a
#     structured message is broken by forwarding it as a binary one.
#   - Both write a text without its quotes into a binary message, which is not JSON either.
#
#| SDK         data       structured, read  binary, read  binary, written
#| JavaScript  {"a":1}    {"a":1}           {"a":1}       {"a":1}
#| JavaScript  [{"a":1}]  [{"a":1}]         [{"a":1}]     [{"a":1}]
#| JavaScript  17         17                "17"          17
#| JavaScript  0          nothing           "0"           0
#| JavaScript  true       true              "true"        true
#| JavaScript  false      nothing           "false"       false
#| JavaScript  "text"     "text"            "text"        text
#| Python      {"a":1}    {"a":1}           {"a":1}       {"a": 1}
#| Python      [{"a":1}]  [{"a":1}]         [{"a":1}]     [{'a': 1}]
#| Python      17         17                17            17
#| Python      0          0                 0             0
#| Python      true       true              true          True
#| Python      false      false             false         False
#| Python      "text"     "text"            "text"        text
set -euo pipefail

finding=$(realpath "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
install() { "$@" >install.log 2>&1 || { cat install.log >&2 && exit 2; }; }
install python3 -m venv python
install python/bin/pip install cloudevents==2.2.0
install npm install --prefix . --no-audit --no-fund cloudevents@10.0.0

# Both read JSON values, one a line.
cat >ask.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { CloudEvent, HTTP } from "cloudevents";

const attributes = { specversion: "1.0", id: "1", source: "/s", type: "t" };
const binary = { "content-type": "application/json" };
for (const [name, value] of Object.entries(attributes)) binary[`ce-${name}`] = value;

for (const text of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const event = { ...attributes, datacontenttype: "application/json", data: JSON.parse(text) };
  const structured = { "content-type": "application/cloudevents+json" };
  const read = [
    HTTP.toEvent({ headers: structured, body: JSON.stringify(event) }),
    HTTP.toEvent({ headers: binary, body: text }),
  ].map(({ data }) => (data === undefined ? "nothing" : JSON.stringify(data)));
  const { body } = HTTP.binary(new CloudEvent(event));
  console.log(["JavaScript", text, ...read, body].join("\t"));
}
JAVASCRIPT
cat >ask.py <<'PYTHON'
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
BINARY = {"content-type": "application/json"}
BINARY |= {f"ce-{name}": value for name, value in ATTRIBUTES.items()}

for line in sys.stdin:
    text = line.strip()
    event = ATTRIBUTES | {"datacontenttype": "application/json"}
    structured = json.dumps(event | {"data": json.loads(text)}).encode()
    read = [
        from_http_event(HTTPMessage({"content-type": "application/cloudevents+json"}, structured)),
        from_http_event(HTTPMessage(BINARY, text.encode())),
    ]
    read = [json.dumps(each.get_data(), separators=(",", ":")) for each in read]
    body = to_binary_event(CloudEvent(event, json.loads(text))).body.decode()
    print("Python", text, *read, body, sep="\t")
PYTHON

printf '%s\n' '{"a":1}' '[{"a":1}]' 17 0 true false '"text"' >values
{
  printf 'SDK\tdata\tstructured, read\tbinary, read\tbinary, written\n'
  node ask.mjs <values
  python/bin/python ask.py <values
} >table
awk -F '\t' '{ printf "%-11s %-10s %-17s %-13s %s\n", $1, $2, $3, $4, $5 }' table >output

sed -n 's/^#| //p' "$finding" | diff - output || {
  echo "it is not as described any more" >&2
  exit 1
}
echo "as described: JSON data changes on its way through two SDKs"
