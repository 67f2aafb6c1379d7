// Greets whoever the path names: GET …/Ada
import { greet } from "./greeting.ts";

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Response | Promise<Response>): void;
}

addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  (event as FetchEvent).respondWith(answer(request));
});

function answer(request: Request): Response {
  if (request.method !== "GET") return new Response("only GET is answered\n", { status: 405, headers: { allow: "GET" } });
  const name = decodeURIComponent(new URL(request.url).pathname.split("/").pop() ?? "");
  return Response.json({ greeting: greet(name) });
}
