//! undeb OUT DEB...: what the packages' data members hold, below OUT, a new or empty folder.
//!
//! The one program that Nix has to be given: with it, the interpreter that does everything else comes out of
//! Debian's packages. It runs no script of theirs, knows no owners and no times (a Nix store has neither), and
//! writes nothing outside of OUT, whatever a package says.
//!
//! Formats: deb(5); ar(5), common variant; tar as POSIX pax (IEEE 1003.1-2017, "pax Interchange Format") and GNU
//! tar's long names; data members as .tar, .tar.xz, .tar.gz and .tar.zst. Zig 0.13, its standard library alone.

const std = @import("std");

const block = 512;
/// As long as Linux takes a path; a longer one in an archive is a mistake or an attack.
const longest = 4096;

const Error = error{
    ExpectedOutAndPackages,
    FolderNotEmpty,
    NotADebianPackage,
    NoDataMember,
    UnknownCompression,
    CorruptTar,
    NameTooLong,
    NameLeavesTheFolder,
    NameGoesThroughALink,
    NeitherFileNorFolderNorLink,
};

/// What main() names when something is wrong: the package and, inside it, the path.
var package: []const u8 = "";
var member: std.BoundedArray(u8, longest) = .{};

fn at(name: []const u8) void {
    member.len = 0;
    member.appendSliceAssumeCapacity(name[0..@min(name.len, longest)]);
}

pub fn main() u8 {
    run() catch |err| {
        std.debug.print("undeb: {s}: {s}: {s}\n", .{ package, member.constSlice(), @errorName(err) });
        return 1;
    };
    return 0;
}

fn run() !void {
    const gpa = std.heap.page_allocator;
    const argv = try std.process.argsAlloc(gpa);
    if (argv.len < 3) return Error.ExpectedOutAndPackages;
    package = argv[1];
    std.fs.cwd().makeDir(argv[1]) catch |err| switch (err) {
        error.PathAlreadyExists => {},
        else => return err,
    };
    var out = try std.fs.cwd().openDir(argv[1], .{ .iterate = true });
    defer out.close();
    var there = out.iterate();
    if (try there.next() != null) return Error.FolderNotEmpty;
    for (argv[2..]) |path| {
        package = path;
        at("");
        try unpack(gpa, path, out);
    }
}

/// deb(5): an ar archive whose data member holds the files. Its other members say how to install, which nobody does.
fn unpack(gpa: std.mem.Allocator, path: []const u8, out: std.fs.Dir) !void {
    const file = try std.fs.cwd().openFile(path, .{});
    defer file.close();
    var magic: [8]u8 = undefined;
    if (try file.readAll(&magic) != magic.len or !std.mem.eql(u8, &magic, "!<arch>\n")) return Error.NotADebianPackage;
    while (true) {
        var header: [60]u8 = undefined;
        const got = try file.readAll(&header);
        if (got == 0) return Error.NoDataMember;
        if (got != header.len or !std.mem.eql(u8, header[58..], "`\n")) return Error.NotADebianPackage;
        const name = std.mem.trimRight(u8, header[0..16], " /");
        const size = std.fmt.parseInt(u63, std.mem.trim(u8, header[48..58], " "), 10) catch return Error.NotADebianPackage;
        if (!std.mem.startsWith(u8, name, "data.tar")) {
            try file.seekBy(@as(i64, size) + (size & 1));
            continue;
        }
        at(name);
        var limited = std.io.limitedReader(file.reader(), size);
        var buffered = std.io.bufferedReaderSize(1 << 16, limited.reader());
        const source = buffered.reader();
        if (std.mem.eql(u8, name, "data.tar")) {
            try extract(source.any(), out);
        } else if (std.mem.eql(u8, name, "data.tar.xz")) {
            var decoder = try std.compress.xz.decompress(gpa, source);
            defer decoder.deinit();
            try extractBuffered(decoder.reader(), out);
        } else if (std.mem.eql(u8, name, "data.tar.gz")) {
            var decoder = std.compress.gzip.decompressor(source);
            try extractBuffered(decoder.reader(), out);
        } else if (std.mem.eql(u8, name, "data.tar.zst")) {
            // 8 MiB is what every decoder has to grant (RFC 8878, 3.1.1.1.2) and what dpkg's level needs.
            const window = try gpa.alloc(u8, std.compress.zstd.DecompressorOptions.default_window_buffer_len);
            defer gpa.free(window);
            var decoder = std.compress.zstd.decompressor(source, .{ .window_buffer = window });
            try extractBuffered(decoder.reader(), out);
        } else return Error.UnknownCompression;
        return;
    }
}

