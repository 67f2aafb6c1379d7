;; Copies standard input, the event's data, to standard output, the result: a program for WASI preview 1.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))

  (memory (export "memory") 2)

  ;; At 0 a buffer's pointer and length, at 8 how many bytes were read or written; the buffer is at 1024.
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (call $check (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (call $write_all (i32.load (i32.const 8)))
      (br $more)))

  (func $write_all (param $length i32)
    (local $at i32)
    (local.set $at (i32.const 1024))
    (loop $rest
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (call $check (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
      (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 8))))
      (br_if $rest (local.get $length))))

  ;; Ends the program with status 1 where an error code is not 0.
  (func $check (param $error i32)
    (if (local.get $error) (then (call $exit (i32.const 1))))))
