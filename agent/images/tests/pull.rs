//! Pulls from a real registry.

mod support;

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;
use skep_agent_images::{Credentials, ImageStore, PullError, RegistryConfig, Stage};
use support::*;

fn small_image() -> TestImage {
    TestImage::new(vec![
        TestLayer::gzip(LayerTar::new().dir("bin").file("bin/true", b"#!").dir("w")),
        TestLayer::gzip(
            LayerTar::new()
                .file("w/a", &noise(300_000))
                .file(".wh.gone", b""),
        ),
    ])
}

#[tokio::test]
async fn an_image_comes_whole_and_stays_over_a_restart() {
    let registry = Registry::start();
    let image = small_image();
    let manifest = registry.push("a/b", "1", &image, false).await;
    let (store, dir) = open(registry.config());
    let name = registry.name("a/b:1");
    let stages = Mutex::new(Vec::new());
    let pulled = store
        .pull(&name, None, |progress| {
            stages.lock().unwrap().push(progress)
        })
        .await
        .unwrap();
    assert_eq!(pulled.id, image.id());
    assert_eq!(pulled.references, std::slice::from_ref(&name));
    assert_eq!(pulled.digests, [name.with_digest(manifest.clone())]);
    assert_eq!(pulled.size, 300_002);
    assert_eq!(pulled.config.cmd, ["/bin/true"]);
    assert_eq!(pulled.layers.len(), 2);
    assert_eq!(
        std::fs::read(pulled.layers[1].join("w/a")).unwrap(),
        noise(300_000)
    );
    let whiteout = std::fs::symlink_metadata(pulled.layers[1].join("gone")).unwrap();
    assert_eq!(
        (whiteout.mode() & 0o170_000, whiteout.rdev()),
        (0o020_000, 0)
    );
    let stages = stages.into_inner().unwrap();
    assert!(
        stages
            .iter()
            .any(|p| p.stage == Stage::Resolved(manifest.clone())),
        "{stages:?}"
    );
    assert_eq!(
        stages.iter().filter(|p| p.stage == Stage::Complete).count(),
        2
    );
    assert!(leftovers(dir.path()).is_empty());

    drop(store);
    drop(registry);
    let store = ImageStore::open(dir.path(), RegistryConfig::default()).unwrap();
    assert_eq!(store.list(), std::slice::from_ref(&pulled));
    assert_eq!(store.get(&name.to_string()).unwrap(), pulled);
    assert_eq!(store.get(pulled.id.short()).unwrap(), pulled);
    let pinned = name.with_digest(manifest);
    assert_eq!(store.lookup(&pinned).unwrap(), pulled);
}

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_told_apart() {
    let registry = Registry::start();
    registry.push("a/b", "1", &small_image(), false).await;
    let (store, _dir) = open(registry.config());
    let error = store
        .pull(&registry.name("a/b:2"), None, |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NoSuchTag { .. }), "{error}");
    let error = store
        .pull(&registry.name("nope"), None, |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
    assert!(
        error.to_string().contains(&registry.address.to_string()),
        "{error}"
    );
    assert!(store.list().is_empty());
}

#[tokio::test]
async fn every_kind_of_manifest_and_compression_is_understood() {
    let registry = Registry::start();
    let (store, _dir) = open(registry.config());
    for (tag, docker, layer) in [
        ("gzip", false, TestLayer::gzip as fn(LayerTar) -> TestLayer),
        ("zstd", false, TestLayer::zstd),
        ("plain", false, TestLayer::plain),
        ("docker", true, TestLayer::gzip),
    ] {
        let image = TestImage::new(vec![layer(LayerTar::new().file("tag", tag.as_bytes()))]);
        registry.push("kinds", tag, &image, docker).await;
        let name = registry.name(&format!("kinds:{tag}"));
        let pulled = store.pull(&name, None, |_| {}).await.unwrap();
        assert_eq!(pulled.id, image.id());
        assert_eq!(
            std::fs::read(pulled.layers[0].join("tag")).unwrap(),
            tag.as_bytes()
        );
    }
}

