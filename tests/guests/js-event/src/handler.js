import { Reject, defineHandler, log } from "../wasmill/event.js";

const early = Math.random();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const recurse = (depth) => 1 + recurse(depth + 1);
let calls = 0;
let begun;

// What the top level begins goes on in an instance's first execution, before its handler.
const ready = (async () => {
  await null;
  return { limit: 5, drawn: crypto.randomUUID().length };
})();
(async () => {
  await null;
  throw new Error("rejected at the top level");
})();

async function* numbers() {
  yield 1;
  await sleep(1);
  yield 2;
}

const ways = {
  random: () =>
    `${Math.random()} ${crypto.randomUUID()} ${crypto.getRandomValues(new Uint32Array(2))} ${Math.random()}`,
  print: () => console.log(`call ${++calls}`),
  formats() {
    console.log("%s is %d", "x", 5);
    console.warn("%i %f %o %c%% %s", 1.9, "2.5x", { a: 1 }, "color: red");
    console.info("%d %s %O", Symbol("y"), Object.create(null), [1], "%s", 2);
    console.log("100%", 1);
    console.log("%s%%");
    console.assert(false, "%s", "y");
    console.dir("%s", "y");
  },
  text() {
    log.info("\ud800 in a log", { field: "\ud800" });
    throw new Reject("\ud800 in a reason");
  },
  fail() {
    begun = (async () => {
      await null;
      return "begun before a failure";
    })();
    throw new TypeError("the reason of a failure");
  },
  early: async () => ready,
  begun: async () => begun,
  recurse: () => recurse(0),
  async awaits() {
    let sum = 0;
    for await (const number of numbers()) sum += number;
    const all = await Promise.all([1, Promise.resolve(2), sleep(2).then(() => 3)]);
    const settled = await Promise.allSettled([Promise.reject(new Error("x")), 1]);
    const race = await Promise.race([sleep(60_000), sleep(1).then(() => "fast")]);
    const any = await Promise.any([Promise.reject(new Error("x")), Promise.resolve("some")]);
    const gathered = await Array.fromAsync(numbers());
    return {
      sum,
      all,
      settled: settled.map(({ status }) => status),
      race,
      any,
      gathered,
      async: await (async () => 7)(),
    };
  },
  async rejects() {
    await null;
    throw new Reject("rejected after an await");
  },
  async fails() {
    await sleep(1);
    throw new TypeError("failed after an await");
  },
  never: () => new Promise(() => {}),
  async leaves() {
    Promise.reject(new Error("nobody awaits this"));
    setInterval(() => log.error("of another execution"), 1);
    queueMicrotask(() => log.info("the queue was driven to its end"));
    return "left";
  },
  async clocks() {
    const before = performance.now();
    await sleep(20);
    return { isPositive: before >= 0, waited: performance.now() - before >= 20, isNow: Date.now() > 1.7e12 };
  },
  globals: () => [
    new TextDecoder().decode(new TextEncoder().encode("aé😀\ud800")),
    new TextDecoder().decode(Uint8Array.of(0xe2, 0x82, 0x61)),
    new URL("../b?x=1&y=ä#z", "HTTP://Münster.de:80/a/c/d").href,
    new URL("http://[::ffff:1.2.3.4]:8080/").host,
    new URLSearchParams({ a: "1 2", b: "ü" }).toString(),
    [
      new URL("http:/a", "http://b/c/d").href,
      new URL("///x/y", "http://b").href,
      new URL("file:/a", "file://h/b").href,
      URL.canParse("file://h:80/"),
    ],
    early > 0,
  ],
};

const dropped = ["Intl", "fetch", "Worker", "structuredClone", "AbortController", "process"];

Object.assign(ways, {
  facts: () => ({
    numbers: JSON.stringify(JSON.parse("[9007199254740993,123456789012345678901234567890]")),
    nan: JSON.stringify(NaN),
    zone: new Date(0).getTimezoneOffset(),
    missing: dropped.filter((name) => name in globalThis),
    locale: (1234.5).toLocaleString("de"),
    codecs: ["utf-8", "utf-16le", "latin1"].filter((label) => {
      try {
        return new TextDecoder(label) && true;
      } catch {
        return false;
      }
    }),
    normalized: "e\u0301".normalize() === "\u00e9",
  }),
});

export const handler = defineHandler((event) => ways[event.text()]());
