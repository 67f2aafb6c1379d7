//! How newer C libraries for WASI say that there are no threads: the one that this is linked with
//! (scripts/guest-toolchain) is older, and has none of these. They stand before the library's own
//! where it has them.

use std::ffi::{c_int, c_void};

/// WASI's number for it.
const EAGAIN: c_int = 6;

#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    _: *mut c_void,
    _: *const c_void,
    _: *const c_void,
    _: *mut c_void,
) -> c_int {
    EAGAIN
}

/// Never called, as nothing was created.
#[unsafe(no_mangle)]
extern "C" fn pthread_join(_: *mut c_void, _: *mut *mut c_void) -> c_int {
    EAGAIN
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_init(_: *mut c_void) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setstacksize(_: *mut c_void, _: usize) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_destroy(_: *mut c_void) -> c_int {
    0
}
