import { Event, Level, Result, log } from "./wasmill";

function recurse(depth: i32): i32 {
  return 1 + recurse(depth + 1);
}

export function handle(event: Event): Result {
  const way = event.text();
  const lone = String.fromCharCode(0xd800);
  if (way == "random") return Result.text(`"${Math.random()} ${Math.random()}"`, "application/json");
  if (way == "text") {
    log(Level.Info, "without fields");
    log(Level.Info, `${lone} in a log`, new Map<string, string>().set("field", `"${lone}"`));
    return Result.reject(`${lone} in a reason`);
  }
  if (way == "fail") throw new Error("the reason of a failure: é");
  if (way == "check") return Result.text([1, 2, 3][way.length].toString());
  if (way == "facts") {
    let small: i32 = i32.MAX_VALUE;
    small++;
    return Result.text(`[${small}, ${I64.parseInt("9007199254740993")}, "${NaN}"]`, "application/json");
  }
  if (way == "recurse") return Result.text(recurse(0).toString());
  return Result.text("null", "application/json");
}
