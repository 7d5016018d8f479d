"""What the five images are: their layers and their configuration.

Owns: the list of layers with their packages and files, and each image's
config. Leaves to debian.py where packages come from, and to build.py when
anything has to be made again.
"""

import os
import subprocess
import tempfile

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Needed only to install packages, to log in, or for features no image here uses.
NEVER = {
    "adduser", "debconf", "dpkg", "init-system-helpers", "locales", "locales-all", "lsb-base",
    "media-types", "perl", "perl-base", "postgresql-client-common", "postgresql-common",
    "sensible-utils", "ssl-cert", "sysvinit-utils", "ucf", "libdb5.3", "libncursesw6",
    "libnsl2", "libsqlite3-0", "libtirpc3", "libtirpc-common", "readline-common", "krb5-locales",
    "util-linux-extra", "libpam-modules", "libpam-runtime", "tar", "base-files", "netbase",
}

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

USERS = [("root", 0, "/root", "/bin/sh"), ("postgres", 70, "/var/lib/postgresql", "/bin/sh"),
         ("redis", 999, "/data", "/bin/sh"), ("worker", 1000, "/", "/bin/sh"),
         ("nobody", 65534, "/", "/usr/sbin/nologin")]


class Recipe:
    """A layer: what it is made from. `build(tree, debs)` fills it."""

    def __init__(self, name, build, roots=(), below=(), without=(), sources=()):
        self.name, self.build, self.roots = name, build, list(roots)
        self.below, self.without, self.sources = list(below), set(without), list(sources)


def base(tree, debs):
    """A shell with the usual tools, the C library, the users."""
    for name, deb in debs.items():
        if name == "libc-bin":
            tree.unpack(deb, keep=("usr/lib/locale/*", "usr/bin/getent", "usr/bin/locale"))
        elif name == "util-linux":
            tree.unpack(deb, keep=("usr/bin/setpriv",))
        elif name == "busybox-static":
            tree.unpack(deb, keep=("usr/bin/busybox",))
        else:
            tree.unpack(deb)
    with tempfile.TemporaryDirectory(prefix="skep-images-") as folder:
        program = os.path.join(folder, "busybox")
        with open(program, "wb") as out:
            out.write(tree.entries["usr/bin/busybox"][3])
        os.chmod(program, 0o755)
        applets = subprocess.run([program, "--list-full"], capture_output=True, check=True)
    for applet in applets.stdout.decode().split():
        name = os.path.basename(applet)
        if name not in ("busybox", "dpkg", "dpkg-deb", "rpm", "init", "linuxrc", "setpriv"):
            tree.entries.setdefault(f"usr/bin/{name}", ("link", 0o777, 0, b"busybox"))
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.link(name, f"usr/{name}")
    for path in ("dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr/lib64",
                 "usr/local/bin", "usr/sbin", "var/lib", "var/log"):
        tree.folder(path)
    tree.folder("root", 0o700)
    tree.folder("tmp", 0o1777)
    tree.folder("var/tmp", 0o1777)
    tree.link("var/run", "/run")
    tree.put("etc/passwd", "".join(f"{n}:x:{i}:{i}::{h}:{s}\n" for n, i, h, s in USERS))
    tree.put("etc/group", "".join(f"{n}:x:{i}:\n" for n, i, _, _ in USERS))
    tree.put("etc/shadow", "".join(f"{n}:*:19723:0:99999:7:::\n" for n, *_ in USERS), 0o640)
    tree.put("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"
                                  "services: files\nprotocols: files\n")
    tree.put("etc/os-release", 'ID=debian\nNAME="Debian, cut to a container"\n')


def packages(drop=()):
    """A layer that is just its packages."""
    def build(tree, debs):
        for deb in debs.values():
            tree.unpack(deb, drop=drop)
    return build


def redis(tree, debs):
    """Redis and its entrypoint; /data is its volume."""
    packages(("usr/share/redis", "etc/redis", "var", "lib/systemd"))(tree, debs)
    tree.copy(f"{HOME}/rootfs/redis-entrypoint", "usr/local/bin/docker-entrypoint.sh", 0o755)
    tree.folder("data", 0o755, 999)


def postgres(tree, debs):
    """PostgreSQL without its just-in-time compiler, its tools, its entrypoint."""
    packages(("usr/lib/postgresql/*/lib/bitcode", "usr/lib/postgresql/*/lib/llvmjit*",
              "usr/share/postgresql/*/man", "usr/share/postgresql-common", "usr/share/zoneinfo/right",
              "usr/share/zoneinfo/posix", "usr/share/postgresql/*/*.sample.orig", "etc/postgresql*",
              "usr/lib/postgresql/*/lib/pgxs", "var"))(tree, debs)
    for path in list(tree.entries):
        # /usr/lib/postgresql/15/bin/x as /usr/local/bin/x: the PATH names no version.
        parts = path.split("/")
        if path.startswith("usr/lib/postgresql/") and parts[4] == "bin":
            tree.link(f"usr/local/bin/{parts[5]}", f"/{path}")
    tree.copy(f"{HOME}/rootfs/postgres-entrypoint", "usr/local/bin/docker-entrypoint.sh", 0o755)
    tree.folder("docker-entrypoint-initdb.d")
    tree.folder("var/lib/postgresql", 0o755, 70)
    tree.folder("var/lib/postgresql/data", 0o700, 70)
    tree.folder("run/postgresql", 0o3777, 70)


