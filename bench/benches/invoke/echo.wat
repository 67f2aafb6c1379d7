;; The smallest function: gives the event's data back. It imports nothing but types, so what it costs is the host's.
(component
  (import "wasmill:function/types@0.1.0" (instance $types
    (type $event (record
      (field "id" string) (field "source" string) (field "type" string) (field "subject" (option string))
      (field "time" (option string)) (field "dataschema" (option string))
      (field "extensions" (list (tuple string string)))
      (field "datacontenttype" (option string)) (field "data" (option (list u8)))))
    (export "event" (type $event' (eq $event)))
    (type $emitted (record
      (field "type" string) (field "source" (option string)) (field "subject" (option string))
      (field "extensions" (list (tuple string string)))
      (field "datacontenttype" (option string)) (field "data" (option (list u8)))))
    (export "emitted-event" (type $emitted' (eq $emitted)))
    (type $output (record
      (field "content-type" (option string)) (field "data" (list u8)) (field "emit" (list $emitted'))))
    (export "output" (type $output' (eq $output)))
    (type $advice (record (field "reason" string) (field "delay-ms" (option u64))))
    (export "retry-advice" (type $advice' (eq $advice)))
    (type $failure (variant (case "retry" $advice') (case "reject" string)))
    (export "failure" (type $failure' (eq $failure)))))
  (alias export $types "event" (type $event))
  (alias export $types "output" (type $output))
  (alias export $types "failure" (type $failure))
  (core module $main
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at))
    (func (export "handle") (param $event i32) (result i32)
      ;; The data are the record's last field, at 80: whether there are any, where, and how many bytes.
      (i32.store (i32.const 36) (i32.load offset=84 (local.get $event)))
      (i32.store (i32.const 40) (i32.load offset=88 (local.get $event)))
      ;; The next call's event comes where this one's was: what is returned is read before.
      (global.set $next (i32.const 1024))
      (i32.const 16)))
  (core instance $main (instantiate $main))
  (func $handle (param "event" $event) (result (result $output (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory"))
      (realloc (core func $main "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:function/handler@0.1.0" (instance $handler)))
