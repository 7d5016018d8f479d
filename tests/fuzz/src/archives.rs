//! Images: what registries say of them, and archives that are loaded.

use crate::targets::{Target, target};
use serde_json::json;
use skep_agent_images::{ImageStore, RegistryConfig, decoders};
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BLOCK: usize = 512;
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// All of them.
pub fn all() -> Vec<Target> {
    let mut targets = vec![
        target("document of a registry", documents(), decoders::document),
        target("answer of a registry", answers(), decoders::answer),
        target("tar", vec![layer()], |bytes| {
            decoders::tar(bytes);
            decoders::tar(&resealed(bytes));
        }),
    ];
    match Loader::new() {
        Ok(loader) => targets.push(target("image archive", images(), move |bytes| {
            loader.load(bytes.to_vec());
            loader.load(resealed(bytes));
        })),
        Err(error) => panic!("no store for images: {error}"),
    }
    targets
}

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": DIGEST, "size": 7,
        "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}})
}

fn documents() -> Vec<Vec<u8>> {
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let manifest = json!({"schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer), descriptor(layer)]});
    let index = json!({"schemaVersion": 2, "annotations": {"a": "b"},
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json")]});
    [manifest, index, config()]
        .map(|d| d.to_string().into_bytes())
        .to_vec()
}

fn config() -> serde_json::Value {
    json!({"os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z",
        "config": {"User": "1:2", "Env": ["A=b"], "Entrypoint": "sh", "Cmd": ["a"],
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1_000_000_000_u64}},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]}})
}

fn answers() -> Vec<Vec<u8>> {
    [
        "Bearer realm=\"https://auth/token\",service=\"reg\",scope=\"repository:a:pull\", Basic realm=x",
        "{\"token\": \"abc\", \"access_token\": null}",
        "{\"errors\": [{\"code\": \"DENIED\", \"message\": \"no \\u001b[31m\"}]}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A member of a tar stream.
fn member(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755\x000001000\x000001000\x00");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"14000000000\0");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let padding = content.len().next_multiple_of(BLOCK) - content.len();
    resealed(&[&header, content, &vec![0; padding]].concat())
}

/// With the sums that the headers should have: what spoils them would otherwise
/// be all that is seen.
fn resealed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    for block in tar.chunks_exact_mut(BLOCK) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar
}

/// All that a layer may hold, and some of what it must not.
fn layer() -> Vec<u8> {
    let pax = b"30 path=a/long/name/of/a/file\n19 size=00000000007\n";
    let mut tar = [
        member("etc/", b'5', "", b""),
        member("etc/passwd", b'0', "", b"root:x:0:0::/:/bin/sh\n"),
        member("etc/link", b'2', "../../../../etc/passwd", b""),
        member("etc/hard", b'1', "etc/passwd", b""),
        member("dev/null", b'3', "", b""),
        member("etc/.wh.shadow", b'0', "", b""),
        member("etc/.wh..wh..opq", b'0', "", b""),
        member("../../outside", b'0', "", b"x"),
        member("x", b'x', "", pax),
        member("file", b'0', "", b"content"),
        member("././@LongLink", b'L', "", &[b'n'; 200]),
        member("short", b'0', "", b"content"),
    ]
    .concat();
    tar.extend([0; 2 * BLOCK]);
    tar
}

/// An archive of Docker's and one of the OCI's layout.
fn images() -> Vec<Vec<u8>> {
    let json = |value: serde_json::Value| value.to_string().into_bytes();
    let docker = [
        member(
            "manifest.json",
            b'0',
            "",
            &json(json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}])),
        ),
        member("c.json", b'0', "", &json(config())),
        member("l.tar", b'0', "", &layer()),
        vec![0; 2 * BLOCK],
    ];
    let blob = format!("blobs/sha256/{}", DIGEST.trim_start_matches("sha256:"));
    let mut documents = documents().into_iter();
    let oci = [
        member(
            "oci-layout",
            b'0',
            "",
            b"{\"imageLayoutVersion\": \"1.0.0\"}",
        ),
        member(&blob, b'0', "", &documents.next().unwrap_or_default()),
        member(
            "index.json",
            b'0',
            "",
            &documents.next().unwrap_or_default(),
        ),
        vec![0; 2 * BLOCK],
    ];
    vec![docker.concat(), oci.concat()]
}

/// A store that archives are loaded into.
struct Loader {
    runtime: Runtime,
    store: ImageStore,
    /// Holds the store and nothing else.
    folder: TempDir,
}

impl Loader {
    fn new() -> Result<Loader, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(&folder.path().join("store"), RegistryConfig::default())?;
        Ok(Loader {
            runtime: Runtime::new()?,
            store,
            folder,
        })
    }

    fn load(&self, archive: Vec<u8>) {
        let loaded = self.store.load(Cursor::new(archive), |_| {});
        drop(self.runtime.block_on(loaded));
        let beside = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name() != Path::new("store"))
        };
        let folder = std::fs::read_dir(self.folder.path());
        assert!(
            !folder.is_ok_and(|mut folder| folder.any(beside)),
            "a layer got out of the store"
        );
    }
}
