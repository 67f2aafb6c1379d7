//! Greets whoever the event names.
const std = @import("std");
const builtin = @import("builtin");
const wasmill = @import("wasmill.zig");

// The tests run natively, where there is no host.
const is_hosted = builtin.target.cpu.arch.isWasm();
pub const panic = std.debug.FullPanic(if (is_hosted) wasmill.panicked else std.debug.defaultPanic);

comptime {
    if (is_hosted) wasmill.serve(handle);
}

const Request = struct { name: []const u8 };

fn handle(event: wasmill.Event) wasmill.Result {
    return answer(event) catch |err| switch (err) {
        error.OutOfMemory => .{ .retry = .{ .reason = "out of memory" } },
        else => .{ .reject = "the data must be an object with a name" },
    };
}

fn answer(event: wasmill.Event) !wasmill.Result {
    const request = try std.json.parseFromSliceLeaky(Request, wasmill.allocator, event.data orelse "", .{ .ignore_unknown_fields = true });
    wasmill.log(.info, "greeted", &.{.of("name", try json(request.name))});
    return .{ .success = .{ .data = try json(.{ .greeting = try greet(wasmill.allocator, request.name) }) } };
}

fn json(value: anytype) ![]const u8 {
    return std.json.Stringify.valueAlloc(wasmill.allocator, value, .{});
}

fn greet(allocator: std.mem.Allocator, name: []const u8) ![]const u8 {
    const trimmed = std.mem.trim(u8, name, " ");
    return if (trimmed.len == 0) allocator.dupe(u8, "Hello!") else std.fmt.allocPrint(allocator, "Hello, {s}!", .{trimmed});
}

test "names are trimmed" {
    const greeting = try greet(std.testing.allocator, " Ada ");
    defer std.testing.allocator.free(greeting);
    try std.testing.expectEqualStrings("Hello, Ada!", greeting);
}
