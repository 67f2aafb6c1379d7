// What QuickJS lacks, or has frozen as it was when the component was built: entropy, a monotonic clock, timers, promises
// that are driven, `console`, text codecs and URLs. The build puts this module before all others.
import monotonic from "wasi:clocks/monotonic-clock@0.2.10";
import entropy from "wasi:random/random@0.2.10";
import logging from "wasmill:function/log@0.1.0";
import { formatted, shown } from "./inspect.js";
import { DrivenPromise, enqueue, forget, outcome, runJobs, takeUnhandled } from "./promise.js";
import { TextDecoder, TextEncoder } from "./text.js";
import { URL, URLSearchParams } from "./url.js";

// False while the component is built: what is drawn or read then is the same in every instance.
let isRunning = false;
let drawnTooEarly = 0;

/** Begins an execution. Nothing of another one is left; in the first, what the top level of modules began goes on. */
export function begin() {
  const isFirst = !isRunning;
  if (!isFirst) forget();
  for (const left of [timers, times, counts]) left.clear();
  origin ??= monotonic.now();
  isRunning = true;
  if (drawnTooEarly > 0) {
    report(
      "warn",
      `Math.random() was called while the component was built (${drawnTooEarly} times, at the top level of a module): those numbers are the same in every instance`,
    );
    drawnTooEarly = 0;
  }
  // As elsewhere, they run before the handler does. Not while the component is built: what they draw would be in every instance.
  if (isFirst) drain();
}

/** Ends an execution: its jobs are run, and its timers dropped. */
export function end() {
  // A handler that threw before its first `await` leaves jobs that settle promises which the next one may await.
  drain();
  for (const reason of takeUnhandled())
    report("error", `a promise was rejected and nobody awaited it: ${shown(reason)}`);
  if (timers.size > 0) report("info", `the handler ended before ${timers.size} of its timers: they were dropped`);
  forget();
  timers.clear();
}

/** Runs jobs and timers until `promise` has settled, and then the jobs that are left. */
export function settle(promise) {
  const awaited = DrivenPromise.resolve(promise);
  for (;;) {
    drain();
    const settled = outcome(awaited);
    if (settled) {
      if ("reason" in settled) throw settled.reason;
      return settled.value;
    }
    if (!fireNext()) {
      throw new Error(
        "the handler awaits a promise that can never settle: no timer and no job is left that could settle it",
      );
    }
  }
}

function drain() {
  runJobs((error) => report("error", `a job failed: ${shown(error)}`));
}

function report(level, message) {
  // While a component is built there is no host to log to.
  if (isRunning) logging.log(level, message.toWellFormed(), []);
}

function refuseWhileBuilt(name) {
  if (isRunning) return;
  throw new Error(
    `${name} was called while the component is built, at the top level of a module: every instance would have the same; call it in the handler`,
  );
}

// Timers, by number. Nothing else happens meanwhile, so that to wait is to let the host wait.

const timers = new Map();
let nextTimer = 1;
let origin;

function addTimer(name, callback, delay, every, values) {
  refuseWhileBuilt(name);
  if (typeof callback !== "function") throw new TypeError(`${name} takes a function`);
  const pause = Math.min(Math.max(Math.trunc(Number(delay)) || 0, every ? 1 : 0), 2 ** 31 - 1);
  const id = nextTimer++;
  timers.set(id, { at: performance.now() + pause, every: every ? pause : null, callback, values });
  return id;
}

function fireNext() {
  let next;
  for (const [id, timer] of timers) if (next === undefined || timer.at < timers.get(next).at) next = id;
  if (next === undefined) return false;
  const timer = timers.get(next);
  const wait = timer.at - performance.now();
  if (wait > 0) {
    const over = monotonic.subscribeDuration(Math.ceil(wait * 1e6));
    over.block();
    over[Symbol.dispose]();
  }
  if (timer.every === null) timers.delete(next);
  else timer.at = performance.now() + timer.every;
  try {
    timer.callback(...timer.values);
  } catch (error) {
    report("error", `a timer's function failed: ${shown(error)}`);
  }
  return true;
}