fn extractBuffered(reader: anytype, out: std.fs.Dir) !void {
    var buffered = std.io.bufferedReaderSize(1 << 16, reader);
    const source = buffered.reader();
    try extract(source.any(), out);
}

/// A name that a header too small for it was given by the entry before (GNU's types L and K, or a pax record).
const Long = struct {
    bytes: [longest]u8 = undefined,
    length: ?usize = null,

    fn set(self: *Long, value: []const u8) !void {
        if (value.len > longest) return Error.NameTooLong;
        @memcpy(self.bytes[0..value.len], value);
        self.length = value.len;
    }

    fn take(self: *Long, otherwise: []const u8) []const u8 {
        const length = self.length orelse return otherwise;
        self.length = null;
        return self.bytes[0..length];
    }
};

fn extract(tar: std.io.AnyReader, out: std.fs.Dir) !void {
    var long_name = Long{};
    var long_link = Long{};
    var long_size: ?u64 = null;
    while (true) {
        var header: [block]u8 = undefined;
        try tar.readNoEof(&header);
        // The archive ends with two blocks of zeros; whoever wrote one meant the end.
        if (std.mem.allEqual(u8, &header, 0)) return finish(tar);
        try verify(&header);
        const kind = header[156];
        const size = long_size orelse try number(header[124..136]);
        switch (kind) {
            'L' => try long_name.set(std.mem.sliceTo(try contents(tar, size), 0)),
            'K' => try long_link.set(std.mem.sliceTo(try contents(tar, size), 0)),
            'x' => try records(try contents(tar, size), &long_name, &long_link, &long_size),
            // Global records hold comments in practice; a name for all entries makes no sense.
            'g' => _ = try contents(tar, size),
            else => {
                long_size = null;
                var joined: [257]u8 = undefined;
                const name = long_name.take(short(&header, &joined));
                const link = long_link.take(std.mem.sliceTo(header[157..257], 0));
                at(name);
                var entry = Entry{ .tar = tar, .name = name, .link = link, .size = size, .mode = try number(header[100..108]) };
                try entry.write(kind, out);
            },
        }
    }
}

/// What follows the end is read, so that a decompressor comes to its checksum and damage is noticed. A buffer gives less
/// than was asked for only at the end; asked once more, Zig's xz would look for another stream and fail.
fn finish(tar: std.io.AnyReader) !void {
    var rest: [1 << 12]u8 = undefined;
    while (try tar.read(&rest) == rest.len) {}
}

const Entry = struct {
    tar: std.io.AnyReader,
    name: []const u8,
    link: []const u8,
    size: u64,
    mode: u64,

    fn write(self: *Entry, kind: u8, out: std.fs.Dir) !void {
        var place = try Place.of(self.name, out) orelse return;
        defer place.folder.close();
        switch (kind) {
            '5' => place.folder.makeDir(place.name) catch |err| switch (err) {
                // Packages share folders. Whether it is one, and no link, is seen when something goes into it.
                error.PathAlreadyExists => {},
                else => return err,
            },
            '2' => try place.folder.symLink(self.link, place.name, .{}),
            '1' => {
                var target = try Place.of(self.link, out) orelse return Error.CorruptTar;
                defer target.folder.close();
                // Flags 0: a link to a symbolic link is one to the link itself, never to what it leads to.
                try std.posix.linkat(target.folder.fd, target.name, place.folder.fd, place.name, 0);
            },
            '0', '7', 0 => try self.copy(place),
            else => return Error.NeitherFileNorFolderNorLink,
        }
    }

    fn copy(self: *Entry, place: Place) !void {
        // Of the mode, a Nix store keeps one bit; setuid and the like are not for it.
        const mode: std.fs.File.Mode = if (self.mode & 0o111 != 0) 0o755 else 0o644;
        // Exclusive: two packages that hold one path are a mistake, and a link there is not followed.
        const file = try place.folder.createFile(place.name, .{ .mode = mode, .exclusive = true });
        defer file.close();
        var buffer: [1 << 16]u8 = undefined;
        var left = self.size;
        while (left > 0) {
            const part = buffer[0..@min(left, buffer.len)];
            try self.tar.readNoEof(part);
            try file.writeAll(part);
            left -= part.len;
        }
        try self.tar.skipBytes(padding(self.size), .{});
    }
};

