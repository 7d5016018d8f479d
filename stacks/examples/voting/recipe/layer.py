"""One layer of an image: a sorted set of files, and its bytes.

Owns: what of a package an image keeps, the merged /usr, and writing the same
tree as the same bytes every time (sorted names, one fixed time, numeric owners,
no names of users). Leaves to oci.py: how layers become an image.
"""

import gzip
import hashlib
import io
import os
import re
import struct
import tarfile

import debian

# 2024-01-01T00:00:00Z: the time of every file and every image.
EPOCH = 1704067200

# Directories that are links into /usr, as on every Debian of today.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# What no container of ours looks at.
DROPPED = [
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
    "usr/share/bug", "usr/share/doc-base", "usr/share/bash-completion", "usr/share/menu",
    "usr/share/applications", "usr/share/pixmaps", "usr/share/apport", "usr/share/python3",
    "usr/share/dh-python", "usr/share/keyrings", "usr/share/gcc", "usr/share/gdb",
    "usr/share/debhelper", "usr/share/perl5",
    "usr/lib/systemd", "usr/lib/tmpfiles.d", "usr/lib/sysusers.d", "usr/lib/udev",
    "usr/lib/*/gconv", "usr/lib/*/audit", "usr/lib/*/security", "usr/lib/*/perl*",
    # Plugins that only an LDAP login would load.
    "usr/lib/*/sasl2",
    "etc/init.d", "etc/cron.*", "etc/logrotate.d", "etc/default", "etc/systemd", "etc/apparmor.d",
    "etc/ufw", "etc/pam.d", "etc/security", "etc/ld.so.conf.d", "var/lib/systemd", "var/cache",
]


class Tree:
    """Files by path; later additions win."""

    def __init__(self):
        self.entries = {}

    def put(self, path, data, mode=0o644, owner=0):
        """A regular file; `data` is bytes, or text."""
        data = data.encode() if isinstance(data, str) else data
        self.entries[path] = ("file", mode, owner, data)

    def folder(self, path, mode=0o755, owner=0):
        """A directory."""
        self.entries[path] = ("dir", mode, owner, b"")

    def link(self, path, target):
        """A symbolic link."""
        self.entries[path] = ("link", 0o777, 0, target.encode())

    def copy(self, source, path, mode=0o644):
        """A file of this repository."""
        with open(source, "rb") as stream:
            self.put(path, stream.read(), mode)

    def unpack(self, deb, keep=("*",), drop=()):
        """The files of a package that match `keep` and none of `drop` and DROPPED."""
        kept, dropped = pattern(keep), pattern((*DROPPED, *drop), below=True)
        for member, data in debian.files(deb):
            path = merged(member.name)
            if path is None or member.isdir() or not kept.match(path) or dropped.match(path):
                continue
            if member.issym():
                self.link(path, member.linkname)
            elif member.islnk():
                target = merged(member.linkname.removeprefix("./"))
                if target in self.entries:
                    self.entries[path] = self.entries[target]
            elif member.isreg():
                self.put(path, data, member.mode & 0o7777)

    def tar(self):
        """The layer as an uncompressed tar."""
        entries = dict(self.entries)
        for path in self.entries:
            parent = os.path.dirname(path)
            while parent and parent not in entries:
                entries[parent] = ("dir", 0o755, 0, b"")
                parent = os.path.dirname(parent)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(entries):
                kind, mode, owner, data = entries[path]
                member = tarfile.TarInfo(path)
                member.mode, member.uid, member.gid, member.mtime = mode, owner, owner, EPOCH
                if kind == "dir":
                    member.type = tarfile.DIRTYPE
                    archive.addfile(member)
                elif kind == "link":
                    member.type, member.linkname = tarfile.SYMTYPE, data.decode()
                    archive.addfile(member)
                else:
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        return out.getvalue()


class Layer:
    """A finished layer: its two digests and its compressed bytes."""

    def __init__(self, diff_id, blob):
        self.diff_id = diff_id
        self.blob = blob
        self.digest = "sha256:" + hashlib.sha256(blob).hexdigest()

    @staticmethod
    def of(tree):
        """Writes and compresses a tree."""
        data = tree.tar()
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as out:
            out.write(data)
        return Layer("sha256:" + hashlib.sha256(data).hexdigest(), packed.getvalue())


def pattern(globs, below=False):
    """One expression for several globs, in which * is anything; also what lies below them."""
    tail = "(?:/.*)?" if below else ""
    return re.compile("(?:" + "|".join(
        re.escape(glob).replace(r"\*", ".*") for glob in globs) + f"){tail}\\Z", re.DOTALL)


def merged(path):
    """The path after /bin, /lib and the like have become links; None for those themselves."""
    head, _, rest = path.partition("/")
    if head in MERGED:
        return f"usr/{path}" if rest else None
    return path


def needed(data):
    """The shared libraries that an ELF file asks for; none for anything else."""
    if data[:6] != b"\x7fELF\x02\x01":
        return []
    offset, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    loads = [h for h in headers if h[0] == 1]
    names, strings = [], 0
    for header in headers:
        if header[0] != 2:
            continue
        for at in range(header[2], header[2] + header[5], 16):
            tag, value = struct.unpack_from("<QQ", data, at)
            if tag == 0:
                break
            if tag == 1:
                names.append(value)
            elif tag == 5:
                strings = next((value - h[3] + h[2] for h in loads
                                if h[3] <= value < h[3] + h[5]), 0)
    return [data[strings + n:data.index(b"\0", strings + n)].decode() for n in names]


def unmet(trees):
    """(file, library) for each library that no layer of an image has."""
    entries = {}
    for tree in trees:
        entries.update(tree.entries)
    present = {os.path.basename(path) for path in entries}
    return sorted((path, name) for path, (kind, _, _, data) in entries.items() if kind == "file"
                  for name in needed(data) if name not in present)
