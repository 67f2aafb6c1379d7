const std = @import("std");
const wasmill = @import("wasmill.zig");

pub const panic = std.debug.FullPanic(wasmill.panicked);

comptime {
    wasmill.serve(handle);
}

fn recurse(depth: *u64) u64 {
    var deeper = depth.* + 1;
    return 1 + recurse(&deeper) + depth.*;
}

fn handle(event: wasmill.Event) wasmill.Result {
    const way = event.data orelse "";
    if (std.mem.eql(u8, way, "random")) {
        var drawn: [16]u8 = undefined;
        wasmill.random(&drawn);
        const text = std.fmt.allocPrint(wasmill.allocator, "\"{x}\"", .{&drawn}) catch @panic("out of memory");
        return .{ .success = .{ .data = text } };
    }
    if (std.mem.eql(u8, way, "text")) {
        wasmill.log(.info, "\xff in a log", &.{.of("field", "\"\xff\"")});
        return .{ .reject = "\xff in a reason" };
    }
    if (std.mem.eql(u8, way, "facts")) {
        const Numbers = struct { exact: u64, huge: f64 };
        const text = "{\"exact\": 18446744073709551615, \"huge\": 1e300}";
        const read = std.json.parseFromSliceLeaky(Numbers, wasmill.allocator, text, .{}) catch @panic("not JSON");
        const written = std.json.Stringify.valueAlloc(wasmill.allocator, read, .{}) catch @panic("out of memory");
        return .{ .success = .{ .data = written } };
    }
    if (std.mem.eql(u8, way, "check")) {
        var small: u8 = @intCast(way.len);
        small -= 6;
        return .{ .success = .{ .data = if (small > 0) "1" else "0" } };
    }
    if (std.mem.eql(u8, way, "recurse")) {
        var depth: u64 = way.len;
        return .{ .success = .{ .data = if (recurse(&depth) > 0) "1" else "0" } };
    }
    return .{ .success = .{ .data = "null" } };
}
