//! Real parts for the tests: a registry of its own for each test, and images
//! made of tiny tars.
#![allow(dead_code, missing_docs, unused_imports)]

mod fake;

pub use fake::{Fake, answer, serve};

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skep_agent_images::{Digest, ImageStore, Reference, RegistryConfig};
use tempfile::TempDir;

/// A `docker-registry` on a port of the loopback, gone when dropped.
pub struct Registry {
    child: Child,
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::start_with("")
    }

    /// `more` is further YAML of the registry's configuration.
    pub fn start_with(more: &str) -> Registry {
        for _ in 0..10 {
            let dir = tempdir();
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
                dir.path().join("data").display()
            );
            std::fs::write(&config, text).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry is installed (apt-get install docker-registry)");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) {
                // Somebody else may have taken the port between us.
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(address).is_ok() {
                    return Registry {
                        child,
                        address,
                        _dir: dir,
                    };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    /// The name of an image at this registry.
    pub fn name(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    pub fn config(&self) -> RegistryConfig {
        RegistryConfig {
            insecure: vec![self.address.to_string()],
            ..quick()
        }
    }

    pub async fn blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = digest(bytes);
        let base = format!("http://{}", self.address);
        let client = client();
        let begun = client
            .post(format!("{base}/v2/{repository}/blobs/uploads/"))
            .send()
            .await
            .unwrap();
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = client
            .put(format!("{location}{separator}digest={digest}"))
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
        digest
    }

    pub async fn manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        document: &Value,
    ) -> Digest {
        let bytes = serde_json::to_vec(document).unwrap();
        let put = client()
            .put(format!(
                "http://{}/v2/{repository}/manifests/{tag}",
                self.address
            ))
            .header("Content-Type", media_type)
            .body(bytes.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
        digest(&bytes)
    }

    /// Pushes an image, as OCI or in Docker's format; the manifest's digest.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        image: &TestImage,
        docker: bool,
    ) -> Digest {
        for layer in &image.layers {
            self.blob(repository, &layer.blob).await;
        }
        self.blob(repository, &image.config).await;
        let media_type = if docker {
            DOCKER_MANIFEST
        } else {
            OCI_MANIFEST
        };
        self.manifest(repository, tag, media_type, &image.manifest(docker))
            .await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
}

pub fn tempdir() -> TempDir {
    tempfile::Builder::new()
        .prefix("skep-t-images-")
        .tempdir()
        .unwrap()
}

/// A configuration that does not make tests wait.
pub fn quick() -> RegistryConfig {
    RegistryConfig {
        backoff: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        ..RegistryConfig::default()
    }
}

pub fn open(config: RegistryConfig) -> (ImageStore, TempDir) {
    let dir = tempdir();
    let store = ImageStore::open(dir.path(), config).unwrap();
    (store, dir)
}

pub fn digest(bytes: &[u8]) -> Digest {
    let sum = ring::digest::digest(&ring::digest::SHA256, bytes);
    format!("sha256:{}", hex::encode(sum)).parse().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Bytes that do not compress, always the same.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(length)
    .collect()
}

/// Entries of a layer, written without any of the checks a good tool makes.
#[derive(Default)]
pub struct LayerTar(Vec<u8>);

impl LayerTar {
    pub fn new() -> LayerTar {
        LayerTar::default()
    }

    fn entry(
        &mut self,
        kind: tar::EntryType,
        path: &str,
        edit: impl Fn(&mut tar::Header),
        content: &[u8],
    ) {
        let mut header = tar::Header::new_ustar();
        {
            let field = &mut header.as_old_mut().name;
            field[..path.len()].copy_from_slice(path.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        edit(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn file(mut self, path: &str, content: &[u8]) -> LayerTar {
        self.entry(tar::EntryType::Regular, path, |_| {}, content);
        self
    }

    pub fn owned(mut self, path: &str, mode: u32, uid: u64, gid: u64, content: &[u8]) -> LayerTar {
        let edit = |header: &mut tar::Header| {
            header.set_mode(mode);
            header.set_uid(uid);
            header.set_gid(gid);
        };
        let kind = if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        };
        self.entry(kind, path, edit, content);
        self
    }

    pub fn dir(self, path: &str) -> LayerTar {
        self.owned(
            &format!("{}/", path.trim_end_matches('/')),
            0o755,
            0,
            0,
            b"",
        )
    }

    fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> LayerTar {
        self.entry(
            kind,
            path,
            |header| header.set_link_name_literal(target).unwrap(),
            b"",
        );
        self
    }

    pub fn symlink(self, path: &str, target: &str) -> LayerTar {
        self.link(tar::EntryType::Symlink, path, target)
    }

    pub fn hardlink(self, path: &str, target: &str) -> LayerTar {
        self.link(tar::EntryType::Link, path, target)
    }

    pub fn device(mut self, path: &str, major: u32, minor: u32) -> LayerTar {
        let edit = |header: &mut tar::Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        };
        self.entry(tar::EntryType::Char, path, edit, b"");
        self
    }

    pub fn fifo(mut self, path: &str) -> LayerTar {
        self.entry(tar::EntryType::Fifo, path, |_| {}, b"");
        self
    }

    /// PAX records for the entry that follows.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> LayerTar {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|n| rest + n.to_string().len() == *n).unwrap();
            bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        self.entry(tar::EntryType::XHeader, "pax", |_| {}, &bytes);
        self
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub struct TestLayer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: &'static str,
}

impl TestLayer {
    pub fn gzip(tar: LayerTar) -> TestLayer {
        let tar = tar.bytes();
        TestLayer {
            blob: gzip(&tar),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }

    pub fn zstd(tar: LayerTar) -> TestLayer {
        let tar = tar.bytes();
        TestLayer {
            blob: zstd(&tar),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub fn plain(tar: LayerTar) -> TestLayer {
        let tar = tar.bytes();
        TestLayer {
            blob: tar.clone(),
            tar,
            media_type: "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

pub struct TestImage {
    pub config: Vec<u8>,
    pub layers: Vec<TestLayer>,
}

impl TestImage {
    pub fn new(layers: Vec<TestLayer>) -> TestImage {
        TestImage::for_arch(layers, arch())
    }

    pub fn for_arch(layers: Vec<TestLayer>, architecture: &str) -> TestImage {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| digest(&layer.tar)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": {"Cmd": ["/bin/true"], "Env": ["PATH=/bin"], "WorkingDir": "/w"},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        TestImage {
            config: serde_json::to_vec(&config).unwrap(),
            layers,
        }
    }

    pub fn id(&self) -> Digest {
        digest(&self.config)
    }

    pub fn manifest(&self, docker: bool) -> Value {
        let (manifest, config) = if docker {
            (
                DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
            )
        } else {
            (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json")
        };
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let media_type = if docker {
                    "application/vnd.docker.image.rootfs.diff.tar.gzip"
                } else {
                    layer.media_type
                };
                json!({"mediaType": media_type, "digest": digest(&layer.blob), "size": layer.blob.len()})
            })
            .collect();
        json!({
            "schemaVersion": 2, "mediaType": manifest,
            "config": {"mediaType": config, "digest": self.id(), "size": self.config.len()},
            "layers": layers,
        })
    }
}

/// This machine's architecture in Go's words.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A store's files, to see that nothing was left behind.
pub fn leftovers(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir.join("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn member(tar: LayerTar, path: &str, content: &[u8]) -> LayerTar {
    tar.file(path, content)
}

/// What `docker save` wrote before its version 25.
pub fn docker_archive(images: &[(&TestImage, &[&str])]) -> Vec<u8> {
    let mut tar = LayerTar::new();
    let mut manifest = Vec::new();
    for (image, names) in images {
        let config = format!("{}.json", image.id().hex());
        tar = member(tar, &config, &image.config);
        let mut layers = Vec::new();
        for layer in &image.layers {
            let path = format!("{}/layer.tar", digest(&layer.tar).hex());
            tar = member(tar, &path, &layer.tar);
            layers.push(path);
        }
        manifest.push(json!({"Config": config, "RepoTags": names, "Layers": layers}));
    }
    member(
        tar,
        "manifest.json",
        &serde_json::to_vec(&manifest).unwrap(),
    )
    .bytes()
}

/// An OCI layout in a tar; each image with its annotations.
pub fn oci_archive(images: &[(&TestImage, Value)]) -> Vec<u8> {
    let mut tar = LayerTar::new().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let mut entries = Vec::new();
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).hex());
    for (image, annotations) in images {
        let manifest = serde_json::to_vec(&image.manifest(false)).unwrap();
        tar = member(tar, &path(&manifest), &manifest);
        tar = member(tar, &path(&image.config), &image.config);
        for layer in &image.layers {
            tar = member(tar, &path(&layer.blob), &layer.blob);
        }
        entries.push(
            json!({"mediaType": OCI_MANIFEST, "digest": digest(&manifest),
            "size": manifest.len(), "annotations": annotations}),
        );
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    member(tar, "index.json", &serde_json::to_vec(&index).unwrap()).bytes()
}

/// Loads an archive from memory.
pub async fn load(
    store: &ImageStore,
    archive: Vec<u8>,
) -> Result<Vec<skep_agent_images::Image>, skep_agent_images::LoadError> {
    store.load(std::io::Cursor::new(archive), |_| {}).await
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