const setTimeout = (callback, delay, ...values) => addTimer("setTimeout", callback, delay, false, values);
const setInterval = (callback, delay, ...values) => addTimer("setInterval", callback, delay, true, values);
const setImmediate = (callback, ...values) => addTimer("setImmediate", callback, 0, false, values);
const clearTimer = (id) => void timers.delete(id);

function queueMicrotask(job) {
  if (typeof job !== "function") throw new TypeError("queueMicrotask takes a function");
  enqueue(job);
}

const performance = {
  now: () => (monotonic.now() - (origin ?? 0)) / 1e6,
  get timeOrigin() {
    return Date.now() - this.now();
  },
};

// Entropy. A host call fetches enough for a while.

const POOL = 1024;
const MOST_AT_ONCE = 65536;
const nativeRandom = Math.random;
let pool = new Uint32Array(0);
let used = 0;

function draw() {
  if (used === pool.length) {
    pool = new Uint32Array(Uint8Array.from(entropy.getRandomBytes(POOL)).buffer);
    used = 0;
  }
  return pool[used++];
}

function random() {
  if (!isRunning) {
    drawnTooEarly++;
    return nativeRandom();
  }
  // 53 bits, as many as a double has.
  return ((draw() >>> 5) * 67108864 + (draw() >>> 6)) / 9007199254740992;
}

const crypto = {
  getRandomValues(array) {
    refuseWhileBuilt("crypto.getRandomValues");
    const isFloat =
      array instanceof Float32Array || array instanceof Float64Array || array?.constructor?.name === "Float16Array";
    if (!ArrayBuffer.isView(array) || array instanceof DataView || isFloat) {
      throw new TypeError("crypto.getRandomValues takes an array of integers");
    }
    if (array.byteLength > MOST_AT_ONCE)
      throw new RangeError(`crypto.getRandomValues gives ${MOST_AT_ONCE} bytes at most`);
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    bytes.set(entropy.getRandomBytes(bytes.length));
    return array;
  },
  randomUUID() {
    refuseWhileBuilt("crypto.randomUUID");
    const bytes = this.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  },
};

// The console writes to the execution's log.

const line =
  (level) =>
  (...values) =>
    report(level, formatted(values));
const times = new Map();
const counts = new Map();
const console = {
  log: line("info"),
  info: line("info"),
  dir: (value) => report("info", shown(value)),
  debug: line("debug"),
  warn: line("warn"),
  error: line("error"),
  trace(...values) {
    const stack = new Error().stack ?? "";
    report("trace", values.length > 0 ? `${formatted(values)} ${stack}` : stack);
  },
  assert(holds, ...values) {
    const text = values.length > 0 ? ` ${formatted(values)}` : "";
    if (!holds) report("error", `assertion failed${text}`);
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    line("info")(`${label}: ${counts.get(label)}`);
  },
  time: (label = "default") => void times.set(label, performance.now()),
  timeEnd(label = "default") {
    if (times.has(label)) line("info")(`${label}: ${(performance.now() - times.get(label)).toFixed(3)} ms`);
    times.delete(label);
  },
  group: line("info"),
  groupEnd() {},
};

async function fromAsync(items, map = (item) => item) {
  const made = [];
  for await (const item of items) made.push(await map(item, made.length));
  return made;
}

const globals = {
  setTimeout,
  setInterval,
  setImmediate,
  queueMicrotask,
  performance,
  crypto,
  console,
  TextEncoder,
  TextDecoder,
  URL,
  URLSearchParams,
};
Object.assign(globals, {
  Promise: DrivenPromise,
  clearTimeout: clearTimer,
  clearInterval: clearTimer,
  clearImmediate: clearTimer,
});
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}
Math.random = random;
Array.fromAsync = fromAsync;
