import assert from "node:assert";
import { test } from "node:test";
import { greet } from "./greeting.js";

test("names are trimmed", () => assert.equal(greet(" Ada "), "Hello, Ada!"));
test("nobody is greeted too", () => assert.equal(greet(""), "Hello!"));
