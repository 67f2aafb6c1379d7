addEventListener("fetch", (event) =>
  event.respondWith(new Response(`${Math.random()} ${crypto.randomUUID()} ${Math.random()}`)),
);
