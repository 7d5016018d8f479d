//! Archives in: as Docker, containerd, podman, skopeo and build tools write them.

mod support;

use std::process::Command;

use serde_json::json;
use skep_agent_images::LoadError;
use support::*;

fn image(content: &[u8]) -> TestImage {
    TestImage::new(vec![
        TestLayer::gzip(LayerTar::new().dir("bin").file("bin/x", b"base")),
        TestLayer::zstd(LayerTar::new().file("content", content)),
    ])
}

#[tokio::test]
async fn a_docker_archive_gives_all_its_images_and_names() {
    let (store, dir) = open(quick());
    let (a, b) = (image(b"a"), image(b"b"));
    let archive = docker_archive(&[(&a, &["a:1", "host:5000/a:2"]), (&b, &[])]);
    for bytes in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let loaded = load(&store, bytes).await.unwrap();
        assert_eq!(loaded.len(), 2);
        assert_eq!(loaded[0].id, a.id());
        let names: Vec<String> = loaded[0]
            .references
            .iter()
            .map(|name| name.familiar())
            .collect();
        assert_eq!(names, ["a:1", "host:5000/a:2"]);
        assert_eq!(
            std::fs::read(loaded[1].layers[1].join("content")).unwrap(),
            b"b"
        );
        // The base is one directory for both.
        assert_eq!(loaded[0].layers[0], loaded[1].layers[0]);
    }
    assert_eq!(store.list().len(), 2);
    assert!(leftovers(dir.path()).is_empty());
}

#[tokio::test]
async fn an_oci_archive_gives_names_from_its_annotations() {
    for (annotations, want) in [
        (
            json!({"io.containerd.image.name": "docker.io/library/a:1", "org.opencontainers.image.ref.name": "1"}),
            Some("a:1"),
        ),
        (
            json!({"org.opencontainers.image.ref.name": "host/b:2"}),
            Some("host/b:2"),
        ),
        (json!({"org.opencontainers.image.ref.name": "latest"}), None),
        (json!(null), None),
    ] {
        let (store, _dir) = open(quick());
        let a = image(b"a");
        let loaded = load(&store, oci_archive(&[(&a, annotations)]))
            .await
            .unwrap();
        assert_eq!(loaded[0].id, a.id());
        assert_eq!(
            loaded[0]
                .references
                .first()
                .map(|name| name.familiar())
                .as_deref(),
            want
        );
        assert_eq!(
            std::fs::read(loaded[0].layers[1].join("content")).unwrap(),
            b"a"
        );
    }
}

#[tokio::test]
async fn what_skopeo_writes_in_both_formats_is_loaded() {
    let (store, dir) = open(quick());
    let a = TestImage::new(vec![
        TestLayer::gzip(LayerTar::new().dir("bin").file("bin/x", b"base")),
        TestLayer::gzip(LayerTar::new().file("content", b"a")),
    ]);
    let layout = dir.path().join("layout");
    std::fs::create_dir(&layout).unwrap();
    tar::Archive::new(&oci_archive(&[(&a, json!({"org.opencontainers.image.ref.name": "x"}))])[..])
        .unpack(&layout)
        .unwrap();
    for format in ["docker-archive", "oci-archive"] {
        let to = dir.path().join(format);
        let done = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q"])
            .arg(format!("oci:{}:x", layout.display()))
            .arg(format!("{format}:{}:some/name:{format}", to.display()))
            .output()
            .expect("skopeo is installed");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let archive = std::fs::File::open(&to).unwrap();
        let loaded = store.load(archive, |_| {}).await.unwrap();
        let names: Vec<String> = loaded[0]
            .references
            .iter()
            .map(|name| name.familiar())
            .collect();
        assert!(
            names.contains(&format!("some/name:{format}")),
            "{format}: {names:?}"
        );
        assert_eq!(
            std::fs::read(loaded[0].layers[1].join("content")).unwrap(),
            b"a"
        );
    }
}

#[tokio::test]
async fn what_is_no_archive_of_images_is_refused_with_the_reason() {
    let (store, dir) = open(quick());
    let whole = docker_archive(&[(&image(b"a"), &["a:1"])]);
    let mut swapped = image(b"a");
    swapped.layers.swap(0, 1);
    let foreign = TestImage::for_arch(vec![TestLayer::gzip(LayerTar::new())], "s390x");
    for (archive, want) in [
        (b"".to_vec(), "neither manifest.json nor index.json"),
        (b"hello".to_vec(), "damaged"),
        (vec![b'x'; 4096], "no tar archive"),
        (
            LayerTar::new().file("etc/passwd", b"").bytes(),
            "docker export",
        ),
        (
            LayerTar::new().file("manifest.json", b"{").bytes(),
            "manifest.json is malformed",
        ),
        (
            LayerTar::new().file("manifest.json", b"[]").bytes(),
            "holds no image",
        ),
        (
            LayerTar::new()
                .file("manifest.json", br#"[{"Config":"../../x"}]"#)
                .bytes(),
            "missing",
        ),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (docker_archive(&[(&swapped, &[])]), "instead of sha256"),
        (docker_archive(&[(&foreign, &[])]), "only for linux/s390x"),
        (
            oci_archive(&[(&foreign, json!({}))]),
            "only for linux/s390x",
        ),
    ] {
        let error = load(&store, archive).await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(want), "{want}: {text}");
    }
    assert!(store.list().is_empty());
    assert!(leftovers(dir.path()).is_empty());
    // A directory can be opened and not be read.
    let directory = std::fs::File::open(dir.path()).unwrap();
    let unreadable = store.load(directory, |_| {}).await.unwrap_err();
    assert!(matches!(unreadable, LoadError::Read(_)), "{unreadable}");
}
