// Functions of kind event: `export const handler = defineHandler((event) => …)`.
import context from "wasmill:function/context@0.1.0";
import logging from "wasmill:function/log@0.1.0";
import { shown } from "./inspect.js";
import { begin, end, settle } from "./runtime.js";
import { decode, encode } from "./text.js";

export { decode, encode };

/** An event as CloudEvents 1.0 has it. */
export class Event {
  constructor(raw) {
    Object.assign(this, raw);
    this.extensions = Object.fromEntries(raw.extensions);
    this.data = raw.data == null ? null : Uint8Array.from(raw.data);
  }

  text() {
    return this.data === null ? "" : decode(this.data);
  }

  json() {
    try {
      return JSON.parse(this.text());
    } catch (error) {
      throw new Reject(`the data is not JSON: ${error.message}`);
    }
  }
}

/** A result that is more than a JSON value. */
export class Output {
  constructor(data, { contentType, emit = [] } = {}) {
    this.data = data;
    this.contentType = contentType;
    this.emit = emit;
  }
}

/** The event will never work. */
export class Reject extends Error {}

/** It may work later, after `delayMs` if that is given. Any other exception is tried again too. */
export class Retry extends Error {
  constructor(reason, delayMs) {
    super(reason);
    this.delayMs = delayMs;
  }
}

// What UTF-8 cannot hold, a lone surrogate, is replaced: a text with one is no reason to fail.
const wellFormed = (text) => String(text).toWellFormed();
const json = (value) =>
  JSON.stringify(value, (_, item) => (typeof item === "string" ? item.toWellFormed() : item)) ?? "null";

const write =
  (level) =>
  (message, fields = {}) =>
    logging.log(
      level,
      wellFormed(message),
      Object.entries(fields).map(([name, value]) => [wellFormed(name), json(value)]),
    );

/** The log of the execution. */
export const log = {
  trace: write("trace"),
  debug: write("debug"),
  info: write("info"),
  warn: write("warn"),
  error: write("error"),
};

/** What is known about the execution at hand. */
export const execution = () => context.current();

/** Makes what the component exports of a function from an event to a result, or to a promise of one. */
export function defineHandler(handle) {
  return {
    handle(raw) {
      begin();
      try {
        return output(settle(handle(new Event(raw))));
      } catch (error) {
        throw failure(error);
      } finally {
        end();
      }
    },
  };
}

function output(result) {
  const { data, contentType, emit } = result instanceof Output ? result : new Output(result);
  const [bytes, mediaType] = bytesOf(data);
  return { contentType: wellFormed(contentType ?? mediaType), data: bytes, emit: emit.map(emitted) };
}

function emitted({ type, source, subject, extensions = {}, datacontenttype, data }) {
  const [bytes, mediaType] = data === undefined ? [null, null] : bytesOf(data);
  const optional = (text) => (text == null ? null : wellFormed(text));
  return {
    type: wellFormed(type),
    source: optional(source),
    subject: optional(subject),
    extensions: Object.entries(extensions).map((pair) => pair.map(wellFormed)),
    datacontenttype: optional(datacontenttype ?? mediaType),
    data: bytes,
  };
}

// Bytes are themselves; everything else is written as JSON.
function bytesOf(data) {
  if (data instanceof Uint8Array) return [data, "application/octet-stream"];
  return [encode(JSON.stringify(data) ?? "null"), "application/json"];
}

function failure(error) {
  if (error instanceof Reject) return { tag: "reject", val: wellFormed(error.message) };
  const reason = error instanceof Retry ? error.message : shown(error);
  return { tag: "retry", val: { reason: wellFormed(reason), delayMs: error?.delayMs ?? null } };
}
