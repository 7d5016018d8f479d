//! Layers that mean harm are refused or contained; strange but honest ones work.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use skep_agent_images::{Image, Limits, RegistryConfig};
use support::*;

/// Loads an image of one layer. The store lies in a directory of its own within
/// the temporary one, in which `canary` must stay as it is.
async fn layer(tar: LayerTar) -> (Result<Image, String>, tempfile::TempDir) {
    layers(vec![tar], Limits::default()).await
}

async fn layers(tars: Vec<LayerTar>, limits: Limits) -> (Result<Image, String>, tempfile::TempDir) {
    let dir = tempdir();
    std::fs::write(dir.path().join("canary"), "alive").unwrap();
    let config = RegistryConfig {
        limits,
        ..RegistryConfig::default()
    };
    let store = skep_agent_images::ImageStore::open(&dir.path().join("store"), config).unwrap();
    let image = TestImage::new(tars.into_iter().map(TestLayer::gzip).collect());
    let loaded = load(&store, docker_archive(&[(&image, &["t:1"])])).await;
    let canary = dir.path().join("canary");
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive");
    assert_eq!(canary.metadata().unwrap().nlink(), 1);
    assert_eq!(leftovers(&dir.path().join("store")), Vec::<String>::new());
    (
        loaded
            .map(|mut images| images.remove(0))
            .map_err(|e| chain(&e)),
        dir,
    )
}

fn top(image: &Image) -> &Path {
    image.layers.last().unwrap()
}

/// Everything below a directory, relative, sorted.
fn tree(root: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|m| m.mode() & 0o170_000 == 0o020_000 && m.rdev() == 0)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let got = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(got);
    Some(value)
}

#[tokio::test]
async fn a_path_with_dots_is_refused() {
    for path in ["../canary", "a/../../canary", "..", "a/.."] {
        let (loaded, _dir) = layer(LayerTar::new().file(path, b"x")).await;
        let error = loaded.unwrap_err();
        assert!(error.contains("refused") && error.contains(path), "{error}");
    }
}

#[tokio::test]
async fn an_absolute_path_counts_from_the_layers_root() {
    let (loaded, _dir) = layer(LayerTar::new().file("/skep-t-abs/x", b"x")).await;
    assert_eq!(
        std::fs::read(top(&loaded.unwrap()).join("skep-t-abs/x")).unwrap(),
        b"x"
    );
    assert!(!Path::new("/skep-t-abs").exists());
}

#[tokio::test]
async fn a_file_through_a_link_stays_inside() {
    for target in ["../../../..", "/", "../..", "/../../.."] {
        let tar = LayerTar::new()
            .symlink("out", target)
            .file("out/canary", b"dead");
        let (loaded, _dir) = layer(tar).await;
        let image = loaded.unwrap();
        assert_eq!(
            std::fs::read(top(&image).join("canary")).unwrap(),
            b"dead",
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_link_into_the_host_is_made_within_the_layer() {
    let (_, probe) = layer(LayerTar::new()).await;
    let outside = probe.path().join("canary");
    let tar = LayerTar::new()
        .symlink("evil", outside.parent().unwrap().to_str().unwrap())
        .file("evil/canary", b"dead")
        .file("evil", b"now a file");
    let (loaded, _dir) = layer(tar).await;
    let image = loaded.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "alive");
    assert_eq!(
        std::fs::read(top(&image).join("evil")).unwrap(),
        b"now a file"
    );
}

#[tokio::test]
async fn a_file_over_a_link_replaces_the_link() {
    let tar = LayerTar::new()
        .symlink("x", "/etc/hostname")
        .file("x", b"mine");
    let (loaded, _dir) = layer(tar).await;
    let path = top(&loaded.unwrap()).join("x");
    assert!(path.symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(path).unwrap(), b"mine");
}

#[tokio::test]
async fn a_hard_link_out_of_the_layer_is_refused() {
    for target in [
        "../../canary",
        "/etc/passwd",
        "canary",
        "out/etc/passwd",
        ".wh.x",
        "",
        "d",
    ] {
        let tar = LayerTar::new()
            .dir("d")
            .symlink("out", "/")
            .hardlink("x", target);
        let (loaded, _dir) = layer(tar).await;
        let error = loaded.unwrap_err();
        assert!(
            error.contains("refused") || error.contains("No such file"),
            "{target}: {error}"
        );
    }
    // A link to a link is a name of that link, and nothing is followed.
    let tar = LayerTar::new()
        .symlink("l", "/etc/passwd")
        .hardlink("x", "l");
    let (loaded, _dir) = layer(tar).await;
    assert!(
        top(&loaded.unwrap())
            .join("x")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
}

#[tokio::test]
async fn whiteouts_that_name_no_file_are_refused() {
    for path in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh."] {
        let (loaded, _dir) = layer(LayerTar::new().dir("a").file(path, b"")).await;
        let error = loaded.unwrap_err();
        assert!(error.contains("no valid whiteout"), "{path}: {error}");
    }
}

#[tokio::test]
async fn attributes_that_steer_overlayfs_are_left_out_and_others_kept() {
    let tar = LayerTar::new()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:x:s0"),
        ])
        .dir("d")
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.metacopy", b""),
            // cap_net_bind_service, with a newline among its bytes.
            (
                "SCHILY.xattr.security.capability",
                b"\x01\x00\x00\x02\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            ),
        ])
        .file("f", b"x");
    let (loaded, _dir) = layer(tar).await;
    let image = loaded.unwrap();
    for name in [
        "trusted.overlay.redirect",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "security.selinux",
    ] {
        assert_eq!(xattr(&top(&image).join("d"), name), None, "{name}");
    }
    let file = top(&image).join("f");
    assert_eq!(xattr(&file, "trusted.overlay.metacopy"), None);
    let capability = xattr(&file, "security.capability").unwrap();
    assert_eq!(capability[5], 0x0a);
}

