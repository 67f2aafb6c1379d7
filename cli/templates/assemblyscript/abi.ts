// What the host calls. The transform in wasmill.mjs exports `entry` and `done` by the contract's names.
import { handle } from "./handler";
import { Event, Level, forget, hostLog, utf8, write, writeOption } from "./wasmill";

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
    write(at, utf8(event.type));
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
    const length = min(message.length, TEXT_LENGTH);
    const size = String.UTF8.encodeUnsafe(changetype<usize>(message), length, TEXT, false, String.UTF8.ErrorMode.REPLACE);
    hostLog(Level.Error, TEXT, size, 0, 0);
  }
  unreachable();
}
// In characters of 16 bits, each of which takes 3 bytes at most.
const TEXT_LENGTH: i32 = 200;
const TEXT: usize = memory.data(600);

// What Math.random begins with; the build names this function to the compiler.
export function seed(): f64 {
  if (randomGet(SEED, 8) != 0) unreachable();
  return reinterpret<f64>((load<u64>(SEED) & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
}
const SEED: usize = memory.data(8, 8);

@external("wasi_snapshot_preview1", "random_get")
declare function randomGet(into: usize, size: usize): i32;
