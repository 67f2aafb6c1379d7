#!/usr/bin/env bash
# PyPI's package uuid7 makes UUIDs that call themselves version 7 and say, read by RFC 9562, that
# now is the year 2203.
#
# Packages: PyPI uuid7 0.1.0 (module uuid_extensions), uuid6 2025.0.1; npm uuid 14.0.3.
# Ran with: Node.js 20.20.2, Python 3.11.7, 2026-11-30.
#
# RFC 9562, section 5.7: the first 48 bits of a UUIDv7 are the milliseconds since 1970. Databases
# partition and prune by them, and sort by them what different programs have made.
#
# Expected: uuid7() of a package with that name has the milliseconds of now there.
#
# Seen: uuid7 0.1.0, the newest release, follows draft 02 of 2021: 36 bits of whole seconds, then
# fractions of one. Version and variant are those of the RFC, so nothing tells the two apart. Read
# by the RFC, the time is 4.096 times as far from 1970 as now is; from 2026 that leads to 2203. The
# package's own documentation names the draft. Whoever sorts ids of it together with ids by the RFC
# has all of the former behind all of the latter, and a partition for their day is never made. uuid6
# of PyPI and uuid of npm have the milliseconds of now.
#
#| PyPI uuid7  version 7  first 36 bits as s: now  first 48 bits as ms: 4.096 times now
#| PyPI uuid6  version 7  first 36 bits as s: -    first 48 bits as ms: now
#| npm uuid    version 7  first 36 bits as s: -    first 48 bits as ms: now
set -euo pipefail

finding=$(realpath "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
install() { "$@" >install.log 2>&1 || { cat install.log >&2 && exit 2; }; }
install python3 -m venv python
install python/bin/pip install uuid7==0.1.0 uuid6==2025.0.1
install npm install --prefix . --no-audit --no-fund uuid@14.0.3

cat >ask.py <<'PYTHON'
import subprocess
import time
import uuid

import uuid6
import uuid_extensions

NPM = ["node", "--input-type=module", "--eval", "import { v7 } from 'uuid'; console.log(v7())"]


def by_npm():
    return uuid.UUID(subprocess.run(NPM, check=True, capture_output=True, text=True).stdout.strip())


MAKERS = {"PyPI uuid7": uuid_extensions.uuid7, "PyPI uuid6": uuid6.uuid7, "npm uuid": by_npm}
for name, make in MAKERS.items():
    before = time.time()
    made = make()
    after = time.time()

    def is_now(seconds, unit):
        return before - unit <= seconds <= after + unit

    milliseconds = made.int >> 80
    seconds = "now" if is_now(made.int >> 92, 1) else "-"
    if is_now(milliseconds / 1000, 0.001):
        read = "now"
    elif is_now(milliseconds / 1000 / 4.096, 0.001):
        read = "4.096 times now"
    else:
        read = str(milliseconds)
    print(
        f"{name:10}  version {made.version}  first 36 bits as s: {seconds:4}"
        f" first 48 bits as ms: {read}"
    )
PYTHON
python/bin/python ask.py >output

sed -n 's/^#| //p' "$finding" | diff - output || {
  echo "it is not as described any more" >&2
  exit 1
}
echo "as described: uuid7 0.1.0 follows a draft"