#[tokio::test]
async fn of_many_platforms_this_one_is_taken_and_its_absence_is_told() {
    let registry = Registry::start();
    let (store, _dir) = open(registry.config());
    let layer = |text: &str| {
        vec![TestLayer::gzip(
            LayerTar::new().file("arch", text.as_bytes()),
        )]
    };
    let ours = TestImage::new(layer("ours"));
    let theirs = TestImage::for_arch(layer("theirs"), "s390x");
    let our_digest = registry.push("multi", "ours", &ours, false).await;
    let their_digest = registry.push("multi", "theirs", &theirs, false).await;
    let entry = |digest: &skep_agent_images::Digest, image: &TestImage, architecture: &str| {
        let size = serde_json::to_vec(&image.manifest(false)).unwrap().len();
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let all = [
        entry(&their_digest, &theirs, "s390x"),
        entry(&our_digest, &ours, arch()),
    ];
    for (tag, media_type) in [("oci", OCI_INDEX), ("docker", DOCKER_LIST)] {
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": all});
        let digest = registry.manifest("multi", tag, media_type, &index).await;
        let name = registry.name(&format!("multi:{tag}"));
        let pulled = store.pull(&name, None, |_| {}).await.unwrap();
        assert_eq!(pulled.id, ours.id());
        // The name by digest is that of the index: it is good on any platform.
        assert!(
            pulled.digests.contains(&name.with_digest(digest.clone())),
            "{:?}",
            pulled.digests
        );
        let remote = store.resolve(&name, None).await.unwrap();
        assert_eq!((remote.digest, remote.platforms.len()), (digest, 2));
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all[..1]});
    registry
        .manifest("multi", "foreign", OCI_INDEX, &index)
        .await;
    for tag in ["foreign", "theirs"] {
        let name = registry.name(&format!("multi:{tag}"));
        let error = store.pull(&name, None, |_| {}).await.unwrap_err();
        assert!(matches!(error, PullError::WrongPlatform { .. }), "{error}");
        assert!(
            error.to_string().contains("only for linux/s390x"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_skopeo_pushes_is_pulled_by_tag_and_by_digest() {
    let registry = Registry::start();
    let image = TestImage::new(vec![TestLayer::gzip(LayerTar::new().file("x", b"skopeo"))]);
    let dir = tempdir();
    let archive = dir.path().join("archive.tar");
    std::fs::write(
        &archive,
        oci_archive(&[(&image, json!({"org.opencontainers.image.ref.name": "x"}))]),
    )
    .unwrap();
    for format in ["oci", "v2s2"] {
        let done = Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "-q",
                "--dest-tls-verify=false",
                "--format",
                format,
            ])
            .arg(format!("oci-archive:{}:x", archive.display()))
            .arg(format!("docker://{}/pushed/x:{format}", registry.address))
            .output()
            .expect("skopeo is installed");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let (store, _dir) = open(registry.config());
        let name = registry.name(&format!("pushed/x:{format}"));
        let remote = store.resolve(&name, None).await.unwrap();
        let pulled = store.pull(&name, None, |_| {}).await.unwrap();
        assert_eq!(
            std::fs::read(pulled.layers[0].join("x")).unwrap(),
            b"skopeo"
        );
        let by_digest = name.with_digest(remote.digest);
        assert_eq!(pulled.digests, std::slice::from_ref(&by_digest));
        let (other, _dir) = open(registry.config());
        let pulled = other.pull(&by_digest, None, |_| {}).await.unwrap();
        assert!(pulled.references.is_empty());
        // With a tag beside it, the digest is what counts.
        let both = format!("{}:gone@{}", name.repository(), by_digest.digest().unwrap());
        assert_eq!(
            other
                .pull(&both.parse().unwrap(), None, |_| {})
                .await
                .unwrap()
                .id,
            pulled.id
        );
    }
}

#[tokio::test]
async fn a_mirror_stands_in_for_the_hub() {
    let registry = Registry::start();
    let image = small_image();
    registry
        .push("library/redis", "alpine", &image, false)
        .await;
    registry
        .push(
            "dockersamples/examplevotingapp_vote",
            "latest",
            &image,
            true,
        )
        .await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // The dead one first: the next is tried.
    let mirrors = vec![
        format!("http://{dead}"),
        format!("http://{}", registry.address),
    ];
    let (store, _dir) = open(RegistryConfig { mirrors, ..quick() });
    for name in ["redis:alpine", "dockersamples/examplevotingapp_vote"] {
        let pulled = store
            .pull(&name.parse().unwrap(), None, |_| {})
            .await
            .unwrap();
        assert_eq!(pulled.id, image.id());
        assert_eq!(store.get(name).unwrap().id, image.id());
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_a_password_gets_it() {
    let dir = tempdir();
    let file = dir.path().join("htpasswd");
    // user:secret, as `htpasswd -Bbn user secret` writes it.
    std::fs::write(&file, HTPASSWD).unwrap();
    let registry = Registry::start_with(&format!(
        "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        file.display()
    ));
    let (store, _dir) = open(registry.config());
    let error = store
        .pull(&registry.name("x"), None, |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::Unauthorised { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("skep image pull --username"), "{text}");
    let user = |password: &str| {
        Some(Credentials::Password {
            username: "user".into(),
            password: password.into(),
        })
    };
    let error = store
        .pull(&registry.name("x"), user("wrong"), |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::Unauthorised { .. }), "{error}");
    // Let in, it says that there is no such image.
    let error = store
        .pull(&registry.name("x"), user("secret"), |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
}

/// A bcrypt sum of cost 4, the least there is, so that the test is quick.
const HTPASSWD: &str = "user:$2y$04$V2TCHZBcPny6D8kv0Q6Rgej91CGYBBOT2sDo6pz94TitnSfplTsf2\n";
