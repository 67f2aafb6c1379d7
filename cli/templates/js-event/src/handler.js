// Greets whoever the event names.
import { Reject, defineHandler, log } from "../wasmill/event.js";
import { greet } from "./greeting.js";

export const handler = defineHandler((event) => {
  const name = event.json()?.name;
  if (typeof name !== "string") throw new Reject("the data must be an object with a name");
  log.info("greeted", { name });
  return { greeting: greet(name) };
});
