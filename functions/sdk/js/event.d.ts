/// <reference path="./globals.d.ts" />

/** An event as CloudEvents 1.0 has it. */
export interface Event<T = unknown> {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly time: string | null;
  readonly dataschema: string | null;
  readonly extensions: Readonly<Record<string, string>>;
  readonly datacontenttype: string | null;
  readonly data: Uint8Array | null;
  /** The data as text. */
  text(): string;
  /** The data as JSON; data that is not JSON is rejected. */
  json(): T;
}

/** A value that JSON can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };

/** An event to publish if the result commits. */
export interface Emitted {
  type: string;
  source?: string;
  subject?: string;
  extensions?: Record<string, string>;
  datacontenttype?: string;
  /** Bytes as they are, everything else as JSON. */
  data?: Json | Uint8Array;
}

/** A result that is more than a JSON value. */
export class Output {
  constructor(data: Json | Uint8Array, options?: { contentType?: string; emit?: Emitted[] });
}

/** Thrown where the event will never work. */
export class Reject extends Error {}

/** Thrown where it may work later, after `delayMs` if that is given. Any other exception is tried again too. */
export class Retry extends Error {
  constructor(reason: string, delayMs?: number);
}

type Write = (message: string, fields?: Record<string, Json | undefined>) => void;

/** The log of the execution. */
export const log: { trace: Write; debug: Write; info: Write; warn: Write; error: Write };

/** What is known about the execution at hand. */
export function execution(): {
  id: string;
  tenant: string;
  function: string;
  version: string;
  attempt: number;
  maxAttempts: number;
  deadlineMs: number;
  traceparent: string;
  tracestate: string | null;
};

type Result = Json | Uint8Array | Output;

/** Makes what the component exports of a function from an event to a result, or to a promise of one. */
export function defineHandler<T = unknown>(handle: (event: Event<T>) => Result | Promise<Result>): object;

export function encode(text: string): Uint8Array;
/** What is not UTF-8 becomes U+FFFD. */
export function decode(bytes: Uint8Array): string;
