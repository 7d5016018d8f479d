//! What is done with images once they are here: names, removal, restarts, and
//! their use as an overlay.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use skep_agent_images::{ImageStore, RegistryConfig, StoreError};
use support::*;

fn image(content: &[u8]) -> TestImage {
    TestImage::new(vec![
        TestLayer::gzip(
            LayerTar::new()
                .dir("bin")
                .file("bin/base", b"base")
                .file("bin/old", b"old"),
        ),
        TestLayer::gzip(
            LayerTar::new()
                .dir("bin")
                .file("bin/top", content)
                .file("bin/.wh.old", b""),
        ),
    ])
}

async fn with(images: &[(&TestImage, &[&str])]) -> (ImageStore, tempfile::TempDir) {
    let (store, dir) = open(quick());
    load(&store, docker_archive(images)).await.unwrap();
    (store, dir)
}

fn files(dir: &Path, of: &str) -> usize {
    std::fs::read_dir(dir.join(of)).unwrap().count()
}

#[tokio::test]
async fn a_layer_stays_as_long_as_an_image_needs_it() {
    let (a, b) = (image(b"a"), image(b"b"));
    let (store, dir) = with(&[(&a, &["a:1", "a:2"]), (&b, &["b:1"])]).await;
    assert_eq!(files(dir.path(), "layers"), 6);
    let removed = store.remove("a:1", false, |_| false).await.unwrap();
    assert_eq!(
        (
            removed.untagged.len(),
            removed.deleted.len(),
            removed.layers
        ),
        (1, 0, 0)
    );
    let removed = store.remove("a:2", false, |_| false).await.unwrap();
    assert_eq!((removed.deleted, removed.layers), (vec![a.id()], 1));
    assert_eq!(
        std::fs::read(store.get("b:1").unwrap().layers[0].join("bin/base")).unwrap(),
        b"base"
    );
    store
        .remove(b.id().as_str(), false, |_| false)
        .await
        .unwrap();
    for of in ["layers", "images", "configs", "tmp"] {
        assert_eq!(files(dir.path(), of), 0, "{of}");
    }
    let error = store.remove("b:1", false, |_| false).await.unwrap_err();
    assert_eq!(error.to_string(), "no such image: b:1");
}

#[tokio::test]
async fn an_image_in_use_is_not_deleted_but_may_lose_a_name() {
    let a = image(b"a");
    let (store, _dir) = with(&[(&a, &["a:1", "other:1"])]).await;
    let (id, used) = (a.id(), a.id());
    let in_use = move |of: &skep_agent_images::Digest| *of == used;
    store.remove("a:1", false, in_use.clone()).await.unwrap();
    for name in ["other:1", id.as_str()] {
        for force in [false, true] {
            let error = store.remove(name, force, in_use.clone()).await.unwrap_err();
            assert!(matches!(error, StoreError::InUse(_)), "{error}");
        }
    }
    assert!(store.prune(true, in_use).await.unwrap().deleted.is_empty());
    assert_eq!(store.prune(true, |_| false).await.unwrap().deleted, [id]);
}

#[tokio::test]
async fn by_id_an_image_with_many_names_goes_only_by_force() {
    let a = image(b"a");
    let (store, _dir) = with(&[(&a, &["a:1", "other:1"])]).await;
    let id = a.id();
    let error = store
        .remove(id.short(), false, |_| false)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::SeveralNames(_)), "{error}");
    let removed = store.remove(id.short(), true, |_| false).await.unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (2, 1));
}

#[tokio::test]
async fn a_name_moves_and_what_lost_it_can_be_pruned() {
    let (a, b) = (image(b"a"), image(b"b"));
    let (store, _dir) = with(&[(&a, &["x:1"])]).await;
    load(&store, docker_archive(&[(&b, &["x:1"])]))
        .await
        .unwrap();
    assert_eq!(store.get("x:1").unwrap().id, b.id());
    assert!(store.get(a.id().as_str()).unwrap().references.is_empty());
    assert_eq!(
        store.prune(false, |_| false).await.unwrap().deleted,
        [a.id()]
    );
}

#[tokio::test]
async fn a_pulled_image_goes_with_its_tag_though_it_has_a_digest_as_well() {
    let registry = Registry::start();
    let a = image(b"a");
    registry.push("a", "1", &a, false).await;
    let (store, _dir) = open(registry.config());
    let name = registry.name("a:1");
    store.pull(&name, None, |_| {}).await.unwrap();
    let removed = store
        .remove(&name.to_string(), false, |_| false)
        .await
        .unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (2, 1));
    assert!(store.list().is_empty());
}

