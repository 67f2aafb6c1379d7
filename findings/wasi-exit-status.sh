#!/usr/bin/env bash
# A WASI program that ends with an exit status of 126 or more has one under Node.js, and none under
# wasmtime: there it is an error of the program like a trap.
#
# Packages: PyPI wasmtime 50.0.1; Node.js's own module node:wasi.
# Ran with: Node.js 20.20.2, Python 3.11.7, 2026-11-30. (The Rust crate wasmtime-wasi 48.0.8 has the
#           same bound in its source.)
#
# WASI preview 1: proc_exit(rval: exitcode), where exitcode is a u32; 0 is success, and what other
# values mean depends on the environment. A process on POSIX has a status from 0 to 255; by
# convention a shell's commands end with 126 and 127 for what cannot be run, and 128 + N for signal
# N: sys.exit(130) is usual.
#
# Expected: both runtimes tell the host the number that the program gave, at least up to 255.
#
# Seen: Node.js returns each, also 256. wasmtime raises ExitTrap with the code up to 125; from 126
# on it raises WasmtimeError, "exit with invalid exit status outside of [0..126)", without a code
# and with a backtrace. Who tells "the program ended" from "the program broke" by the exception
# mistakes the one for the other, and loses the number.
#
#| proc_exit(0)    Node.js: 0    wasmtime: ExitTrap 0
#| proc_exit(1)    Node.js: 1    wasmtime: ExitTrap 1
#| proc_exit(125)  Node.js: 125  wasmtime: ExitTrap 125
#| proc_exit(126)  Node.js: 126  wasmtime: error, exit with invalid exit status outside of [0..126)
#| proc_exit(127)  Node.js: 127  wasmtime: error, exit with invalid exit status outside of [0..126)
#| proc_exit(130)  Node.js: 130  wasmtime: error, exit with invalid exit status outside of [0..126)
#| proc_exit(255)  Node.js: 255  wasmtime: error, exit with invalid exit status outside of [0..126)
#| proc_exit(256)  Node.js: 256  wasmtime: error, exit with invalid exit status outside of [0..126)
set -euo pipefail

finding=$(realpath "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
install() { "$@" >install.log 2>&1 || { cat install.log >&2 && exit 2; }; }
install python3 -m venv python
install python/bin/pip install wasmtime==50.0.1
install node --version

cat >ask.py <<'PYTHON'
import subprocess

import wasmtime

NODE = ["node", "--no-warnings", "ask.mjs"]
PROGRAM = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const STATUS))))"""


def by_wasmtime(program):
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    instance = linker.instantiate(store, wasmtime.Module(engine, program))
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        return f"ExitTrap {end.code}"
    except wasmtime.WasmtimeError as error:
        return f"error, {str(error).strip().splitlines()[-1].strip()}"
    return "returned"


for status in [0, 1, 125, 126, 127, 130, 255, 256]:
    program = wasmtime.wat2wasm(PROGRAM.replace("STATUS", str(status)))
    with open("program.wasm", "wb") as file:
        file.write(program)
    node = subprocess.run(NODE, check=True, capture_output=True, text=True)
    call = f"proc_exit({status})"
    print(f"{call:14}  Node.js: {node.stdout.strip():3}  wasmtime: {by_wasmtime(program)}")
PYTHON
cat >ask.mjs <<'JAVASCRIPT'
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: ["program"], returnOnExit: true });
const module = new WebAssembly.Module(readFileSync("program.wasm"));
console.log(wasi.start(new WebAssembly.Instance(module, wasi.getImportObject())));
JAVASCRIPT
python/bin/python ask.py >output

sed -n 's/^#| //p' "$finding" | diff - output || {
  echo "it is not as described any more" >&2
  exit 1
}
echo "as described: wasmtime has no exit status from 126 on"
