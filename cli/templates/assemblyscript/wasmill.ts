// What a handler takes, makes and calls. In memory texts and lists are a pointer and a length, an option is a byte before its value; the
// offsets follow from wit/wasmill-function.wit.

/** An event as CloudEvents 1.0 has it. */
export class Event {
  id: string;
  source: string;
  type: string;
  subject: string | null;
  time: string | null;
  dataschema: string | null;
  extensions: Map<string, string> = new Map<string, string>();
  datacontenttype: string | null;
  data: ArrayBuffer | null;

  constructor(at: usize) {
    this.id = text(at);
    this.source = text(at + 8);
    this.type = text(at + 16);
    this.subject = optional(at + 24);
    this.time = optional(at + 36);
    this.dataschema = optional(at + 48);
    const first = load<usize>(at + 60);
    for (let i: usize = 0; i < load<usize>(at + 64); i++) {
      this.extensions.set(text(first + i * 16), text(first + i * 16 + 8));
    }
    this.datacontenttype = optional(at + 68);
    this.data = load<u8>(at + 80) ? bytes(at + 84) : null;
  }

  /** The data as text. */
  text(): string {
    const data = this.data;
    return data ? String.UTF8.decode(data) : "";
  }
}

/** An event to publish if the result commits. */
export class Emitted {
  source: string | null = null;
  subject: string | null = null;

  constructor(
    public type: string,
    public data: ArrayBuffer,
    public datacontenttype: string = "application/json",
  ) {}
}

/** What a handler made of its event. */
export class Result {
  isFailure: bool = false;
  isRejection: bool = false;
  contentType: string | null = null;
  data: ArrayBuffer = new ArrayBuffer(0);
  delayMs: u64 = 0;
  emit: Emitted[] = [];

  static text(text: string, contentType: string = "text/plain; charset=utf-8"): Result {
    return Result.bytes(utf8(text), contentType);
  }

  static bytes(data: ArrayBuffer, contentType: string): Result {
    const result = new Result();
    result.data = data;
    result.contentType = contentType;
    return result;
  }

  /** The event will never work; the reason is for the operator. */
  static reject(reason: string): Result {
    const result = Result.retry(reason);
    result.isRejection = true;
    return result;
  }

  /** It may work later; a delay that is not 0 is the pause that is asked for. */
  static retry(reason: string, delayMs: u64 = 0): Result {
    const result = new Result();
    result.isFailure = true;
    result.data = utf8(reason);
    result.delayMs = delayMs;
    return result;
  }
}

/** A text as bytes; what UTF-8 cannot hold, a lone surrogate, becomes U+FFFD. */
export function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
}

export enum Level {
  Trace,
  Debug,
  Info,
  Warn,
  Error,
}

/** Adds a line to the log. The values of fields are JSON texts. */
export function log(level: Level, message: string, fields: Map<string, string> = new Map<string, string>()): void {
  const buffer = utf8(message);
  const names = fields.keys();
  const raw = new ArrayBuffer(16 * names.length);
  for (let i = 0; i < names.length; i++) {
    write(changetype<usize>(raw) + 16 * i, utf8(names[i]));
    write(changetype<usize>(raw) + 16 * i + 8, utf8(fields.get(names[i])));
  }
  hostLog(level, changetype<usize>(buffer), buffer.byteLength, changetype<usize>(raw), names.length);
}

@external("wasmill:function/log@0.1.0", "log")
export declare function hostLog(level: i32, message: usize, length: usize, fields: usize, count: usize): void;

function bytes(at: usize): ArrayBuffer {
  const length = load<usize>(at + 4);
  const copy = new ArrayBuffer(i32(length));
  memory.copy(changetype<usize>(copy), load<usize>(at), length);
  return copy;
}

function text(at: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(at), load<usize>(at + 4));
}

function optional(at: usize): string | null {
  return load<u8>(at) ? text(at + 4) : null;
}

// What the host reads after the call, so that the collector leaves it.
let kept: ArrayBuffer[] = [];

export function forget(): void {
  kept = [];
}

export function write(at: usize, data: ArrayBuffer): void {
  kept.push(data);
  store<usize>(at, changetype<usize>(data));
  store<usize>(at + 4, data.byteLength);
}

export function writeOption(at: usize, text: string | null): void {
  if (text === null) return;
  store<u8>(at, 1);
  write(at + 4, utf8(text));
}
