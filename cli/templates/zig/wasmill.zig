//! The contract of wasmill:function for Zig: a handler takes an `Event` and returns a `Result`; `serve` names it.
//! The extern structs are laid out as the canonical ABI has the types of wit/wasmill-function.wit.
const std = @import("std");

/// Memory until the end of the call.
pub const allocator = arena.allocator();
var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);

/// Where a slice begins. That of an empty one may be anywhere, and the host wants an address in memory.
fn start(comptime T: type, slice: []const T) [*]const T {
    return if (slice.len == 0) @ptrFromInt(8) else slice.ptr;
}

/// Bytes, or a text in UTF-8.
const Bytes = extern struct {
    ptr: [*]const u8,
    len: usize,

    fn of(slice: []const u8) Bytes {
        return .{ .ptr = start(u8, slice), .len = slice.len };
    }
    fn view(self: Bytes) []const u8 {
        return self.ptr[0..self.len];
    }
};

const Option = extern struct {
    is_some: bool = false,
    value: Bytes = .of(""),

    fn of(slice: ?[]const u8) Option {
        return if (slice) |some| .{ .is_some = true, .value = .of(some) } else .{};
    }
    fn view(self: Option) ?[]const u8 {
        return if (self.is_some) self.value.view() else null;
    }
};

/// A name and a value. The value of a log field is a JSON text.
pub const Field = extern struct {
    name: Bytes,
    value: Bytes,

    pub fn of(name: []const u8, value: []const u8) Field {
        return .{ .name = .of(name), .value = .of(value) };
    }
};

/// An event as CloudEvents 1.0 has it. Its slices are good until the handler returns.
pub const Event = struct {
    id: []const u8 = "",
    source: []const u8 = "",
    type: []const u8 = "",
    subject: ?[]const u8 = null,
    time: ?[]const u8 = null,
    datacontenttype: ?[]const u8 = null,
    data: ?[]const u8 = null,
};

/// An event to publish if the result commits.
pub const Emitted = struct {
    type: []const u8,
    source: ?[]const u8 = null,
    subject: ?[]const u8 = null,
    datacontenttype: []const u8 = "application/json",
    data: []const u8,
};

/// What a handler made of its event.
pub const Result = union(enum) {
    success: struct {
        data: []const u8,
        content_type: []const u8 = "application/json",
        emit: []const Emitted = &.{},
    },
    /// The event will never work; the reason is for the operator.
    reject: []const u8,
    /// It may work later, after a pause if one is given.
    retry: struct { reason: []const u8, delay_ms: ?u64 = null },
};

pub const Level = enum(i32) { trace, debug, info, warn, @"error" };

/// Adds a line to the log.
pub fn log(level: Level, message: []const u8, fields: []const Field) void {
    const text = valid(message);
    const checked = allocator.dupe(Field, fields) catch @panic("out of memory");
    for (checked) |*field| field.* = .of(valid(field.name.view()), valid(field.value.view()));
    abi.log(level, start(u8, text), text.len, start(Field, checked), checked.len);
}

/// A text as the host takes it, which is UTF-8: other bytes become U+FFFD.
fn valid(text: []const u8) []const u8 {
    if (std.unicode.utf8ValidateSlice(text)) return text;
    return std.fmt.allocPrint(allocator, "{f}", .{std.unicode.fmtUtf8(text)}) catch @panic("out of memory");
}

/// Fills a buffer with random bytes, other ones in each call.
pub fn random(bytes: []u8) void {
    if (abi.random_get(bytes.ptr, bytes.len) != 0) @panic("there are no random bytes");
}

/// What a failed check comes to: `pub const panic = std.debug.FullPanic(wasmill.panicked);` in the root file has it in the log.
pub fn panicked(message: []const u8, _: ?usize) noreturn {
    abi.log(.@"error", start(u8, message), message.len, start(Field, &.{}), 0);
    @trap();
}

