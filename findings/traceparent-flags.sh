#!/usr/bin/env bash
# OpenTelemetry for JavaScript passes a valid traceparent on as one that neither it nor that for
# Python takes, where the flags are 10 (hex) or more.
#
# Packages: npm @opentelemetry/core 2.12.1 with @opentelemetry/api 1.9.1; PyPI opentelemetry-api
#           1.45.2.
# Ran with: Node.js 20.20.2, Python 3.11.7, 2026-11-30. (@opentelemetry/core 3.1.1 does the same.)
#
# W3C Trace Context: the flags are two hex digits. Bit 0 is "sampled" and, from level 2 on, bit 1 is
# "random". The other bits are reserved: who receives them ignores them, and a later version of the
# header may use them (section "Versioning of traceparent": of a higher version the flags are read
# as two hex digits). So a program that only passes a trace on may meet any of the 256 values.
#
# Expected: extract() and then inject() give the header back, with version 00 and flags of two
# digits, whichever bits are kept.
#
# Seen: the propagator of JavaScript keeps all eight bits, and writes "0" and the hex digits of the
# number: three digits from 10 on. Its own extract() and Python's then find no trace, so that it
# breaks off at the second program. Python keeps all bits too, and writes two digits. Both take
# version 01 with a further field, and neither takes that field with version 00.
#
#| JavaScript  00-IDS-01       writes 00-IDS-01  which JavaScript reads   and Python reads
#| JavaScript  00-IDS-03       writes 00-IDS-03  which JavaScript reads   and Python reads
#| JavaScript  00-IDS-10       writes 00-IDS-010 which JavaScript refuses and Python refuses
#| JavaScript  00-IDS-ff       writes 00-IDS-0ff which JavaScript refuses and Python refuses
#| JavaScript  01-IDS-11-extra writes 00-IDS-011 which JavaScript refuses and Python refuses
#| JavaScript  00-IDS-01-extra writes nothing
#| Python      00-IDS-01       writes 00-IDS-01  which JavaScript reads   and Python reads
#| Python      00-IDS-03       writes 00-IDS-03  which JavaScript reads   and Python reads
#| Python      00-IDS-10       writes 00-IDS-10  which JavaScript reads   and Python reads
#| Python      00-IDS-ff       writes 00-IDS-ff  which JavaScript reads   and Python reads
#| Python      01-IDS-11-extra writes 00-IDS-11  which JavaScript reads   and Python reads
#| Python      00-IDS-01-extra writes nothing
set -euo pipefail

finding=$(realpath "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
install() { "$@" >install.log 2>&1 || { cat install.log >&2 && exit 2; }; }
install python3 -m venv python
install python/bin/pip install opentelemetry-api==1.45.2
install npm install --prefix . --no-audit --no-fund \
  @opentelemetry/core@2.12.1 @opentelemetry/api@1.9.1

# Both: headers, one a line, to what extract() and inject() make of each; an empty line for nothing.
cat >pass.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { defaultTextMapGetter, defaultTextMapSetter, ROOT_CONTEXT } from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";

const propagator = new W3CTraceContextPropagator();
for (const traceparent of readFileSync(0, "utf8").trimEnd().split("\n")) {
  const written = {};
  const context = propagator.extract(ROOT_CONTEXT, { traceparent }, defaultTextMapGetter);
  propagator.inject(context, written, defaultTextMapSetter);
  console.log(written.traceparent ?? "");
}
JAVASCRIPT
cat >pass.py <<'PYTHON'
import sys

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

propagator = TraceContextTextMapPropagator()
for line in sys.stdin:
    written = {}
    propagator.inject(written, propagator.extract({"traceparent": line.strip()}))
    print(written.get("traceparent", ""))
PYTHON

JavaScript() { node pass.mjs; }
Python() { python/bin/python pass.py; }
ids=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331
headers=("00-$ids-01" "00-$ids-03" "00-$ids-10" "00-$ids-ff" "01-$ids-11-extra" "00-$ids-01-extra")
for writer in JavaScript Python; do
  mapfile -t written < <(printf '%s\n' "${headers[@]}" | "$writer")
  mapfile -t by_javascript < <(printf '%s\n' "${written[@]}" | JavaScript)
  mapfile -t by_python < <(printf '%s\n' "${written[@]}" | Python)
  for i in "${!headers[@]}"; do
    if [[ -n ${written[i]} ]]; then
      printf '%-11s %-15s writes %-10s which JavaScript %-7s and Python %s\n' "$writer" \
        "${headers[i]/$ids/IDS}" "${written[i]/$ids/IDS}" \
        "$([[ -n ${by_javascript[i]} ]] && echo reads || echo refuses)" \
        "$([[ -n ${by_python[i]} ]] && echo reads || echo refuses)"
    else
      printf '%-11s %-15s writes nothing\n' "$writer" "${headers[i]/$ids/IDS}"
    fi
  done
done >output

sed -n 's/^#| //p' "$finding" | diff - output || {
  echo "it is not as described any more" >&2
  exit 1
}
echo "as described: flags of three digits"
