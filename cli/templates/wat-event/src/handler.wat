;; Answers with the data of its event, and logs a line.
;;
;; What passes the wall is laid out as the canonical ABI has it: numbers little-endian, a text or list as a pointer and a length, an option as a
;; byte that is 1 where there is a value. wit/wasmill-function.wit is the contract; the offsets below follow from it.
(module
  (import "wasmill:function/log@0.1.0" "log"
    (func $log (param $level i32) (param $message i32) (param $length i32) (param $fields i32) (param $count i32)))

  (memory (export "memory") 1)
  (data (i32.const 64) "an event came")
  (data (i32.const 96) "the event has no data")

  ;; The result that is returned; it is read before the next call.
  (global $result i32 (i32.const 0))
  ;; Memory from here on is free.
  (global $free (mut i32) (i32.const 1024))

  ;; Gives the host room for the event. Nothing is ever enlarged, so there is nothing to copy.
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    ;; More pages where the free memory ends beyond the last one; a trap where there are none.
    (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))
          (then (unreachable)))))
    (local.get $at))

  (func (export "wasmill:function/handler@0.1.0#handle") (param $event i32) (result i32)
    ;; Level 2 is info; no fields.
    (call $log (i32.const 2) (i32.const 64) (i32.const 13) (i32.const 0) (i32.const 0))
    ;; Whether there is data is at 80.
    (if (i32.eqz (i32.load8_u offset=80 (local.get $event)))
      (then (return (call $reject (i32.const 96) (i32.const 21)))))
    ;; A success: 0 at 0. Its content type, an option at 8, is the event's, at 68.
    (i32.store offset=0 (global.get $result) (i32.const 0))
    (memory.copy
      (i32.add (global.get $result) (i32.const 8))
      (i32.add (local.get $event) (i32.const 68))
      (i32.const 12))
    ;; The data, at 20, is the event's, at 84.
    (memory.copy
      (i32.add (global.get $result) (i32.const 20))
      (i32.add (local.get $event) (i32.const 84))
      (i32.const 8))
    ;; No events are emitted: the list at 28 is empty.
    (i64.store offset=28 (global.get $result) (i64.const 0))
    (global.get $result))

  ;; A failure: 1 at 0; of the second kind, reject: 1 at 8; the reason at 16.
  (func $reject (param $reason i32) (param $length i32) (result i32)
    (i32.store offset=0 (global.get $result) (i32.const 1))
    (i32.store offset=8 (global.get $result) (i32.const 1))
    (i32.store offset=16 (global.get $result) (local.get $reason))
    (i32.store offset=20 (global.get $result) (local.get $length))
    (global.get $result))

  ;; Called when the result has been read: all memory is free again, where the instance is used for another event.
  (func (export "cabi_post_wasmill:function/handler@0.1.0#handle") (param $result i32)
    (global.set $free (i32.const 1024))))
