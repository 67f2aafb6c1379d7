// What the host calls. The transform in wasmill.mjs exports `entry` and `done` by the contract's names.
import { handle } from "./handler";
import { Event, Level, forget, hostLog, write, writeOption } from "./wasmill";

// What the host put here for the call.
let received: usize[] = [];
const RESULT: usize = memory.data(40, 8);

export function entry(event: usize): usize {
  const result = handle(new Event(event));
  memory.fill(RESULT, 0, 40);
  store<u8>(RESULT, u8(result.isFailure));
  if (result.isFailure) {
    store<u8>(RESULT + 8, u8(result.isRejection));
    write(RESULT + 16, result.data);
    store<u8>(RESULT + 24, u8(result.delayMs != 0));
    store<u64>(RESULT + 32, result.delayMs);
    return RESULT;
  }
  writeOption(RESULT + 8, result.contentType);
  write(RESULT + 20, result.data);
  const emit = new ArrayBuffer(64 * result.emit.length);
  for (let i = 0; i < result.emit.length; i++) {
    const at = changetype<usize>(emit) + 64 * i;
    const event = result.emit[i];
    write(at, String.UTF8.encode(event.type));
    writeOption(at + 8, event.source);
    writeOption(at + 20, event.subject);
    writeOption(at + 40, event.datacontenttype);
    store<u8>(at + 52, 1);
    write(at + 56, event.data);
  }
  write(RESULT + 28, emit);
  store<usize>(RESULT + 32, result.emit.length);
  return RESULT;
}

// The result has been read.
export function done(_result: usize): void {
  forget();
  for (let i = 0; i < received.length; i++) heap.free(received[i]);
  received = [];
}

export function cabi_realloc(_old: usize, _oldSize: usize, align: usize, size: usize): usize {
  if (size == 0) return align;
  const made = heap.alloc(size);
  received.push(made);
  return made;
}

// Where a failed check or a thrown error ends up. It must not allocate.
export function trap(message: string | null, _file: string | null, _line: u32, _column: u32): void {
  if (message !== null) {
    const length = min<usize>(message.length, TEXT_SIZE);
    for (let i: usize = 0; i < length; i++) store<u8>(TEXT + i, load<u8>(changetype<usize>(message) + 2 * i));
    hostLog(Level.Error, TEXT, length, 0, 0);
  }
  unreachable();
}
const TEXT_SIZE: usize = 200;
const TEXT: usize = memory.data(200);