#[tokio::test]
async fn links_in_a_circle_and_endless_depth_end() {
    let tar = LayerTar::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", b"");
    let (loaded, _dir) = layer(tar).await;
    assert!(loaded.unwrap_err().contains("symbolic links"));
    let deep = "a/".repeat(200);
    let (loaded, _dir) = layer(
        LayerTar::new()
            .pax(&[("path", format!("{deep}x").as_bytes())])
            .file("x", b""),
    )
    .await;
    assert!(loaded.unwrap_err().contains("too deep"));
    // Nor can links make it deeper step by step.
    let step = "s/".repeat(100);
    let mut tar = LayerTar::new();
    for level in 0..5 {
        let below = format!("l{level}");
        let path = format!(
            "{}{step}",
            if level == 0 {
                String::new()
            } else {
                format!("l{}/", level - 1)
            }
        );
        tar = tar
            .pax(&[("path", format!("{path}x").as_bytes())])
            .file("x", b"")
            .pax(&[("linkpath", path.trim_end_matches('/').as_bytes())])
            .symlink(&below, "x");
    }
    let (loaded, _dir) = layer(tar).await;
    assert!(loaded.unwrap_err().contains("too deep"));
}

#[tokio::test]
async fn bombs_stop_at_the_limits() {
    let small = Limits {
        layer_bytes: 1 << 20,
        layer_inodes: 10,
        ..Limits::default()
    };
    let (loaded, _dir) = layers(vec![LayerTar::new().file("big", &vec![0; 2 << 20])], small).await;
    let error = loaded.unwrap_err();
    assert!(error.contains("1048576 bytes"), "{error}");
    let many = (0..20).fold(LayerTar::new(), |tar, n| tar.file(&format!("f{n}"), b""));
    let (loaded, _dir) = layers(vec![many], small).await;
    let error = loaded.unwrap_err();
    assert!(error.contains("more than 10 files"), "{error}");
    // Directories that nothing describes count as well.
    let deep = LayerTar::new().file("1/2/3/4/5/6/7/8/9/10/f", b"");
    let (loaded, _dir) = layers(vec![deep], small).await;
    let error = loaded.unwrap_err();
    assert!(error.contains("more than 10 files"), "{error}");
}

#[tokio::test]
async fn devices_fifos_modes_owners_and_times_are_as_the_layer_says() {
    let tar = LayerTar::new()
        .owned("tmp/", 0o1777, 0, 0, b"")
        .owned("bin/", 0o755, 3, 4, b"")
        .owned("bin/su", 0o4755, 1000, 1001, b"s")
        .hardlink("bin/su2", "bin/su")
        .device("null", 1, 3)
        .fifo("pipe")
        .symlink("link", "nowhere");
    let (loaded, _dir) = layer(tar).await;
    let image = loaded.unwrap();
    let of = |path: &str| top(&image).join(path).symlink_metadata().unwrap();
    assert_eq!(of("tmp").permissions().mode() & 0o7777, 0o1777);
    let su = of("bin/su");
    assert_eq!(
        (
            su.permissions().mode() & 0o7777,
            su.uid(),
            su.gid(),
            su.nlink()
        ),
        (0o4755, 1000, 1001, 2)
    );
    assert_eq!(of("null").rdev(), 0x103);
    assert_eq!(of("pipe").mode() & 0o170_000, 0o010_000);
    assert_eq!((of("bin").uid(), of("bin").gid()), (3, 4));
    for path in ["tmp", "bin", "bin/su", "null", "pipe", "link"] {
        assert_eq!(of(path).mtime(), 1_000_000_000, "{path}");
    }
}

