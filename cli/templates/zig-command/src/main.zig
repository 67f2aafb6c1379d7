//! Counts the words of the text on standard input, which is the event's data; standard output is the result.
const std = @import("std");

pub fn main(init: std.process.Init) !void {
    const allocator = init.arena.allocator();
    var input = std.Io.File.stdin().readerStreaming(init.io, &.{});
    const text = try input.interface.allocRemaining(allocator, .limited(16 << 20));
    const words = count(text);
    if (words == 0) {
        // Standard error becomes log lines, and any status but 0 a failure.
        std.debug.print("there are no words to count\n", .{});
        std.process.exit(1);
    }
    const result = try std.fmt.allocPrint(allocator, "{{\"words\": {d}}}\n", .{words});
    try std.Io.File.stdout().writeStreamingAll(init.io, result);
}

fn count(text: []const u8) usize {
    var words = std.mem.tokenizeAny(u8, text, " \t\r\n");
    var number: usize = 0;
    while (words.next()) |_| number += 1;
    return number;
}

test "words are counted" {
    try std.testing.expectEqual(3, count(" one two\nthree\n"));
}