/// A name's folder, opened, and the last part of the name.
const Place = struct {
    folder: std.fs.Dir,
    name: []const u8,

    /// Folders on the way are made. `null` for the root itself. Every step down is taken from an open folder and
    /// follows no link, so no archive can lead out of OUT, not even by a link that it brought itself.
    fn of(path: []const u8, out: std.fs.Dir) !?Place {
        var folder = try out.openDir(".", .{});
        errdefer folder.close();
        var last: ?[]const u8 = null;
        var parts = std.mem.tokenizeScalar(u8, path, '/');
        while (parts.next()) |part| {
            if (std.mem.eql(u8, part, ".")) continue;
            if (std.mem.eql(u8, part, "..")) return Error.NameLeavesTheFolder;
            if (last) |name| {
                const next = try enter(folder, name);
                folder.close();
                folder = next;
            }
            last = part;
        }
        const name = last orelse {
            folder.close();
            return null;
        };
        return .{ .folder = folder, .name = name };
    }
};

fn enter(folder: std.fs.Dir, name: []const u8) !std.fs.Dir {
    folder.makeDir(name) catch |err| switch (err) {
        error.PathAlreadyExists => {},
        else => return err,
    };
    return folder.openDir(name, .{ .no_follow = true }) catch |err| switch (err) {
        error.NotDir, error.SymLinkLoop => Error.NameGoesThroughALink,
        else => err,
    };
}

/// The sum of the header's bytes, its own field counted as spaces.
fn verify(header: *const [block]u8) !void {
    var sum: u64 = 8 * ' ';
    for (header, 0..) |byte, i| {
        if (i < 148 or i >= 156) sum += byte;
    }
    if (try number(header[148..156]) != sum) return Error.CorruptTar;
}

/// Octal digits between blanks, or where they do not suffice GNU's big-endian binary with the first bit set.
fn number(field: []const u8) !u64 {
    if (field[0] & 0x80 != 0) {
        var value: u64 = field[0] & 0x7f;
        for (field[1..]) |byte| value = (std.math.mul(u64, value, 256) catch return Error.CorruptTar) | byte;
        return value;
    }
    const digits = std.mem.trim(u8, field, " \x00");
    return if (digits.len == 0) 0 else std.fmt.parseInt(u64, digits, 8) catch Error.CorruptTar;
}

/// ustar splits a longer name at a slash: `prefix` and `name`. GNU tar keeps other things in that place.
fn short(header: *const [block]u8, joined: *[257]u8) []const u8 {
    const name = std.mem.sliceTo(header[0..100], 0);
    const prefix = std.mem.sliceTo(header[345..500], 0);
    if (prefix.len == 0 or !std.mem.eql(u8, header[257..263], "ustar\x00")) return name;
    return std.fmt.bufPrint(joined, "{s}/{s}", .{ prefix, name }) catch unreachable;
}

fn padding(size: u64) u64 {
    return (block - size % block) % block;
}

var held: [1 << 16]u8 = undefined;

/// The content of an entry that describes the next one. Small, or not to be believed.
fn contents(tar: std.io.AnyReader, size: u64) ![]const u8 {
    if (size > held.len) return Error.NameTooLong;
    const part = held[0..@intCast(size)];
    try tar.readNoEof(part);
    try tar.skipBytes(padding(size), .{});
    return part;
}

/// pax records, `LENGTH KEY=VALUE\n` each, the length counting the whole record.
fn records(data: []const u8, name: *Long, link: *Long, size: *?u64) !void {
    var rest = data;
    while (rest.len > 0) {
        const space = std.mem.indexOfScalar(u8, rest, ' ') orelse return Error.CorruptTar;
        const length = std.fmt.parseInt(usize, rest[0..space], 10) catch return Error.CorruptTar;
        if (length <= space + 1 or length > rest.len or rest[length - 1] != '\n') return Error.CorruptTar;
        const record = rest[space + 1 .. length - 1];
        const equals = std.mem.indexOfScalar(u8, record, '=') orelse return Error.CorruptTar;
        const key, const value = .{ record[0..equals], record[equals + 1 ..] };
        if (std.mem.eql(u8, key, "path")) {
            try name.set(value);
        } else if (std.mem.eql(u8, key, "linkpath")) {
            try link.set(value);
        } else if (std.mem.eql(u8, key, "size")) {
            size.* = std.fmt.parseInt(u64, value, 10) catch return Error.CorruptTar;
        }
        rest = rest[length..];
    }
}
