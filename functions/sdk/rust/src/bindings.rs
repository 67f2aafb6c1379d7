// Made by wit_bindgen::generate! (0.63.0) of wit/wasmill-function.wit; README.md of functions/sdk says how. Not to be edited.

#[allow(dead_code, clippy::all)]
pub mod wasmill {
    pub mod function {
        /// What is known about the execution at hand. All of it stays the same for the whole call.
        #[allow(dead_code, async_fn_in_trait, unused_imports, clippy::all)]
        pub mod context {
            #[used]
            #[doc(hidden)]
            static __FORCE_SECTION_REF: fn() = super::super::super::__link_custom_section_describing_imports;
            use super::super::super::_rt;
            /// One event delivered to one function.
            #[derive(Clone)]
            pub struct Execution {
                /// The execution's id, a UUIDv7 in its usual text form. The same for all attempts: use it to make effects
                /// idempotent.
                pub id: _rt::String,
                /// The tenant that the function belongs to.
                pub tenant: _rt::String,
                /// The function's name.
                pub function: _rt::String,
                /// The digest of the artifact that runs, `sha256:` and 64 hex digits.
                pub version: _rt::String,
                /// Which attempt this is; the first is 1.
                pub attempt: u32,
                /// How many attempts there are at most.
                pub max_attempts: u32,
                /// When this attempt is cut off: milliseconds since 1970-01-01T00:00:00Z.
                pub deadline_ms: u64,
                /// The W3C trace context of this attempt, to be sent along with outgoing requests:
                /// <https://www.w3.org/TR/trace-context/#traceparent-header>.
                pub traceparent: _rt::String,
                /// The vendor part of the trace context; often absent.
                pub tracestate: ::core::option::Option<_rt::String>,
            }
            impl ::core::fmt::Debug for Execution {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    f.debug_struct("Execution")
                        .field("id", &self.id)
                        .field("tenant", &self.tenant)
                        .field("function", &self.function)
                        .field("version", &self.version)
                        .field("attempt", &self.attempt)
                        .field("max-attempts", &self.max_attempts)
                        .field("deadline-ms", &self.deadline_ms)
                        .field("traceparent", &self.traceparent)
                        .field("tracestate", &self.tracestate)
                        .finish()
                }
            }
            #[allow(unused_unsafe, clippy::all)]
            /// The execution that this call belongs to.
            #[allow(async_fn_in_trait)]
            pub fn current() -> Execution {
                unsafe {
                    #[repr(align(8))]
                    struct RetArea(
                        [::core::mem::MaybeUninit<
                            u8,
                        >; 24 + 12 * ::core::mem::size_of::<*const u8>()],
                    );
                    let mut ret_area = RetArea(
                        [::core::mem::MaybeUninit::uninit(); 24
                            + 12 * ::core::mem::size_of::<*const u8>()],
                    );
                    let ptr0 = ret_area.0.as_mut_ptr().cast::<u8>();
                    #[cfg(target_arch = "wasm32")]
                    #[link(wasm_import_module = "wasmill:function/context@0.1.0")]
                    unsafe extern "C" {
                        #[link_name = "current"]
                        fn wit_import1(_: *mut u8);
                    }
                    #[cfg(not(target_arch = "wasm32"))]
                    unsafe extern "C" fn wit_import1(_: *mut u8) {
                        unreachable!()
                    }
                    wit_import1(ptr0);
                    let l2 = *ptr0.add(0).cast::<*mut u8>();
                    let l3 = *ptr0
                        .add(::core::mem::size_of::<*const u8>())
                        .cast::<usize>();
                    let len4 = l3;
                    let bytes4 = _rt::Vec::from_raw_parts(l2.cast(), len4, len4);
                    let l5 = *ptr0
                        .add(2 * ::core::mem::size_of::<*const u8>())
                        .cast::<*mut u8>();
                    let l6 = *ptr0
                        .add(3 * ::core::mem::size_of::<*const u8>())
                        .cast::<usize>();
                    let len7 = l6;
                    let bytes7 = _rt::Vec::from_raw_parts(l5.cast(), len7, len7);
                    let l8 = *ptr0
                        .add(4 * ::core::mem::size_of::<*const u8>())
                        .cast::<*mut u8>();
                    let l9 = *ptr0
                        .add(5 * ::core::mem::size_of::<*const u8>())
                        .cast::<usize>();
                    let len10 = l9;
                    let bytes10 = _rt::Vec::from_raw_parts(l8.cast(), len10, len10);
                    let l11 = *ptr0
                        .add(6 * ::core::mem::size_of::<*const u8>())
                        .cast::<*mut u8>();
                    let l12 = *ptr0
                        .add(7 * ::core::mem::size_of::<*const u8>())
                        .cast::<usize>();
                    let len13 = l12;
                    let bytes13 = _rt::Vec::from_raw_parts(l11.cast(), len13, len13);
                    let l14 = *ptr0
                        .add(8 * ::core::mem::size_of::<*const u8>())
                        .cast::<i32>();
                    let l15 = *ptr0
                        .add(4 + 8 * ::core::mem::size_of::<*const u8>())
                        .cast::<i32>();
                    let l16 = *ptr0
                        .add(8 + 8 * ::core::mem::size_of::<*const u8>())
                        .cast::<i64>();
                    let l17 = *ptr0
                        .add(16 + 8 * ::core::mem::size_of::<*const u8>())
                        .cast::<*mut u8>();
                    let l18 = *ptr0
                        .add(16 + 9 * ::core::mem::size_of::<*const u8>())
                        .cast::<usize>();
                    let len19 = l18;
                    let bytes19 = _rt::Vec::from_raw_parts(l17.cast(), len19, len19);
                    let l20 = i32::from(
                        *ptr0
                            .add(16 + 10 * ::core::mem::size_of::<*const u8>())
                            .cast::<u8>(),
                    );
                    let result24 = Execution {
                        id: _rt::string_lift(bytes4),
                        tenant: _rt::string_lift(bytes7),
                        function: _rt::string_lift(bytes10),
                        version: _rt::string_lift(bytes13),
                        attempt: l14 as u32,
                        max_attempts: l15 as u32,
                        deadline_ms: l16 as u64,
                        traceparent: _rt::string_lift(bytes19),
                        tracestate: match l20 {
                            0 => None,
                            1 => {
                                let e = {
                                    let l21 = *ptr0
                                        .add(16 + 11 * ::core::mem::size_of::<*const u8>())
                                        .cast::<*mut u8>();
                                    let l22 = *ptr0
                                        .add(16 + 12 * ::core::mem::size_of::<*const u8>())
                                        .cast::<usize>();
                                    let len23 = l22;
                                    let bytes23 = _rt::Vec::from_raw_parts(
                                        l21.cast(),
                                        len23,
                                        len23,
                                    );
                                    _rt::string_lift(bytes23)
                                };
                                Some(e)
                            }
                            _ => _rt::invalid_enum_discriminant(),
                        },
                    };
                    result24
                }
            }
        }
        /// Structured log lines, stored with the attempt and shown by `wasmill logs`.
        #[allow(dead_code, async_fn_in_trait, unused_imports, clippy::all)]
        pub mod log {
            #[used]
            #[doc(hidden)]
            static __FORCE_SECTION_REF: fn() = super::super::super::__link_custom_section_describing_imports;
            use super::super::super::_rt;
            /// How much a line matters.
            #[repr(u8)]
            #[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
            pub enum Level {
                /// Step by step, for whoever debugs the function.
                Trace,
                /// What a developer wants to know.
                Debug,
                /// What an operator wants to know.
                Info,
                /// Something odd that did no harm.
                Warn,
                /// Something that did harm.
                Error,
            }
            impl ::core::fmt::Debug for Level {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    match self {
                        Level::Trace => f.debug_tuple("Level::Trace").finish(),
                        Level::Debug => f.debug_tuple("Level::Debug").finish(),
                        Level::Info => f.debug_tuple("Level::Info").finish(),
                        Level::Warn => f.debug_tuple("Level::Warn").finish(),
                        Level::Error => f.debug_tuple("Level::Error").finish(),
                    }
                }
            }
            impl Level {
                #[doc(hidden)]
                pub unsafe fn _lift(val: u8) -> Level {
                    if !cfg!(debug_assertions) {
                        return unsafe { ::core::mem::transmute(val) };
                    }
                    match val {
                        0 => Level::Trace,
                        1 => Level::Debug,
                        2 => Level::Info,
                        3 => Level::Warn,
                        4 => Level::Error,
                        _ => panic!("invalid enum discriminant"),
                    }
                }
            }
            #[allow(unused_unsafe, clippy::all)]
            /// Adds a line. Lines past `limits.log_bytes` are dropped and counted; the call never fails.
            /// The values of `fields` are JSON texts; what does not parse as JSON is kept as a string.
            #[allow(async_fn_in_trait)]
            pub fn log(
                level: Level,
                message: &str,
                fields: &[(_rt::String, _rt::String)],
            ) -> () {
                unsafe {
                    let vec0 = message;
                    let ptr0 = vec0.as_ptr().cast::<u8>();
                    let len0 = vec0.len();
                    let vec4 = fields;
                    let len4 = vec4.len();
                    let layout4 = _rt::alloc::Layout::from_size_align(
                            vec4.len() * (4 * ::core::mem::size_of::<*const u8>()),
                            ::core::mem::size_of::<*const u8>(),
                        )
                        .unwrap();
                    let (result4, _cleanup4) = ::wasmill_guest::rt::Cleanup::new(
                        layout4,
                    );
                    for (i, e) in vec4.into_iter().enumerate() {
                        let base = result4
                            .add(i * (4 * ::core::mem::size_of::<*const u8>()));
                        {
                            let (t1_0, t1_1) = e;
                            let vec2 = t1_0;
                            let ptr2 = vec2.as_ptr().cast::<u8>();
                            let len2 = vec2.len();
                            *base
                                .add(::core::mem::size_of::<*const u8>())
                                .cast::<usize>() = len2;
                            *base.add(0).cast::<*mut u8>() = ptr2.cast_mut();
                            let vec3 = t1_1;
                            let ptr3 = vec3.as_ptr().cast::<u8>();
                            let len3 = vec3.len();
                            *base
                                .add(3 * ::core::mem::size_of::<*const u8>())
                                .cast::<usize>() = len3;
                            *base
                                .add(2 * ::core::mem::size_of::<*const u8>())
                                .cast::<*mut u8>() = ptr3.cast_mut();
                        }
                    }
                    #[cfg(target_arch = "wasm32")]
                    #[link(wasm_import_module = "wasmill:function/log@0.1.0")]
                    unsafe extern "C" {
                        #[link_name = "log"]
                        fn wit_import5(
                            _: i32,
                            _: *mut u8,
                            _: usize,
                            _: *mut u8,
                            _: usize,
                        );
                    }
                    #[cfg(not(target_arch = "wasm32"))]
                    unsafe extern "C" fn wit_import5(
                        _: i32,
                        _: *mut u8,
                        _: usize,
                        _: *mut u8,
                        _: usize,
                    ) {
                        unreachable!()
                    }
                    wit_import5(
                        level.clone() as i32,
                        ptr0.cast_mut(),
                        len0,
                        result4,
                        len4,
                    );
                }
            }
        }
        /// The values that cross the wall.
        #[allow(dead_code, async_fn_in_trait, unused_imports, clippy::all)]
        pub mod types {
            #[used]
            #[doc(hidden)]
            static __FORCE_SECTION_REF: fn() = super::super::super::__link_custom_section_describing_imports;
            use super::super::super::_rt;
            /// An event as CloudEvents 1.0 has it: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
            #[derive(Clone)]
            pub struct Event {
                /// Identifies the event together with `source`. Not the execution's id, which is in `context`.
                pub id: _rt::String,
                /// Where the event happened: a URI reference.
                pub source: _rt::String,
                /// What kind of event this is, for example `order.created`.
                pub type_: _rt::String,
                /// What in the source the event is about.
                pub subject: ::core::option::Option<_rt::String>,
                /// When it happened: an RFC 3339 timestamp.
                pub time: ::core::option::Option<_rt::String>,
                /// The URI of the schema that the producer says `data` follows. wasmill does not fetch it.
                pub dataschema: ::core::option::Option<_rt::String>,
                /// Extension attributes by name, each in its canonical string form, in the order of their names. Trace context is
                /// not here but in `context`.
                pub extensions: _rt::Vec<(_rt::String, _rt::String)>,
                /// The media type of `data`. Absent where there is no data; `application/json` where the sender named none.
                pub datacontenttype: ::core::option::Option<_rt::String>,
                /// The data, byte for byte as `datacontenttype` says. JSON arrives as its UTF-8 text, already checked against the
                /// schema where there is one.
                pub data: ::core::option::Option<_rt::Vec<u8>>,
            }
            impl ::core::fmt::Debug for Event {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    f.debug_struct("Event")
                        .field("id", &self.id)
                        .field("source", &self.source)
                        .field("type", &self.type_)
                        .field("subject", &self.subject)
                        .field("time", &self.time)
                        .field("dataschema", &self.dataschema)
                        .field("extensions", &self.extensions)
                        .field("datacontenttype", &self.datacontenttype)
                        .field("data", &self.data)
                        .finish()
                }
            }
            /// An event that a function asks wasmill to publish. wasmill fills in what is left out. It is published only when
            /// the execution's success is recorded, so an attempt that fails or loses a race publishes nothing.
            #[derive(Clone)]
            pub struct EmittedEvent {
                /// The event's type. Functions that subscribe to it run; it may be a type that nothing subscribes to.
                pub type_: _rt::String,
                /// Default: `/functions/NAME`, NAME being the emitting function.
                pub source: ::core::option::Option<_rt::String>,
                /// What in the source the event is about.
                pub subject: ::core::option::Option<_rt::String>,
                /// Extension attributes: names of lower-case letters and digits.
                pub extensions: _rt::Vec<(_rt::String, _rt::String)>,
                /// Default: `application/json`.
                pub datacontenttype: ::core::option::Option<_rt::String>,
                /// The data, checked against the schema of its type, where there is one, before the result commits.
                pub data: ::core::option::Option<_rt::Vec<u8>>,
            }
            impl ::core::fmt::Debug for EmittedEvent {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    f.debug_struct("EmittedEvent")
                        .field("type", &self.type_)
                        .field("source", &self.source)
                        .field("subject", &self.subject)
                        .field("extensions", &self.extensions)
                        .field("datacontenttype", &self.datacontenttype)
                        .field("data", &self.data)
                        .finish()
                }
            }
            /// What a function made of its event.
            #[derive(Clone)]
            pub struct Output {
                /// The media type of `data`. Default: `application/json`.
                pub content_type: ::core::option::Option<_rt::String>,
                /// The result, at most `limits.output_bytes` long. It is stored with the execution and answers `invoke`.
                pub data: _rt::Vec<u8>,
                /// Events to publish, at most `limits.emitted_events` of them.
                pub emit: _rt::Vec<EmittedEvent>,
            }
            impl ::core::fmt::Debug for Output {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    f.debug_struct("Output")
                        .field("content-type", &self.content_type)
                        .field("data", &self.data)
                        .field("emit", &self.emit)
                        .finish()
                }
            }
            /// A wish for another attempt.
            #[derive(Clone)]
            pub struct RetryAdvice {
                /// What went wrong, for the operator.
                pub reason: _rt::String,
                /// The pause before the next attempt in milliseconds, where the function knows better than the manifest's back-off
                /// (`Retry-After` of an API, say). At most one day.
                pub delay_ms: ::core::option::Option<u64>,
            }
            impl ::core::fmt::Debug for RetryAdvice {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    f.debug_struct("RetryAdvice")
                        .field("reason", &self.reason)
                        .field("delay-ms", &self.delay_ms)
                        .finish()
                }
            }
            /// Why a function did not succeed, and what should happen now.
            #[derive(Clone)]
            pub enum Failure {
                /// It may work later: a service was away, a lock was taken. Tried again after a pause until the manifest's
                /// `retry.max_attempts` is reached.
                Retry(RetryAdvice),
                /// It will never work: the event makes no sense to this function. Not tried again; the text is the reason, shown to
                /// the operator.
                Reject(_rt::String),
            }
            impl ::core::fmt::Debug for Failure {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    match self {
                        Failure::Retry(e) => {
                            f.debug_tuple("Failure::Retry").field(e).finish()
                        }
                        Failure::Reject(e) => {
                            f.debug_tuple("Failure::Reject").field(e).finish()
                        }
                    }
                }
            }
            impl ::core::fmt::Display for Failure {
                fn fmt(
                    &self,
                    f: &mut ::core::fmt::Formatter<'_>,
                ) -> ::core::fmt::Result {
                    write!(f, "{:?}", self)
                }
            }
            impl ::core::error::Error for Failure {}
        }
    }
}
#[allow(dead_code, clippy::all)]
pub mod exports {
    pub mod wasmill {
        pub mod function {
            /// What every function exports.
            #[allow(dead_code, async_fn_in_trait, unused_imports, clippy::all)]
            pub mod handler {
                #[used]
                #[doc(hidden)]
                static __FORCE_SECTION_REF: fn() = super::super::super::super::__link_custom_section_describing_imports;
                use super::super::super::super::_rt;
                pub type Event = super::super::super::super::wasmill::function::types::Event;
                pub type Output = super::super::super::super::wasmill::function::types::Output;
                pub type Failure = super::super::super::super::wasmill::function::types::Failure;
                #[doc(hidden)]
                #[allow(non_snake_case, unused_unsafe)]
                pub unsafe fn _export_handle_cabi<T_: Guest>(arg0: *mut u8) -> *mut u8 {
                    unsafe {
                        #[cfg(target_arch = "wasm32")] _rt::run_ctors_once();
                        let result38 = {
                            let l0 = *arg0.add(0).cast::<*mut u8>();
                            let l1 = *arg0
                                .add(::core::mem::size_of::<*const u8>())
                                .cast::<usize>();
                            let len2 = l1;
                            let bytes2 = _rt::Vec::from_raw_parts(l0.cast(), len2, len2);
                            let l3 = *arg0
                                .add(2 * ::core::mem::size_of::<*const u8>())
                                .cast::<*mut u8>();
                            let l4 = *arg0
                                .add(3 * ::core::mem::size_of::<*const u8>())
                                .cast::<usize>();
                            let len5 = l4;
                            let bytes5 = _rt::Vec::from_raw_parts(l3.cast(), len5, len5);
                            let l6 = *arg0
                                .add(4 * ::core::mem::size_of::<*const u8>())
                                .cast::<*mut u8>();
                            let l7 = *arg0
                                .add(5 * ::core::mem::size_of::<*const u8>())
                                .cast::<usize>();
                            let len8 = l7;
                            let bytes8 = _rt::Vec::from_raw_parts(l6.cast(), len8, len8);
                            let l9 = i32::from(
                                *arg0
                                    .add(6 * ::core::mem::size_of::<*const u8>())
                                    .cast::<u8>(),
                            );
                            let l13 = i32::from(
                                *arg0
                                    .add(9 * ::core::mem::size_of::<*const u8>())
                                    .cast::<u8>(),
                            );
                            let l17 = i32::from(
                                *arg0
                                    .add(12 * ::core::mem::size_of::<*const u8>())
                                    .cast::<u8>(),
                            );
                            let l21 = *arg0
                                .add(15 * ::core::mem::size_of::<*const u8>())
                                .cast::<*mut u8>();
                            let l22 = *arg0
                                .add(16 * ::core::mem::size_of::<*const u8>())
                                .cast::<usize>();
                            let base29 = l21;
                            let len29 = l22;
                            let mut result29 = _rt::Vec::with_capacity(len29);
                            for i in 0..len29 {
                                let base = base29
                                    .add(i * (4 * ::core::mem::size_of::<*const u8>()));
                                let e29 = {
                                    let l23 = *base.add(0).cast::<*mut u8>();
                                    let l24 = *base
                                        .add(::core::mem::size_of::<*const u8>())
                                        .cast::<usize>();
                                    let len25 = l24;
                                    let bytes25 = _rt::Vec::from_raw_parts(
                                        l23.cast(),
                                        len25,
                                        len25,
                                    );
                                    let l26 = *base
                                        .add(2 * ::core::mem::size_of::<*const u8>())
                                        .cast::<*mut u8>();
                                    let l27 = *base
                                        .add(3 * ::core::mem::size_of::<*const u8>())
                                        .cast::<usize>();
                                    let len28 = l27;
                                    let bytes28 = _rt::Vec::from_raw_parts(
                                        l26.cast(),
                                        len28,
                                        len28,
                                    );
                                    (_rt::string_lift(bytes25), _rt::string_lift(bytes28))
                                };
                                result29.push(e29);
                            }
                            _rt::cabi_dealloc(
                                base29,
                                len29 * (4 * ::core::mem::size_of::<*const u8>()),
                                ::core::mem::size_of::<*const u8>(),
                            );
                            let l30 = i32::from(
                                *arg0
                                    .add(17 * ::core::mem::size_of::<*const u8>())
                                    .cast::<u8>(),
                            );
                            let l34 = i32::from(
                                *arg0
                                    .add(20 * ::core::mem::size_of::<*const u8>())
                                    .cast::<u8>(),
                            );
                            T_::handle(super::super::super::super::wasmill::function::types::Event {
                                id: _rt::string_lift(bytes2),
                                source: _rt::string_lift(bytes5),
                                type_: _rt::string_lift(bytes8),
                                subject: match l9 {
                                    0 => None,
                                    1 => {
                                        let e = {
                                            let l10 = *arg0
                                                .add(7 * ::core::mem::size_of::<*const u8>())
                                                .cast::<*mut u8>();
                                            let l11 = *arg0
                                                .add(8 * ::core::mem::size_of::<*const u8>())
                                                .cast::<usize>();
                                            let len12 = l11;
                                            let bytes12 = _rt::Vec::from_raw_parts(
                                                l10.cast(),
                                                len12,
                                                len12,
                                            );
                                            _rt::string_lift(bytes12)
                                        };
                                        Some(e)
                                    }
                                    _ => _rt::invalid_enum_discriminant(),
                                },
                                time: match l13 {
                                    0 => None,
                                    1 => {
                                        let e = {
                                            let l14 = *arg0
                                                .add(10 * ::core::mem::size_of::<*const u8>())
                                                .cast::<*mut u8>();
                                            let l15 = *arg0
                                                .add(11 * ::core::mem::size_of::<*const u8>())
                                                .cast::<usize>();
                                            let len16 = l15;
                                            let bytes16 = _rt::Vec::from_raw_parts(
                                                l14.cast(),
                                                len16,
                                                len16,
                                            );
                                            _rt::string_lift(bytes16)
                                        };
                                        Some(e)
                                    }
                                    _ => _rt::invalid_enum_discriminant(),
                                },
                                dataschema: match l17 {
                                    0 => None,
                                    1 => {
                                        let e = {
                                            let l18 = *arg0
                                                .add(13 * ::core::mem::size_of::<*const u8>())
                                                .cast::<*mut u8>();
                                            let l19 = *arg0
                                                .add(14 * ::core::mem::size_of::<*const u8>())
                                                .cast::<usize>();
                                            let len20 = l19;
                                            let bytes20 = _rt::Vec::from_raw_parts(
                                                l18.cast(),
                                                len20,
                                                len20,
                                            );
                                            _rt::string_lift(bytes20)
                                        };
                                        Some(e)
                                    }
                                    _ => _rt::invalid_enum_discriminant(),
                                },
                                extensions: result29,
                                datacontenttype: match l30 {
                                    0 => None,
                                    1 => {
                                        let e = {
                                            let l31 = *arg0
                                                .add(18 * ::core::mem::size_of::<*const u8>())
                                                .cast::<*mut u8>();
                                            let l32 = *arg0
                                                .add(19 * ::core::mem::size_of::<*const u8>())
                                                .cast::<usize>();
                                            let len33 = l32;
                                            let bytes33 = _rt::Vec::from_raw_parts(
                                                l31.cast(),
                                                len33,
                                                len33,
                                            );
                                            _rt::string_lift(bytes33)
                                        };
                                        Some(e)
                                    }
                                    _ => _rt::invalid_enum_discriminant(),
                                },
                                data: match l34 {
                                    0 => None,
                                    1 => {
                                        let e = {
                                            let l35 = *arg0
                                                .add(21 * ::core::mem::size_of::<*const u8>())
                                                .cast::<*mut u8>();
                                            let l36 = *arg0
                                                .add(22 * ::core::mem::size_of::<*const u8>())
                                                .cast::<usize>();
                                            let len37 = l36;
                                            <_ as From<
                                                _rt::Vec<_>,
                                            >>::from(_rt::Vec::from_raw_parts(l35.cast(), len37, len37))
                                        };
                                        Some(e)
                                    }
                                    _ => _rt::invalid_enum_discriminant(),
                                },
                            })
                        };
                        _rt::cabi_dealloc(
                            arg0,
                            23 * ::core::mem::size_of::<*const u8>(),
                            ::core::mem::size_of::<*const u8>(),
                        );
                        let ptr39 = (&raw mut _RET_AREA.0).cast::<u8>();
                        match result38 {
                            Ok(e) => {
                                *ptr39.add(0).cast::<u8>() = (0i32) as u8;
                                let super::super::super::super::wasmill::function::types::Output {
                                    content_type: content_type40,
                                    data: data40,
                                    emit: emit40,
                                } = e;
                                match content_type40 {
                                    Some(e) => {
                                        *ptr39.add(8).cast::<u8>() = (1i32) as u8;
                                        let vec41 = (e.into_bytes()).into_boxed_slice();
                                        let ptr41 = vec41.as_ptr().cast::<u8>();
                                        let len41 = vec41.len();
                                        ::core::mem::forget(vec41);
                                        *ptr39
                                            .add(8 + 2 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>() = len41;
                                        *ptr39
                                            .add(8 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<*mut u8>() = ptr41.cast_mut();
                                    }
                                    None => {
                                        *ptr39.add(8).cast::<u8>() = (0i32) as u8;
                                    }
                                };
                                let vec42 = <_ as Into<_rt::Vec<_>>>::into(data40)
                                    .into_boxed_slice();
                                let ptr42 = vec42.as_ptr().cast::<u8>();
                                let len42 = vec42.len();
                                ::core::mem::forget(vec42);
                                *ptr39
                                    .add(8 + 4 * ::core::mem::size_of::<*const u8>())
                                    .cast::<usize>() = len42;
                                *ptr39
                                    .add(8 + 3 * ::core::mem::size_of::<*const u8>())
                                    .cast::<*mut u8>() = ptr42.cast_mut();
                                let vec53 = emit40;
                                let len53 = vec53.len();
                                let layout53 = _rt::alloc::Layout::from_size_align(
                                        vec53.len() * (16 * ::core::mem::size_of::<*const u8>()),
                                        ::core::mem::size_of::<*const u8>(),
                                    )
                                    .unwrap();
                                let (result53, _cleanup53) = ::wasmill_guest::rt::Cleanup::new(
                                    layout53,
                                );
                                if let Some(cleanup) = _cleanup53 {
                                    cleanup.forget();
                                }
                                for (i, e) in vec53.into_iter().enumerate() {
                                    let base = result53
                                        .add(i * (16 * ::core::mem::size_of::<*const u8>()));
                                    {
                                        let super::super::super::super::wasmill::function::types::EmittedEvent {
                                            type_: type_43,
                                            source: source43,
                                            subject: subject43,
                                            extensions: extensions43,
                                            datacontenttype: datacontenttype43,
                                            data: data43,
                                        } = e;
                                        let vec44 = (type_43.into_bytes()).into_boxed_slice();
                                        let ptr44 = vec44.as_ptr().cast::<u8>();
                                        let len44 = vec44.len();
                                        ::core::mem::forget(vec44);
                                        *base
                                            .add(::core::mem::size_of::<*const u8>())
                                            .cast::<usize>() = len44;
                                        *base.add(0).cast::<*mut u8>() = ptr44.cast_mut();
                                        match source43 {
                                            Some(e) => {
                                                *base
                                                    .add(2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (1i32) as u8;
                                                let vec45 = (e.into_bytes()).into_boxed_slice();
                                                let ptr45 = vec45.as_ptr().cast::<u8>();
                                                let len45 = vec45.len();
                                                ::core::mem::forget(vec45);
                                                *base
                                                    .add(4 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len45;
                                                *base
                                                    .add(3 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>() = ptr45.cast_mut();
                                            }
                                            None => {
                                                *base
                                                    .add(2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (0i32) as u8;
                                            }
                                        };
                                        match subject43 {
                                            Some(e) => {
                                                *base
                                                    .add(5 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (1i32) as u8;
                                                let vec46 = (e.into_bytes()).into_boxed_slice();
                                                let ptr46 = vec46.as_ptr().cast::<u8>();
                                                let len46 = vec46.len();
                                                ::core::mem::forget(vec46);
                                                *base
                                                    .add(7 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len46;
                                                *base
                                                    .add(6 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>() = ptr46.cast_mut();
                                            }
                                            None => {
                                                *base
                                                    .add(5 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (0i32) as u8;
                                            }
                                        };
                                        let vec50 = extensions43;
                                        let len50 = vec50.len();
                                        let layout50 = _rt::alloc::Layout::from_size_align(
                                                vec50.len() * (4 * ::core::mem::size_of::<*const u8>()),
                                                ::core::mem::size_of::<*const u8>(),
                                            )
                                            .unwrap();
                                        let (result50, _cleanup50) = ::wasmill_guest::rt::Cleanup::new(
                                            layout50,
                                        );
                                        if let Some(cleanup) = _cleanup50 {
                                            cleanup.forget();
                                        }
                                        for (i, e) in vec50.into_iter().enumerate() {
                                            let base = result50
                                                .add(i * (4 * ::core::mem::size_of::<*const u8>()));
                                            {
                                                let (t47_0, t47_1) = e;
                                                let vec48 = (t47_0.into_bytes()).into_boxed_slice();
                                                let ptr48 = vec48.as_ptr().cast::<u8>();
                                                let len48 = vec48.len();
                                                ::core::mem::forget(vec48);
                                                *base
                                                    .add(::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len48;
                                                *base.add(0).cast::<*mut u8>() = ptr48.cast_mut();
                                                let vec49 = (t47_1.into_bytes()).into_boxed_slice();
                                                let ptr49 = vec49.as_ptr().cast::<u8>();
                                                let len49 = vec49.len();
                                                ::core::mem::forget(vec49);
                                                *base
                                                    .add(3 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len49;
                                                *base
                                                    .add(2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>() = ptr49.cast_mut();
                                            }
                                        }
                                        *base
                                            .add(9 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>() = len50;
                                        *base
                                            .add(8 * ::core::mem::size_of::<*const u8>())
                                            .cast::<*mut u8>() = result50;
                                        match datacontenttype43 {
                                            Some(e) => {
                                                *base
                                                    .add(10 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (1i32) as u8;
                                                let vec51 = (e.into_bytes()).into_boxed_slice();
                                                let ptr51 = vec51.as_ptr().cast::<u8>();
                                                let len51 = vec51.len();
                                                ::core::mem::forget(vec51);
                                                *base
                                                    .add(12 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len51;
                                                *base
                                                    .add(11 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>() = ptr51.cast_mut();
                                            }
                                            None => {
                                                *base
                                                    .add(10 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (0i32) as u8;
                                            }
                                        };
                                        match data43 {
                                            Some(e) => {
                                                *base
                                                    .add(13 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (1i32) as u8;
                                                let vec52 = <_ as Into<_rt::Vec<_>>>::into(e)
                                                    .into_boxed_slice();
                                                let ptr52 = vec52.as_ptr().cast::<u8>();
                                                let len52 = vec52.len();
                                                ::core::mem::forget(vec52);
                                                *base
                                                    .add(15 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>() = len52;
                                                *base
                                                    .add(14 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>() = ptr52.cast_mut();
                                            }
                                            None => {
                                                *base
                                                    .add(13 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (0i32) as u8;
                                            }
                                        };
                                    }
                                }
                                *ptr39
                                    .add(8 + 6 * ::core::mem::size_of::<*const u8>())
                                    .cast::<usize>() = len53;
                                *ptr39
                                    .add(8 + 5 * ::core::mem::size_of::<*const u8>())
                                    .cast::<*mut u8>() = result53;
                            }
                            Err(e) => {
                                *ptr39.add(0).cast::<u8>() = (1i32) as u8;
                                use super::super::super::super::wasmill::function::types::Failure as V57;
                                match e {
                                    V57::Retry(e) => {
                                        *ptr39.add(8).cast::<u8>() = (0i32) as u8;
                                        let super::super::super::super::wasmill::function::types::RetryAdvice {
                                            reason: reason54,
                                            delay_ms: delay_ms54,
                                        } = e;
                                        let vec55 = (reason54.into_bytes()).into_boxed_slice();
                                        let ptr55 = vec55.as_ptr().cast::<u8>();
                                        let len55 = vec55.len();
                                        ::core::mem::forget(vec55);
                                        *ptr39
                                            .add(16 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>() = len55;
                                        *ptr39.add(16).cast::<*mut u8>() = ptr55.cast_mut();
                                        match delay_ms54 {
                                            Some(e) => {
                                                *ptr39
                                                    .add(16 + 2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (1i32) as u8;
                                                *ptr39
                                                    .add(24 + 2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<i64>() = _rt::as_i64(e);
                                            }
                                            None => {
                                                *ptr39
                                                    .add(16 + 2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<u8>() = (0i32) as u8;
                                            }
                                        };
                                    }
                                    V57::Reject(e) => {
                                        *ptr39.add(8).cast::<u8>() = (1i32) as u8;
                                        let vec56 = (e.into_bytes()).into_boxed_slice();
                                        let ptr56 = vec56.as_ptr().cast::<u8>();
                                        let len56 = vec56.len();
                                        ::core::mem::forget(vec56);
                                        *ptr39
                                            .add(16 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>() = len56;
                                        *ptr39.add(16).cast::<*mut u8>() = ptr56.cast_mut();
                                    }
                                }
                            }
                        };
                        ptr39
                    }
                }
                #[doc(hidden)]
                #[allow(non_snake_case)]
                pub unsafe fn __post_return_handle<T_: Guest>(arg0: *mut u8) {
                    unsafe {
                        let l0 = i32::from(*arg0.add(0).cast::<u8>());
                        match l0 {
                            0 => {
                                let l1 = i32::from(*arg0.add(8).cast::<u8>());
                                match l1 {
                                    0 => {}
                                    _ => {
                                        let l2 = *arg0
                                            .add(8 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<*mut u8>();
                                        let l3 = *arg0
                                            .add(8 + 2 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>();
                                        _rt::cabi_dealloc(l2, l3, 1);
                                    }
                                }
                                let l4 = *arg0
                                    .add(8 + 3 * ::core::mem::size_of::<*const u8>())
                                    .cast::<*mut u8>();
                                let l5 = *arg0
                                    .add(8 + 4 * ::core::mem::size_of::<*const u8>())
                                    .cast::<usize>();
                                let base6 = l4;
                                let len6 = l5;
                                _rt::cabi_dealloc(base6, len6 * 1, 1);
                                let l7 = *arg0
                                    .add(8 + 5 * ::core::mem::size_of::<*const u8>())
                                    .cast::<*mut u8>();
                                let l8 = *arg0
                                    .add(8 + 6 * ::core::mem::size_of::<*const u8>())
                                    .cast::<usize>();
                                let base31 = l7;
                                let len31 = l8;
                                for i in 0..len31 {
                                    let base = base31
                                        .add(i * (16 * ::core::mem::size_of::<*const u8>()));
                                    {
                                        let l9 = *base.add(0).cast::<*mut u8>();
                                        let l10 = *base
                                            .add(::core::mem::size_of::<*const u8>())
                                            .cast::<usize>();
                                        _rt::cabi_dealloc(l9, l10, 1);
                                        let l11 = i32::from(
                                            *base
                                                .add(2 * ::core::mem::size_of::<*const u8>())
                                                .cast::<u8>(),
                                        );
                                        match l11 {
                                            0 => {}
                                            _ => {
                                                let l12 = *base
                                                    .add(3 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>();
                                                let l13 = *base
                                                    .add(4 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                _rt::cabi_dealloc(l12, l13, 1);
                                            }
                                        }
                                        let l14 = i32::from(
                                            *base
                                                .add(5 * ::core::mem::size_of::<*const u8>())
                                                .cast::<u8>(),
                                        );
                                        match l14 {
                                            0 => {}
                                            _ => {
                                                let l15 = *base
                                                    .add(6 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>();
                                                let l16 = *base
                                                    .add(7 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                _rt::cabi_dealloc(l15, l16, 1);
                                            }
                                        }
                                        let l17 = *base
                                            .add(8 * ::core::mem::size_of::<*const u8>())
                                            .cast::<*mut u8>();
                                        let l18 = *base
                                            .add(9 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>();
                                        let base23 = l17;
                                        let len23 = l18;
                                        for i in 0..len23 {
                                            let base = base23
                                                .add(i * (4 * ::core::mem::size_of::<*const u8>()));
                                            {
                                                let l19 = *base.add(0).cast::<*mut u8>();
                                                let l20 = *base
                                                    .add(::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                _rt::cabi_dealloc(l19, l20, 1);
                                                let l21 = *base
                                                    .add(2 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>();
                                                let l22 = *base
                                                    .add(3 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                _rt::cabi_dealloc(l21, l22, 1);
                                            }
                                        }
                                        _rt::cabi_dealloc(
                                            base23,
                                            len23 * (4 * ::core::mem::size_of::<*const u8>()),
                                            ::core::mem::size_of::<*const u8>(),
                                        );
                                        let l24 = i32::from(
                                            *base
                                                .add(10 * ::core::mem::size_of::<*const u8>())
                                                .cast::<u8>(),
                                        );
                                        match l24 {
                                            0 => {}
                                            _ => {
                                                let l25 = *base
                                                    .add(11 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>();
                                                let l26 = *base
                                                    .add(12 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                _rt::cabi_dealloc(l25, l26, 1);
                                            }
                                        }
                                        let l27 = i32::from(
                                            *base
                                                .add(13 * ::core::mem::size_of::<*const u8>())
                                                .cast::<u8>(),
                                        );
                                        match l27 {
                                            0 => {}
                                            _ => {
                                                let l28 = *base
                                                    .add(14 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<*mut u8>();
                                                let l29 = *base
                                                    .add(15 * ::core::mem::size_of::<*const u8>())
                                                    .cast::<usize>();
                                                let base30 = l28;
                                                let len30 = l29;
                                                _rt::cabi_dealloc(base30, len30 * 1, 1);
                                            }
                                        }
                                    }
                                }
                                _rt::cabi_dealloc(
                                    base31,
                                    len31 * (16 * ::core::mem::size_of::<*const u8>()),
                                    ::core::mem::size_of::<*const u8>(),
                                );
                            }
                            _ => {
                                let l32 = i32::from(*arg0.add(8).cast::<u8>());
                                match l32 {
                                    0 => {
                                        let l33 = *arg0.add(16).cast::<*mut u8>();
                                        let l34 = *arg0
                                            .add(16 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>();
                                        _rt::cabi_dealloc(l33, l34, 1);
                                    }
                                    _ => {
                                        let l35 = *arg0.add(16).cast::<*mut u8>();
                                        let l36 = *arg0
                                            .add(16 + 1 * ::core::mem::size_of::<*const u8>())
                                            .cast::<usize>();
                                        _rt::cabi_dealloc(l35, l36, 1);
                                    }
                                }
                            }
                        }
                    }
                }
                pub trait Guest {
                    /// Called once for each attempt. Unless the manifest's `instances.reuse` says otherwise, the instance is fresh:
                    /// nothing is left of earlier calls.
                    #[allow(async_fn_in_trait)]
                    fn handle(event: Event) -> ::core::result::Result<Output, Failure>;
                }
                #[doc(hidden)]
                #[macro_export]
                macro_rules! __export_wasmill_function_handler_0_1_0_cabi {
                    ($ty:ident with_types_in $($path_to_types:tt)*) => {
                        const _ : () = { #[unsafe (export_name =
                        "wasmill:function/handler@0.1.0#handle")] unsafe extern "C" fn
                        export_handle(arg0 : * mut u8,) -> * mut u8 { unsafe {
                        $($path_to_types)*:: _export_handle_cabi::<$ty > (arg0) } }
                        #[unsafe (export_name =
                        "cabi_post_wasmill:function/handler@0.1.0#handle")] unsafe extern
                        "C" fn _post_return_handle(arg0 : * mut u8,) { unsafe {
                        $($path_to_types)*:: __post_return_handle::<$ty > (arg0) } } };
                    };
                }
                #[doc(hidden)]
                pub use __export_wasmill_function_handler_0_1_0_cabi;
                #[repr(align(8))]
                struct _RetArea(
                    [::core::mem::MaybeUninit<
                        u8,
                    >; 16 + 6 * ::core::mem::size_of::<*const u8>()],
                );
                static mut _RET_AREA: _RetArea = _RetArea(
                    [::core::mem::MaybeUninit::uninit(); 16
                        + 6 * ::core::mem::size_of::<*const u8>()],
                );
            }
        }
    }
}
mod _rt {
    #![allow(dead_code, unused_imports, clippy::all)]
    pub use alloc_crate::string::String;
    pub use alloc_crate::vec::Vec;
    pub unsafe fn string_lift(bytes: Vec<u8>) -> String {
        if cfg!(debug_assertions) {
            String::from_utf8(bytes).unwrap()
        } else {
            unsafe { String::from_utf8_unchecked(bytes) }
        }
    }
    pub unsafe fn invalid_enum_discriminant<T>() -> T {
        if cfg!(debug_assertions) {
            panic!("invalid enum discriminant")
        } else {
            unsafe { core::hint::unreachable_unchecked() }
        }
    }
    pub use alloc_crate::alloc;
    #[cfg(target_arch = "wasm32")]
    pub fn run_ctors_once() {
        ::wasmill_guest::rt::run_ctors_once();
    }
    pub unsafe fn cabi_dealloc(ptr: *mut u8, size: usize, align: usize) {
        if size == 0 {
            return;
        }
        unsafe {
            let layout = alloc::Layout::from_size_align_unchecked(size, align);
            alloc::dealloc(ptr, layout);
        }
    }
    pub fn as_i64<T: AsI64>(t: T) -> i64 {
        t.as_i64()
    }
    pub trait AsI64 {
        fn as_i64(self) -> i64;
    }
    impl<'a, T: Copy + AsI64> AsI64 for &'a T {
        fn as_i64(self) -> i64 {
            (*self).as_i64()
        }
    }
    impl AsI64 for i64 {
        #[inline]
        fn as_i64(self) -> i64 {
            self as i64
        }
    }
    impl AsI64 for u64 {
        #[inline]
        fn as_i64(self) -> i64 {
            self as i64
        }
    }
    extern crate alloc as alloc_crate;
}
/// Generates `#[unsafe(no_mangle)]` functions to export the specified type as
/// the root implementation of all generated traits.
///
/// For more information see the documentation of `wit_bindgen::generate!`.
///
/// ```rust
/// # macro_rules! export{ ($($t:tt)*) => (); }
/// # trait Guest {}
/// struct MyType;
///
/// impl Guest for MyType {
///     // ...
/// }
///
/// export!(MyType);
/// ```
#[allow(unused_macros)]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_function_impl {
    ($ty:ident) => {
        wasmill_guest::bindings::export!($ty with_types_in wasmill_guest::bindings);
    };
    ($ty:ident with_types_in $($path_to_types_root:tt)*) => {
        $($path_to_types_root)*::
        exports::wasmill::function::handler::__export_wasmill_function_handler_0_1_0_cabi!($ty
        with_types_in $($path_to_types_root)*:: exports::wasmill::function::handler);
        const _ : () = { #[cfg(target_arch = "wasm32")] #[unsafe (link_section =
        "component-type:wit-bindgen:0.63.0:wasmill:function@0.1.0:function:imports and exports")]
        #[doc(hidden)] #[allow(clippy::octal_escapes)] pub static
        __WIT_BINDGEN_COMPONENT_TYPE : [u8; 957] = *
        b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xbe\x06\x01A\x02\x01\
A\x0b\x01B\x05\x01ks\x01r\x09\x02ids\x06tenants\x08functions\x07versions\x07atte\
mpty\x0cmax-attemptsy\x0bdeadline-msw\x0btraceparents\x0atracestate\0\x04\0\x09e\
xecution\x03\0\x01\x01@\0\0\x02\x04\0\x07current\x01\x03\x03\0\x1ewasmill:functi\
on/context@0.1.0\x05\0\x01B\x06\x01m\x05\x05trace\x05debug\x04info\x04warn\x05er\
ror\x04\0\x05level\x03\0\0\x01o\x02ss\x01p\x02\x01@\x03\x05level\x01\x07messages\
\x06fields\x03\x01\0\x04\0\x03log\x01\x04\x03\0\x1awasmill:function/log@0.1.0\x05\
\x01\x01B\x11\x01ks\x01o\x02ss\x01p\x01\x01p}\x01k\x03\x01r\x09\x02ids\x06source\
s\x04types\x07subject\0\x04time\0\x0adataschema\0\x0aextensions\x02\x0fdataconte\
nttype\0\x04data\x04\x04\0\x05event\x03\0\x05\x01r\x06\x04types\x06source\0\x07s\
ubject\0\x0aextensions\x02\x0fdatacontenttype\0\x04data\x04\x04\0\x0demitted-eve\
nt\x03\0\x07\x01p\x08\x01r\x03\x0ccontent-type\0\x04data\x03\x04emit\x09\x04\0\x06\
output\x03\0\x0a\x01kw\x01r\x02\x06reasons\x08delay-ms\x0c\x04\0\x0cretry-advice\
\x03\0\x0d\x01q\x02\x05retry\x01\x0e\0\x06reject\x01s\0\x04\0\x07failure\x03\0\x0f\
\x03\0\x1cwasmill:function/types@0.1.0\x05\x02\x02\x03\0\x02\x05event\x02\x03\0\x02\
\x06output\x02\x03\0\x02\x07failure\x01B\x09\x02\x03\x02\x01\x03\x04\0\x05event\x03\
\0\0\x02\x03\x02\x01\x04\x04\0\x06output\x03\0\x02\x02\x03\x02\x01\x05\x04\0\x07\
failure\x03\0\x04\x01j\x01\x03\x01\x05\x01@\x01\x05event\x01\0\x06\x04\0\x06hand\
le\x01\x07\x04\0\x1ewasmill:function/handler@0.1.0\x05\x06\x04\0\x1fwasmill:func\
tion/function@0.1.0\x04\0\x0b\x0e\x01\0\x08function\x03\0\0\0G\x09producers\x01\x0c\
processed-by\x02\x0dwit-component\x070.262.0\x10wit-bindgen-rust\x060.63.0";
        };
    };
}
#[doc(inline)]
pub use __export_function_impl as export;
#[cfg(target_arch = "wasm32")]
#[unsafe(
    link_section = "component-type:wit-bindgen:0.63.0:wasmill:function@0.1.0:function-with-all-of-its-exports-removed:encoded world"
)]
#[doc(hidden)]
#[allow(clippy::octal_escapes)]
pub static __WIT_BINDGEN_COMPONENT_TYPE: [u8; 870] = *b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xc7\x05\x01A\x02\x01\
A\x06\x01B\x05\x01ks\x01r\x09\x02ids\x06tenants\x08functions\x07versions\x07atte\
mpty\x0cmax-attemptsy\x0bdeadline-msw\x0btraceparents\x0atracestate\0\x04\0\x09e\
xecution\x03\0\x01\x01@\0\0\x02\x04\0\x07current\x01\x03\x03\0\x1ewasmill:functi\
on/context@0.1.0\x05\0\x01B\x06\x01m\x05\x05trace\x05debug\x04info\x04warn\x05er\
ror\x04\0\x05level\x03\0\0\x01o\x02ss\x01p\x02\x01@\x03\x05level\x01\x07messages\
\x06fields\x03\x01\0\x04\0\x03log\x01\x04\x03\0\x1awasmill:function/log@0.1.0\x05\
\x01\x01B\x11\x01ks\x01o\x02ss\x01p\x01\x01p}\x01k\x03\x01r\x09\x02ids\x06source\
s\x04types\x07subject\0\x04time\0\x0adataschema\0\x0aextensions\x02\x0fdataconte\
nttype\0\x04data\x04\x04\0\x05event\x03\0\x05\x01r\x06\x04types\x06source\0\x07s\
ubject\0\x0aextensions\x02\x0fdatacontenttype\0\x04data\x04\x04\0\x0demitted-eve\
nt\x03\0\x07\x01p\x08\x01r\x03\x0ccontent-type\0\x04data\x03\x04emit\x09\x04\0\x06\
output\x03\0\x0a\x01kw\x01r\x02\x06reasons\x08delay-ms\x0c\x04\0\x0cretry-advice\
\x03\0\x0d\x01q\x02\x05retry\x01\x0e\0\x06reject\x01s\0\x04\0\x07failure\x03\0\x0f\
\x03\0\x1cwasmill:function/types@0.1.0\x05\x02\x04\0?wasmill:function/function-w\
ith-all-of-its-exports-removed@0.1.0\x04\0\x0b.\x01\0(function-with-all-of-its-e\
xports-removed\x03\0\0\0G\x09producers\x01\x0cprocessed-by\x02\x0dwit-component\x07\
0.262.0\x10wit-bindgen-rust\x060.63.0";
#[inline(never)]
#[doc(hidden)]
pub fn __link_custom_section_describing_imports() {
    ::wasmill_guest::rt::maybe_link_cabi_realloc();
}
