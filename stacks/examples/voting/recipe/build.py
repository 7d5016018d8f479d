"""When something has to be made again, and making it.

Owns: the cache (a stamp for the whole, layers by the hash of what goes into
them) and compiling the Python files of a layer. Leaves to images.py: what the
images are.

The same package versions and the same files of this repository give the same
digests, on any machine whose zlib compresses alike; the digests of the
uncompressed layers do not depend on that either.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

import debian
import images
import oci
from layer import Layer, Tree, unmet

HERE = os.path.dirname(os.path.abspath(__file__))


def sha256(*parts):
    """One hash over several texts or bytes."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def read(path):
    """A file's bytes."""
    with open(path, "rb") as stream:
        return stream.read()


def recipe_hash():
    """Changes with any file of the recipe itself."""
    return sha256(*(read(os.path.join(HERE, f)) for f in sorted(os.listdir(HERE))
                    if f.endswith(".py")))


def sources_hash():
    """Changes with any file of this repository that goes into an image."""
    rows = []
    for folder in ("common", "rootfs", "vote", "worker", "result"):
        place = os.path.join(images.HOME, folder)
        for file in sorted(os.listdir(place)):
            path = os.path.join(place, file)
            if os.path.isfile(path):
                rows += [f"{folder}/{file}", read(path)]
    return sha256(*rows)