#[tokio::test]
async fn a_second_daemon_is_kept_out() {
    let (store, dir) = open(quick());
    let error = ImageStore::open(dir.path(), quick()).err().unwrap();
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    drop(store);
    // A program that another test is about to start may hold it for a moment.
    for _ in 0..100 {
        match ImageStore::open(dir.path(), quick()) {
            Err(StoreError::Busy(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            opened => return drop(opened.unwrap()),
        }
    }
    panic!("it is kept out for ever");
}

#[tokio::test]
async fn what_a_crash_leaves_is_gone_after_the_next_open() {
    let (a, b) = (image(b"a"), image(b"b"));
    let (store, dir) = with(&[(&a, &["a:1"]), (&b, &["b:1"])]).await;
    let own = store.get("b:1").unwrap().layers[1].clone();
    drop(store);
    let at = |path: &str| dir.path().join(path);
    // In the middle of unpacking, after a layer, before an image's record,
    // and with a layer lost to a broken disk.
    std::fs::create_dir_all(at("tmp/7/usr/bin")).unwrap();
    std::fs::create_dir_all(at("layers").join("0".repeat(64)).join("bin")).unwrap();
    std::fs::write(at("layers").join(format!("{}.json", "1".repeat(64))), b"{").unwrap();
    std::fs::write(
        at("configs").join(format!("{}.json", "2".repeat(64))),
        b"{}",
    )
    .unwrap();
    std::fs::write(
        at("images").join(format!("{}.json", "3".repeat(64))),
        b"half",
    )
    .unwrap();
    std::fs::remove_dir_all(own).unwrap();
    let store = ImageStore::open(dir.path(), RegistryConfig::default()).unwrap();
    let names: Vec<String> = store
        .list()
        .iter()
        .flat_map(|i| i.references.clone())
        .map(|r| r.familiar())
        .collect();
    assert_eq!(names, ["a:1"]);
    for (of, want) in [("tmp", 0), ("layers", 4), ("configs", 1), ("images", 1)] {
        assert_eq!(files(dir.path(), of), want, "{of}");
    }
}

#[tokio::test]
async fn an_image_goes_from_a_disk_that_takes_no_names_and_can_be_loaded_again() {
    let a = image(b"a");
    let (store, dir) = with(&[(&a, &["a:1", "a:2"])]).await;
    let layer = store.get("a:1").unwrap().layers[1].clone();
    // As on a full disk, what is written cannot take its place.
    let names = dir.path().join("names.json");
    std::fs::remove_file(&names).unwrap();
    std::fs::create_dir(&names).unwrap();
    let error = store.remove("a:2", false, |_| false).await.unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error}");
    assert_eq!(store.get("a:2").unwrap().references.len(), 2);
    let removed = store.prune(true, |_| false).await.unwrap();
    assert_eq!((removed.deleted, removed.layers), (vec![a.id()], 2));
    for of in ["layers", "images", "configs", "tmp"] {
        assert_eq!(files(dir.path(), of), 0, "{of}");
    }
    std::fs::remove_dir(&names).unwrap();
    // What a removal could not delete.
    std::fs::create_dir_all(layer.join("bin/stale")).unwrap();
    load(&store, docker_archive(&[(&a, &["a:1"])]))
        .await
        .unwrap();
    assert_eq!(store.get("a:1").unwrap().layers[1], layer);
    assert_eq!(std::fs::read(layer.join("bin/top")).unwrap(), b"a");
    assert!(!layer.join("bin/stale").exists());
    assert_eq!(files(dir.path(), "tmp"), 0);
}

#[tokio::test]
async fn the_layers_are_fit_for_an_overlay() {
    let a = image(b"a");
    let (store, dir) = with(&[(&a, &["a:1"])]).await;
    let layers = store.get("a:1").unwrap().layers;
    // Within a mount namespace of its own, so that nothing stays mounted.
    let script = "set -e; mount -t tmpfs none \"$1\"; mkdir \"$1/u\" \"$1/w\" \"$1/m\"; \
        mount -t overlay overlay -o \"lowerdir=$2,upperdir=$1/u,workdir=$1/w\" \"$1/m\"; \
        cd \"$1/m\"; find . -type f | sort; cat bin/base bin/top";
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let lower = format!("{}:{}", layers[1].display(), layers[0].display());
    let done = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(&scratch)
        .arg(lower)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "./bin/base\n./bin/top\nbasea"
    );
}