#[tokio::test]
async fn whiteouts_take_the_form_of_overlayfs_in_whatever_order_they_come() {
    let tar = LayerTar::new()
        // Opaque before its directory is described.
        .file("o/.wh..wh..opq", b"")
        .owned("o/", 0o700, 0, 0, b"")
        // Deleted, and then made anew as a directory.
        .file(".wh.d", b"")
        .dir("d")
        .file("d/x", b"")
        // Deleted, and then used without being described.
        .file(".wh.u", b"")
        .file("u/x", b"")
        // Made, and then deleted below: what is here stays.
        .dir("m")
        .file("m/x", b"")
        .file(".wh.m", b"")
        .file("f", b"here")
        .file(".wh.f", b"")
        .file("a/b/.wh.gone", b"")
        .file(".wh..wh.plnk", b"aufs");
    let (loaded, _dir) = layer(tar).await;
    let image = loaded.unwrap();
    let root = top(&image);
    for path in ["o", "d", "u", "m"] {
        assert_eq!(
            xattr(&root.join(path), "trusted.overlay.opaque"),
            Some(b"y".to_vec()),
            "{path}"
        );
    }
    assert_eq!(
        root.join("o").metadata().unwrap().permissions().mode() & 0o7777,
        0o700
    );
    assert!(is_whiteout(&root.join("a/b/gone")));
    assert_eq!(std::fs::read(root.join("f")).unwrap(), b"here");
    let names: Vec<String> = tree(root).iter().map(|p| p.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "a", "a/b", "a/b/gone", "d", "d/x", "f", "m", "m/x", "o", "u", "u/x"
        ]
    );
}

#[tokio::test]
async fn a_parent_that_is_a_dangling_link_is_made_within_the_layer() {
    let tar = LayerTar::new()
        .symlink("b2", "bin/../usr/bin")
        .file("b2/new", b"x");
    let (loaded, _dir) = layer(tar).await;
    assert_eq!(
        std::fs::read(top(&loaded.unwrap()).join("usr/bin/new")).unwrap(),
        b"x"
    );
}

#[tokio::test]
async fn directories_that_a_layer_does_not_describe_look_like_those_below() {
    let base = || {
        LayerTar::new()
            .owned("tmp/", 0o1777, 0, 0, b"")
            .owned("home/", 0o755, 0, 0, b"")
            .owned("home/u/", 0o700, 7, 8, b"")
    };
    let upper = || {
        LayerTar::new()
            .file("tmp/x", b"")
            .file("home/u/deep/y", b"")
    };
    let (loaded, _dir) = layers(vec![base(), upper()], Limits::default()).await;
    let image = loaded.unwrap();
    let of = |path: &str| image.layers[1].join(path).metadata().unwrap();
    assert_eq!(of("tmp").permissions().mode() & 0o7777, 0o1777);
    assert_eq!(
        (
            of("home/u").permissions().mode() & 0o7777,
            of("home/u").uid(),
            of("home/u").gid()
        ),
        (0o700, 7, 8)
    );
    assert_eq!(of("tmp").mtime(), 1_000_000_000);
    assert_eq!(
        (
            of("home/u/deep").permissions().mode() & 0o7777,
            of("home/u/deep").uid()
        ),
        (0o755, 0)
    );
}

#[tokio::test]
async fn one_layer_over_two_bases_takes_after_each() {
    let dir = tempdir();
    let open =
        || skep_agent_images::ImageStore::open(dir.path(), RegistryConfig::default()).unwrap();
    let store = open();
    let image = |mode| {
        TestImage::new(vec![
            TestLayer::gzip(LayerTar::new().owned("tmp/", mode, 0, 0, b"")),
            TestLayer::gzip(
                LayerTar::new()
                    .file("tmp/x", b"shared")
                    .file("tmp/.wh.y", b""),
            ),
        ])
    };
    for _ in 0..2 {
        for (mode, name) in [(0o1777, "a:1"), (0o700, "b:1"), (0o755, "c:1")] {
            load(&store, docker_archive(&[(&image(mode), &[name])]))
                .await
                .unwrap();
        }
    }
    drop(store);
    let store = open();
    for (mode, name) in [(0o1777, "a:1"), (0o700, "b:1"), (0o755, "c:1")] {
        let image = store.get(name).unwrap();
        let upper = &image.layers[1];
        assert_eq!(
            upper.join("tmp").metadata().unwrap().permissions().mode() & 0o7777,
            mode
        );
        assert_eq!(std::fs::read(upper.join("tmp/x")).unwrap(), b"shared");
        assert!(is_whiteout(&upper.join("tmp/y")));
        // One content in three trees.
        assert_eq!(upper.join("tmp/x").metadata().unwrap().nlink(), 3);
    }
    let removed = store.remove("a:1", false, |_| false).await.unwrap();
    assert_eq!((removed.deleted.len(), removed.layers), (1, 2));
    assert_eq!(
        std::fs::read(store.get("b:1").unwrap().layers[1].join("tmp/x")).unwrap(),
        b"shared"
    );
}
