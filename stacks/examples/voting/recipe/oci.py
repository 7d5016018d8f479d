"""OCI archives: config, manifest, index and layers in one tar.

Owns: the documents of the OCI image format, as few fields as an ordinary
image has, and the names an archive carries. Leaves to images.py: what the
fields say, and to layer.py: the layers.
"""

import hashlib
import io
import json
import os
import tarfile
import time

from layer import EPOCH

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CREATED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))


def document(value):
    """JSON with one spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(data):
    """The digest by which a blob is named."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(path, name, architecture, config, layers):
    """Writes one image with the given name (repository:tag) and returns its manifest's digest."""
    image = document({
        "created": CREATED, "architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for _, layer in layers]},
        "history": [{"created": CREATED, "created_by": f"build-images: {label}"}
                    for label, _ in layers],
    })
    manifest = document({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(image), "size": len(image)},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": len(layer.blob)}
                   for _, layer in layers],
    })
    index = document({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest),
            "platform": {"architecture": architecture, "os": "linux"},
            "annotations": {
                "io.containerd.image.name": f"docker.io/{name}",
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        }],
    })
    members = {"oci-layout": document({"imageLayoutVersion": "1.0.0"}), "index.json": index}
    for blob in (image, manifest, *(layer.blob for _, layer in layers)):
        members["blobs/sha256/" + digest(blob).removeprefix("sha256:")] = blob
    with tarfile.open(path + ".part", "w", format=tarfile.GNU_FORMAT) as archive:
        for folder in ("blobs", "blobs/sha256"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, EPOCH
            archive.addfile(member)
        for file in sorted(members):
            member = tarfile.TarInfo(file)
            member.size, member.mode, member.mtime = len(members[file]), 0o644, EPOCH
            archive.addfile(member, io.BytesIO(members[file]))
    os.rename(path + ".part", path)
    return digest(manifest)