const abi = struct {
    extern "wasmill:function/log@0.1.0" fn log(level: Level, message: [*]const u8, length: usize, fields: [*]const Field, count: usize) void;

    extern "wasi_snapshot_preview1" fn random_get(into: [*]u8, size: usize) u16;

    const Event = extern struct {
        id: Bytes,
        source: Bytes,
        type: Bytes,
        subject: Option,
        time: Option,
        dataschema: Option,
        extensions: [*]const Field,
        extension_count: usize,
        datacontenttype: Option,
        data: Option,
    };

    const Emitted = extern struct {
        type: Bytes,
        source: Option,
        subject: Option,
        extensions: [*]const Field = start(Field, &.{}),
        extension_count: usize = 0,
        datacontenttype: Option,
        data: Option,
    };

    const Result = extern struct {
        is_failure: bool,
        value: extern union {
            output: extern struct { content_type: Option, data: Bytes, emit: [*]const abi.Emitted, emit_count: usize },
            failure: extern struct { is_rejection: bool, reason: extern struct { text: Bytes, has_delay: bool, delay_ms: u64 } },
        },
    };

    comptime {
        if (@sizeOf(usize) == 4) {
            std.debug.assert(@sizeOf(abi.Event) == 92 and @sizeOf(abi.Emitted) == 64 and @sizeOf(abi.Result) == 40);
        }
    }

    var result: abi.Result = undefined;

    fn realloc(old: ?[*]const u8, old_size: usize, alignment: usize, size: usize) callconv(.c) ?[*]const u8 {
        if (size == 0) return @ptrFromInt(alignment);
        const made = allocator.alignedAlloc(u8, .@"8", size) catch @panic("out of memory");
        if (old) |bytes| @memcpy(made[0..old_size], bytes[0..old_size]);
        return made.ptr;
    }

    fn done(_: *abi.Result) callconv(.c) void {
        _ = arena.reset(.retain_capacity);
    }
};

/// Makes `handler` what is called with each event.
pub fn serve(comptime handler: fn (Event) Result) void {
    const entry = struct {
        fn handle(raw: *const abi.Event) callconv(.c) *abi.Result {
            abi.result = switch (handler(.{
                .id = raw.id.view(),
                .source = raw.source.view(),
                .type = raw.type.view(),
                .subject = raw.subject.view(),
                .time = raw.time.view(),
                .datacontenttype = raw.datacontenttype.view(),
                .data = raw.data.view(),
            })) {
                .success => |output| success: {
                    const emit = allocator.alloc(abi.Emitted, output.emit.len) catch @panic("out of memory");
                    for (emit, output.emit) |*to, from| to.* = .{
                        .type = .of(from.type),
                        .source = .of(from.source),
                        .subject = .of(from.subject),
                        .datacontenttype = .of(from.datacontenttype),
                        .data = .of(from.data),
                    };
                    break :success .{ .is_failure = false, .value = .{ .output = .{
                        .content_type = .of(output.content_type),
                        .data = .of(output.data),
                        .emit = start(abi.Emitted, emit),
                        .emit_count = emit.len,
                    } } };
                },
                .reject => |reason| .{ .is_failure = true, .value = .{ .failure = .{
                    .is_rejection = true,
                    .reason = .{ .text = .of(valid(reason)), .has_delay = false, .delay_ms = 0 },
                } } },
                .retry => |advice| .{ .is_failure = true, .value = .{ .failure = .{
                    .is_rejection = false,
                    .reason = .{ .text = .of(valid(advice.reason)), .has_delay = advice.delay_ms != null, .delay_ms = advice.delay_ms orelse 0 },
                } } },
            };
            return &abi.result;
        }
    };
    const name = "wasmill:function/handler@0.1.0#handle";
    @export(&entry.handle, .{ .name = name });
    @export(&abi.done, .{ .name = "cabi_post_" ++ name });
    @export(&abi.realloc, .{ .name = "cabi_realloc" });
}
