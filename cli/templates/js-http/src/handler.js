// Greets whoever the path names: GET …/Ada
import { greet } from "./greeting.js";

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

/** @param {Request} request */
function answer(request) {
  if (request.method !== "GET") return new Response("only GET is answered\n", { status: 405, headers: { allow: "GET" } });
  const name = decodeURIComponent(new URL(request.url).pathname.split("/").pop());
  return Response.json({ greeting: greet(name) });
}
