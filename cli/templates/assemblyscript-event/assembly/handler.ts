// Greets whoever the event names: its data is a name, as plain text.
import { Event, Level, Result, log } from "./wasmill";

export function handle(event: Event): Result {
  const name = event.text().trim();
  if (name == "") return Result.reject("the event names nobody");
  log(Level.Info, "greeted", new Map<string, string>().set("length", name.length.toString()));
  return Result.text(`Hello, ${name}!`);
}
