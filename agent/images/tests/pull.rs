//! Pulls from a real registry.

mod support;

use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use skep_agent_images::{ImageStore, PullError, RegistryConfig, Stage};
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
        (whiteout.mode() & libc_s_ifmt(), whiteout.rdev()),
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

fn libc_s_ifmt() -> u32 {
    0o170_000
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