def application(name):
    """One of our three programs with the module they share."""
    def build(tree, debs):
        del debs
        if name != "worker":
            tree.copy(f"{HOME}/common/web.py", "app/web.py")
        tree.copy(f"{HOME}/{name}/{name}.py", f"app/{name}.py")
    return build


PYTHON_DROPPED = tuple(
    f"usr/lib/python3*/{name}" for name in (
        "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "venv",
        "distutils", "curses", "dbm", "sqlite3", "unittest", "xmlrpc", "wsgiref", "config-*",
        "pydoc.py", "turtle.py", "EXTERNALLY-MANAGED",
        "lib-dynload/_sqlite3.*", "lib-dynload/_curses*", "lib-dynload/_dbm.*",
        "lib-dynload/readline.*", "lib-dynload/nis.*", "lib-dynload/_test*", "lib-dynload/xx*",
        "lib-dynload/_ctypes_test.*", "lib-dynload/_codecs_*")
) + ("usr/bin/pydoc*", "usr/bin/py3*", "usr/bin/pygettext*", "usr/share/binfmts", "etc/python3*",
     "usr/lib/valgrind", "usr/share/zsh", "usr/lib/python3/dist-packages/*.egg-info/*.txt")


def recipes(archive):
    """All layers by name, from the bottom up."""
    postgresql = archive.first(["postgresql-15", "postgresql-17", "postgresql-16"])
    layers = [
        Recipe("base", base, ["libc6", "libc-bin", "libgcc-s1", "busybox-static", "util-linux",
                              "libcap-ng0"],
               without={"libblkid1", "libmount1", "libpam0g", "libselinux1", "libsmartcols1",
                        "libsystemd0", "libudev1", "libuuid1", "libtinfo6", "zlib1g", "libcrypt1"}),
        Recipe("python", packages(PYTHON_DROPPED), ["python3"], ["base"], {"libreadline8"}),
        Recipe("python-redis", packages(PYTHON_DROPPED), ["python3-redis"], ["base", "python"]),
        Recipe("python-psycopg2", packages(PYTHON_DROPPED), ["python3-psycopg2"],
               ["base", "python"]),
        Recipe("redis", redis, ["redis-server"], ["base"],
               sources=["rootfs/redis-entrypoint"]),
        Recipe("postgres", postgres, [postgresql, postgresql.replace("-", "-client-"), "tzdata"],
               ["base"], {"libllvm14", "libllvm16", "libllvm19"},
               sources=["rootfs/postgres-entrypoint"]),
    ]
    for name in ("vote", "worker", "result"):
        sources = [f"{name}/{name}.py"] + (["common/web.py"] if name != "worker" else [])
        layers.append(Recipe(name, application(name), [], ["base", "python"], sources=sources))
    return {layer.name: layer for layer in layers}


def python_config(name, **more):
    """The config of one of our three programs."""
    return {"Env": [f"PATH={PATH}", "PYTHONUNBUFFERED=1"], "WorkingDir": "/app",
            "Cmd": ["python3", f"{name}.py"], **more}


# Name of the archive, name of the image, layers, config.
IMAGES = [
    ("redis", "library/redis:alpine", ["base", "redis"], {
        "Env": [f"PATH={PATH}"], "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["redis-server"],
        "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/data"}),
    ("postgres", "library/postgres:15-alpine", ["base", "postgres"], {
        "Env": [f"PATH={PATH}", "LANG=C.UTF-8", "PGDATA=/var/lib/postgresql/data"],
        "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["postgres"], "StopSignal": "SIGINT",
        "ExposedPorts": {"5432/tcp": {}}, "Volumes": {"/var/lib/postgresql/data": {}},
        "WorkingDir": "/"}),
    ("vote", "dockersamples/examplevotingapp_vote:latest",
     ["base", "python", "python-redis", "vote"],
     python_config("vote", ExposedPorts={"80/tcp": {}})),
    ("worker", "dockersamples/examplevotingapp_worker:latest",
     ["base", "python", "python-redis", "python-psycopg2", "worker"],
     python_config("worker", User="worker")),
    ("result", "dockersamples/examplevotingapp_result:latest",
     ["base", "python", "python-psycopg2", "result"],
     python_config("result", ExposedPorts={"80/tcp": {}})),
]


def closures(archive, layers):
    """{layer: packages}: what each layer adds to those below it."""
    own = {}
    for name, recipe in layers.items():
        have = {p.name for lower in recipe.below for p in own[lower]}
        if not recipe.roots:
            own[name] = []
            continue
        found = archive.closure(recipe.roots, NEVER | recipe.without | have)
        own[name] = [p for p in found if p.name not in have]
    return own


