const early = Date.now();

const facts = async () => ({
  numbers: JSON.stringify(JSON.parse("[9007199254740993,123456789012345678901234567890]")),
  nan: JSON.stringify(NaN),
  zone: new Date(0).getTimezoneOffset(),
  missing: ["Intl", "Worker"].filter((name) => name in globalThis),
  normalize: typeof "".normalize,
  waited: await new Promise((done) => setTimeout(() => done(true), 20)),
  frozen: Date.now() - early > 1000,
});

const draw = () => `${Math.random()} ${crypto.randomUUID()} ${Math.random()}`;

addEventListener("fetch", (event) =>
  event.respondWith(
    event.request.url.endsWith("/facts")
      ? facts().then((known) => Response.json(known))
      : new Response(draw()),
  ),
);
