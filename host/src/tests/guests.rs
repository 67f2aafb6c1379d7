//! Guests in WebAssembly text.

/// What every guest has in its core module: memory with room for a result at 16, and an allocator
/// that never frees.
pub(super) const MODULE: &str = r#"
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and
            (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get $align))))
        (global.set $next (i32.add (local.get $at) (local.get $size)))
        (local.get $at))
    ;; Returns a success with data at $data.
    (func $ok (param $data i32) (param $length i32) (result i32)
        (i32.store (i32.const 16) (i32.const 0))
        (i32.store (i32.const 24) (i32.const 0))
        (i32.store (i32.const 36) (local.get $data))
        (i32.store (i32.const 40) (local.get $length))
        (i32.store (i32.const 44) (i32.const 0))
        (i32.store (i32.const 48) (i32.const 0))
        (i32.const 16))
"#;

/// A component around `handle`, which is the text of a core function `$handle` (param i32) (result
/// i32), with what else it needs of a module. It may call `$log` (level, message, its length,
/// fields, their number), and `$current` (where to put the execution).
pub(super) fn component(handle: &str) -> Vec<u8> {
    component_of_version(handle, "0.1.0")
}

/// The same for another version of the contract.
pub(super) fn component_of_version(handle: &str, version: &str) -> Vec<u8> {
    let types = types(version);
    let text = format!(
        r#"(component
  {types}
  (import "wasmill:function/log@{version}" (instance $log
    (type $level (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level' (eq $level)))
    (export "log" (func
      (param "level" $level') (param "message" string) (param "fields" (list (tuple string string)))))))
  (import "wasmill:function/context@{version}" (instance $context
    (type $execution (record
      (field "id" string) (field "tenant" string) (field "function" string) (field "version" string)
      (field "attempt" u32) (field "max-attempts" u32) (field "deadline-ms" u64)
      (field "traceparent" string) (field "tracestate" (option string))))
    (export "execution" (type $execution' (eq $execution)))
    (export "current" (func (result $execution')))))
  (alias export $types "event" (type $event))
  (alias export $types "output" (type $output))
  (alias export $types "failure" (type $failure))
  (alias export $log "log" (func $log-func))
  (alias export $context "current" (func $current-func))
  ;; A lowered function needs the memory of the module that calls it, which needs the function: it calls by way of a
  ;; table that is filled afterwards.
  (core module $shim
    (type $log (func (param i32 i32 i32 i32 i32)))
    (type $current (func (param i32)))
    (table (export "table") 2 funcref)
    (func (export "log") (param i32 i32 i32 i32 i32)
      (call_indirect (type $log)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (i32.const 0)))
    (func (export "current") (param i32) (call_indirect (type $current) (local.get 0) (i32.const 1))))
  (core module $fill
    (import "" "table" (table 2 funcref))
    (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "" "current" (func $current (param i32)))
    (elem (i32.const 0) func $log $current))
  (core module $main
    (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
    (import "" "current" (func $current (param i32)))
    {MODULE}
    {handle}
    (export "handle" (func $handle)))
  (core instance $shim (instantiate $shim))
  (core instance $main (instantiate $main (with "" (instance $shim))))
  (core func $log (canon lower (func $log-func) (memory (core memory $main "memory"))))
  (core func $current (canon lower (func $current-func) (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (core instance (instantiate $fill (with "" (instance
    (export "table" (table $shim "table")) (export "log" (func $log)) (export "current" (func $current))))))
  (func $handle (param "event" $event) (result (result $output (error $failure)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "wasmill:function/handler@{version}" (instance $handler))
)"#
    );
    wat::parse_str(text).unwrap()
}

/// The contract's types, imported as `$types`.
pub(super) fn types(version: &str) -> String {
    format!(
        r#"(import "wasmill:function/types@{version}" (instance $types
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
    (export "failure" (type $failure' (eq $failure)))))"#
    )
}

/// The errors of `wasi:http/types`, for the text of that instance's type.
pub(super) const ERROR_CODE: &str = r#"(type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns' (eq $dns)))
    (type $alert (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert' (eq $alert)))
    (type $field (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field' (eq $field)))
    (type $error-code (variant
      (case "DNS-timeout") (case "DNS-error" $dns') (case "destination-not-found") (case "destination-unavailable")
      (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
      (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
      (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
      (case "TLS-certificate-error") (case "TLS-alert-received" $alert') (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $field'))
      (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $field')
      (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field') (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $field')
      (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error-code' (eq $error-code)))"#;

/// Succeeds with `{}`.
pub(super) const OK: &str = r#"
    (data (i32.const 1024) "{}")
    (func $handle (param i32) (result i32) (call $ok (i32.const 1024) (i32.const 2)))"#;

/// Computes for ever.
pub(super) const SPIN: &str =
    "(func $handle (param i32) (result i32) (loop $again (br $again)) unreachable)";

/// Succeeds with the number of times that the instance was called, one digit, or traps at the given
/// call.
pub(super) fn counter(trap_at: u32) -> String {
    format!(
        r#"(global $count (mut i32) (i32.const 0))
        (func $handle (param i32) (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (if (i32.eq (global.get $count) (i32.const {trap_at})) (then unreachable))
            (i32.store8 (i32.const 1024) (i32.add (global.get $count) (i32.const 48)))
            (call $ok (i32.const 1024) (i32.const 1)))"#
    )
}