def compile_python(tree, lower):
    """Adds the compiled form of each Python file, made by the image's own interpreter.

    The compiled files are marked as never to be checked against their sources,
    so that no time in them can differ. Containers start about a second sooner.
    """
    files = [p for p in tree.entries if p.endswith(".py")]
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="skep-images-") as root:
        for data in [*(gzip.decompress(blob) for blob in lower), tree.tar()]:
            unpack(data, root)
        loader = next(p for folder in ("lib64", "lib") if os.path.isdir(f"{root}/usr/{folder}")
                      for p in sorted(os.scandir(f"{root}/usr/{folder}"), key=lambda e: e.name)
                      if p.name.startswith("ld-linux")).path
        libraries = [d for d, _, names in os.walk(f"{root}/usr/lib") if "libc.so.6" in names]
        if os.path.islink(loader):
            loader = os.path.join(libraries[0], os.path.basename(os.readlink(loader)))
        listing = "\n".join(os.path.join(root, f) for f in sorted(files))
        done = subprocess.run(
            [loader, "--library-path", libraries[0], f"{root}/usr/bin/python3", "-S", "-m",
             "compileall", "-q", "-s", root, "--invalidation-mode", "unchecked-hash", "-i", "-"],
            input=listing.encode(), capture_output=True, check=False,
            env={"PYTHONHOME": f"{root}/usr", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"})
        if done.returncode != 0:
            raise debian.RecipeError("compiling the Python files failed: "
                                     + (done.stdout + done.stderr).decode().strip()[-2000:])
        for file in files:
            folder = os.path.join(os.path.dirname(file), "__pycache__")
            stem = os.path.basename(file)[:-3] + "."
            place = os.path.join(root, folder)
            for name in sorted(os.listdir(place)):
                if name.startswith(stem) and name.endswith(".pyc") and name.count(".") == 2:
                    tree.copy(os.path.join(place, name), f"{folder}/{name}")


def unpack(data, root):
    """Lays a layer's directories, links and files under `root`, owned by who builds."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = os.path.join(root, member.name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
                continue
            if os.path.lexists(path):
                os.unlink(path)
            if member.issym():
                os.symlink(member.linkname, path)
            elif member.isreg():
                with open(path, "wb") as out:
                    out.write(archive.extractfile(member).read())
                os.chmod(path, member.mode)


def make_layer(name, recipe, debs, lower, cache, key):
    """A layer from the cache, or made and put there."""
    path = os.path.join(cache, "layers", f"{name}-{key[:24]}")
    try:
        return Layer(read(path + ".diff").decode(), read(path + ".tar.gz")), None
    except FileNotFoundError:
        pass
    tree = Tree()
    recipe.build(tree, debs())
    if recipe.name == "python" or "python" in recipe.below:
        compile_python(tree, lower)
    layer = Layer.of(tree)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    for end, data in ((".tar.gz", layer.blob), (".diff", layer.diff_id.encode())):
        with open(path + ".part", "wb") as out:
            out.write(data)
        os.rename(path + ".part", path + end)
    return layer, tree


def resolve():
    """The packages of every layer, as apt would install them today."""
    with tempfile.TemporaryDirectory(prefix="skep-images-") as scratch:
        archive = debian.Archive(scratch)
        layers = images.recipes(archive)
        return layers, images.closures(archive, layers)


def build(out, cache, say):
    """Makes what is missing; returns [(archive, image name, digest)]."""
    stamp_path = os.path.join(cache, "stamp.json")
    inputs = sha256(recipe_hash(), sources_hash(), debian.lists_stamp(), debian.architecture())
    try:
        stamp = json.loads(read(stamp_path))
    except (FileNotFoundError, ValueError):
        stamp = {}
    done = stamp.get("images", [])
    if stamp.get("inputs") == inputs and stamp.get("out") == out and done and all(
            os.path.exists(p) and os.path.getsize(p) == size for p, _, _, size in done):
        return [row[:3] for row in done], True

    os.makedirs(out, exist_ok=True)
    say("asking apt which packages the images need")
    try:
        layers, packages = resolve()
        download_all(packages, cache, say)
    except debian.RecipeError as error:
        say(f"{error}; fetching apt's lists")
        debian.update()
        layers, packages = resolve()
        download_all(packages, cache, say)
        inputs = sha256(recipe_hash(), sources_hash(), debian.lists_stamp(), debian.architecture())

    made, trees, keys = {}, {}, {}
    for name, recipe in layers.items():
        keys[name] = sha256(
            recipe_hash(), name, *(p.line() for p in packages[name]),
            *(keys[lower] for lower in recipe.below),
            *(read(os.path.join(images.HOME, s)) for s in recipe.sources))
        lower = [made[b].blob for b in recipe.below]
        made[name], tree = make_layer(
            name, recipe, lambda n=name: debian.download(packages[n], f"{cache}/debs"),
            lower, cache, keys[name])
        if tree is not None:
            trees[name] = tree
            say(f"layer {name}: {len(packages[name])} packages, {len(made[name].blob) >> 10} kB")

    rows = []
    for file, name, parts, config in images.IMAGES:
        if all(part in trees for part in parts):
            check(name, [trees[part] for part in parts])
        path = os.path.join(out, f"{file}.tar")
        digest = oci.write(path, name, debian.architecture(), config,
                           [(part, made[part]) for part in parts])
        rows.append((path, name, digest, os.path.getsize(path)))
    forget_old(cache, keys, packages)
    with open(stamp_path + ".part", "w", encoding="utf-8") as stream:
        json.dump({"inputs": inputs, "out": out, "images": rows}, stream)
    os.rename(stamp_path + ".part", stamp_path)
    return [row[:3] for row in rows], False


def download_all(packages, cache, say):
    """Fetches every package that is not there yet, in one go."""
    wanted = {p.line(): p for group in packages.values() for p in group}
    folder = f"{cache}/debs"
    missing = [p for p in wanted.values()
               if not os.path.exists(f"{folder}/{p.name}-{p.sha256[:16]}.deb")]
    if missing:
        say(f"downloading {len(missing)} packages")
    debian.download(list(wanted.values()), folder)


def check(name, trees):
    """Refuses an image in which a program would not find a library."""
    missing = unmet(trees)
    if missing:
        raise debian.RecipeError(f"{name}: no library for " + ", ".join(
            f"{path} ({library})" for path, library in missing[:10]))


def forget_old(cache, keys, packages):
    """Removes layers and packages that nothing uses any more."""
    layers = {f"{name}-{key[:24]}" for name, key in keys.items()}
    for file in os.listdir(f"{cache}/layers"):
        if file.rsplit(".tar.gz")[0].rsplit(".diff")[0] not in layers:
            os.unlink(f"{cache}/layers/{file}")
    debs = {f"{p.name}-{p.sha256[:16]}.deb" for group in packages.values() for p in group}
    for file in os.listdir(f"{cache}/debs"):
        if file not in debs:
            path = f"{cache}/debs/{file}"
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def say(text):
    """Progress goes to standard error; standard output has only the result."""
    print(f"build-images: {text}", file=sys.stderr, flush=True)
