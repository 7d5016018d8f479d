"""Debian packages as material: which ones, where from, what is in them.

Owns: the dependency closure as apt sees it, the download (apt checks the
archive's signature and each package's hash), and reading a package's files.
No package is installed and no maintainer script runs. Leaves to layer.py:
which of the files an image keeps.
"""

import hashlib
import io
import os
import re
import subprocess
import tarfile

LISTS = "/var/lib/apt/lists"


class RecipeError(Exception):
    """What the person at the terminal has to know, as one sentence."""


def run(*command, **options):
    """The output of a command; its error text in the exception when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, **options)
    except FileNotFoundError as error:
        raise RecipeError(f"{command[0]} is not installed; images are built on Debian") from error
    if done.returncode != 0:
        raise RecipeError(f"{' '.join(command[:3])}: {done.stderr.decode().strip()}")
    return done.stdout


def architecture():
    """Debian's name of this machine's architecture."""
    return run("dpkg", "--print-architecture").decode().strip()


def lists_stamp():
    """A text that changes whenever apt's lists of packages change."""
    rows = []
    try:
        for entry in sorted(os.scandir(LISTS), key=lambda e: e.name):
            if "_Packages" in entry.name:
                info = entry.stat()
                rows.append(f"{entry.name} {info.st_size} {info.st_mtime_ns}")
    except FileNotFoundError:
        pass
    return "\n".join(rows)


def update():
    """Fetches apt's lists."""
    run("apt-get", "update", "-qq")


class Package:
    """One package in the version that apt would install."""

    def __init__(self, fields):
        self.name = fields["Package"]
        self.version = fields["Version"]
        self.sha256 = fields.get("SHA256", "")
        self.depends = [
            [re.sub(r"[ (:].*", "", choice.strip()) for choice in group.split("|")]
            for key in ("Pre-Depends", "Depends")
            for group in fields.get(key, "").split(",") if group.strip()
        ]

    def line(self):
        """Name, version and hash: what makes a package the same package."""
        return f"{self.name} {self.version} {self.sha256}"


class Archive:
    """The packages apt knows, read as they are needed; `scratch` is a folder to work in."""

    def __init__(self, scratch):
        self.known = {}
        # apt keeps its index between two calls only where it is told to.
        self.command = ["apt-cache", "-o", f"Dir::Cache::pkgcache={scratch}/pkgcache.bin",
                        "-o", f"Dir::Cache::srcpkgcache={scratch}/srcpkgcache.bin",
                        "show", "--no-all-versions"]

    def load(self, names):
        """Reads what apt knows about these names; unknown ones are remembered as None."""
        missing = sorted(set(names) - self.known.keys())
        if not missing:
            return
        shown = subprocess.run([*self.command, *missing], capture_output=True, check=False).stdout.decode()
        for name in missing:
            self.known[name] = None
        for paragraph in shown.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in paragraph.splitlines()
                          if ": " in line and not line.startswith(" "))
            if "Package" in fields:
                self.known[fields["Package"]] = Package(fields)

    def first(self, names):
        """The first of these packages that exists."""
        self.load(names)
        for name in names:
            if self.known[name]:
                return name
        raise RecipeError(f"apt knows none of the packages {', '.join(names)}; try apt-get update")

    def closure(self, roots, without):
        """All packages that `roots` need, sorted by name, but not those in `without`."""
        found, level = set(), list(roots)
        while level:
            found |= set(level)
            self.load(level)
            for name in level:
                if self.known[name] is None:
                    raise RecipeError(f"apt does not know the package {name}; try apt-get update")
            groups = [g for name in level for g in self.known[name].depends]
            self.load(choice for group in groups for choice in group)
            level = set()
            for group in groups:
                if any(c in found or c in without or c in level for c in group):
                    continue
                # A name that only other packages provide is nothing an image
                # needs here: those are interpreters, mail programs, debconf.
                real = [c for c in group if self.known[c]]
                if real:
                    level.add(real[0])
            level = sorted(level)
        return [self.known[name] for name in sorted(found)]


def download(packages, folder):
    """Brings the packages into `folder`; returns {name: path}. Reuses what is there."""
    os.makedirs(folder, exist_ok=True)
    paths = {p.name: os.path.join(folder, f"{p.name}-{p.sha256[:16]}.deb") for p in packages}
    missing = [p for p in packages if not os.path.exists(paths[p.name])]
    if missing:
        new = os.path.join(folder, "new")
        run("rm", "-rf", new)
        os.makedirs(new)
        run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root",
            *[f"{p.name}={p.version}" for p in missing], cwd=new)
        for file in os.listdir(new):
            with open(os.path.join(new, file), "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            name = file.split("_")[0]
            package = next(p for p in missing if p.name == name)
            if digest != package.sha256:
                raise RecipeError(f"{file} is not the package that apt's lists describe")
            os.rename(os.path.join(new, file), paths[name])
        run("rm", "-rf", new)
        absent = [p.name for p in missing if not os.path.exists(paths[p.name])]
        if absent:
            raise RecipeError(f"apt did not download {', '.join(absent)}")
    return paths


def files(path):
    """The tar members of a package, as (TarInfo, data) with names without a leading ./"""
    data = run("dpkg-deb", "--fsys-tarfile", path)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            member.name = member.name.removeprefix("./").strip("/")
            if member.name and member.name != ".":
                stream = archive.extractfile(member) if member.isreg() else None
                yield member, stream.read() if stream else b""
