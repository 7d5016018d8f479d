//! Registries and networks that fail: what can go on goes on, what cannot says
//! why, and nothing is left half-made.

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use skep_agent_images::{Image, ImageStore, PullError, RegistryConfig, Stage};
use support::*;

fn big_image() -> TestImage {
    TestImage::new(vec![TestLayer::gzip(
        LayerTar::new().file("noise", &noise(400_000)),
    )])
}

fn check(image: &Image) {
    assert_eq!(
        std::fs::read(image.layers[0].join("noise")).unwrap(),
        noise(400_000)
    );
}

/// A registry that closes the connection in the middle of each layer, `cuts`
/// times; with or without ranges.
fn cutting(
    image: Arc<TestImage>,
    cuts: usize,
    ranges: bool,
) -> (Fake, Arc<Mutex<Vec<Option<String>>>>) {
    let count = AtomicUsize::new(0);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let fake = Fake::start(move |path, headers, stream| {
        let layer = &image.layers[0].blob;
        if !path.ends_with(digest(layer).as_str()) {
            return serve(&image, path, stream);
        }
        log.lock().unwrap().push(headers.get("range").cloned());
        let from = headers.get("range").filter(|_| ranges).map_or(0, |range| {
            range
                .strip_prefix("bytes=")
                .unwrap()
                .strip_suffix('-')
                .unwrap()
                .parse()
                .unwrap()
        });
        let rest = &layer[from..];
        let status = match from {
            0 => "200 OK".to_owned(),
            _ => format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                layer.len() - 1,
                layer.len()
            ),
        };
        if count.fetch_add(1, Ordering::Relaxed) >= cuts {
            return answer(stream, &status, "", rest);
        }
        // Always further than the time before, so that it gets there at last.
        let most = (layer.len() / 5 + from).min(layer.len() - 1) - from;
        let most = if ranges { most } else { layer.len() / 2 };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            rest.len()
        );
        let _ = stream.write_all(&rest[..most]);
    });
    (fake, asked)
}

#[tokio::test]
async fn a_pull_that_is_cut_goes_on_where_it_was() {
    for ranges in [true, false] {
        let (fake, asked) = cutting(Arc::new(big_image()), 3, ranges);
        let (store, dir) = open(fake.config());
        let retries = Mutex::new(0);
        let image = store
            .pull(&fake.name("x"), None, |progress| {
                if matches!(progress.stage, Stage::Retrying { .. }) {
                    *retries.lock().unwrap() += 1;
                }
            })
            .await
            .unwrap();
        check(&image);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 4);
        assert_eq!(asked[0], None);
        assert!(asked[1..].iter().all(Option::is_some), "{asked:?}");
        assert_eq!(*retries.lock().unwrap(), 3);
        assert!(leftovers(dir.path()).is_empty());
    }
}

#[tokio::test]
async fn a_pull_that_is_cut_for_ever_fails_and_leaves_nothing() {
    let image = Arc::new(big_image());
    let served = image.clone();
    let fake = Fake::start(move |path, _, stream| {
        if !path.ends_with(digest(&served.layers[0].blob).as_str()) {
            return serve(&served, path, stream);
        }
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\nxx"
        );
    });
    let (store, dir) = open(fake.config());
    let error = store.pull(&fake.name("x"), None, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, PullError::Unreachable { .. }),
        "{}",
        chain(&error)
    );
    assert!(error.is_transient());
    assert!(store.list().is_empty());
    assert!(leftovers(dir.path()).is_empty());
    assert_eq!(
        std::fs::read_dir(dir.path().join("layers"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn content_that_is_not_what_was_named_is_refused() {
    let other = gzip(&LayerTar::new().file("evil", b"x").bytes());
    for (what, wrong) in [("layer", "layer"), ("configuration", "config")] {
        let image = big_image();
        let wanted = if wrong == "layer" {
            digest(&image.layers[0].blob)
        } else {
            image.id()
        };
        let size = if wrong == "layer" {
            image.layers[0].blob.len()
        } else {
            image.config.len()
        };
        let mut bad = if wrong == "layer" {
            other.clone()
        } else {
            b"{}".to_vec()
        };
        // The right length, so that only the digest tells.
        bad.resize(size, b' ');
        let fake = Fake::start(move |path, _, stream| {
            if path.ends_with(wanted.as_str()) {
                answer(stream, "200 OK", "", &bad)
            } else {
                serve(&image, path, stream)
            }
        });
        let (store, dir) = open(fake.config());
        let error = store.pull(&fake.name("x"), None, |_| {}).await.unwrap_err();
        assert!(
            matches!(error, PullError::DigestMismatch { .. }),
            "{what}: {}",
            chain(&error)
        );
        assert!(error.to_string().contains(what), "{error}");
        assert!(store.list().is_empty());
        assert!(leftovers(dir.path()).is_empty());
    }
}

#[tokio::test]
async fn a_manifest_other_than_the_digest_asked_for_is_refused() {
    let image = big_image();
    let fake = Fake::start(move |path, _, stream| serve(&image, path, stream));
    let (store, _dir) = open(fake.config());
    let name = fake.name("x").with_digest(digest(b"something else"));
    let error = store.pull(&name, None, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, PullError::DigestMismatch { .. }),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_layer_that_arrives_damaged_once_is_fetched_again() {
    let image = big_image();
    let times = AtomicUsize::new(0);
    let fake = Fake::start(move |path, _, stream| {
        let blob = &image.layers[0].blob;
        if path.ends_with(digest(blob).as_str()) && times.fetch_add(1, Ordering::Relaxed) == 0 {
            let mut damaged = blob.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 1;
            return answer(stream, "200 OK", "", &damaged);
        }
        serve(&image, path, stream)
    });
    let (store, _dir) = open(fake.config());
    check(&store.pull(&fake.name("x"), None, |_| {}).await.unwrap());
}

#[tokio::test]
async fn a_layer_shorter_or_longer_than_named_is_refused() {
    for grow in [false, true] {
        let mut image = big_image();
        let true_layer = image.layers[0].blob.clone();
        let mut manifest = image.manifest(false);
        let size = if grow {
            true_layer.len() - 10
        } else {
            true_layer.len() + 10
        };
        manifest["layers"][0]["size"] = json!(size);
        image.layers[0].blob = true_layer;
        let fake = Fake::start(move |path, _, stream| {
            if path.contains("/manifests/") {
                answer(
                    stream,
                    "200 OK",
                    "",
                    &serde_json::to_vec(&manifest).unwrap(),
                )
            } else {
                serve(&image, path, stream)
            }
        });
        let (store, _dir) = open(fake.config());
        store.pull(&fake.name("x"), None, |_| {}).await.unwrap_err();
        assert!(store.list().is_empty());
    }
}

#[tokio::test]
async fn passing_trouble_is_tried_again_and_lasting_trouble_is_told() {
    let image = big_image();
    let times = AtomicUsize::new(0);
    let fake = Fake::start(
        move |path, _, stream| match times.fetch_add(1, Ordering::Relaxed) {
            0 => answer(stream, "503 Service Unavailable", "", b""),
            1 => answer(stream, "429 Too Many Requests", "Retry-After: 0\r\n", b""),
            _ => serve(&image, path, stream),
        },
    );
    let (store, _dir) = open(fake.config());
    check(&store.pull(&fake.name("x"), None, |_| {}).await.unwrap());

    for (status, headers, body, want) in [
        ("500 No", "", "", "answered 500"),
        (
            "418 Teapot",
            "",
            r#"{"errors":[{"code":"X","message":"short and stout"}]}"#,
            "short and stout",
        ),
        ("429 Slow", "", "", "skep image pull --username"),
        ("403 Forbidden", "", "", "access denied"),
        ("401 Unauthorized", "", "", "skep image pull --username"),
        (
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"x\"\r\n",
            "",
            "a name and a password",
        ),
        ("404 Not Found", "", "", "not found at"),
        ("200 OK", "", "<html>login</html>", "not a manifest"),
        ("302 Found", "Location: ftp://x/\r\n", "", "127.0.0.1"),
    ] {
        let fake =
            Fake::start(move |_, _, stream| answer(stream, status, headers, body.as_bytes()));
        let (store, _dir) = open(fake.config());
        let error = store.pull(&fake.name("x"), None, |_| {}).await.unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(want) && text.contains("/x:latest"),
            "{status}: {text}"
        );
    }
}

#[tokio::test]
async fn a_document_without_end_is_not_read_into_memory() {
    let fake = Fake::start(|_, _, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    let (store, _dir) = open(fake.config());
    let error = store.pull(&fake.name("x"), None, |_| {}).await.unwrap_err();
    assert!(
        matches!(error, PullError::Unusable { .. }),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = RegistryConfig {
        insecure: vec![address.clone()],
        read_timeout: Duration::from_millis(100),
        retries: 1,
        ..quick()
    };
    let (store, _dir) = open(config);
    let error = store
        .pull(&format!("{address}/x").parse().unwrap(), None, |_| {})
        .await
        .unwrap_err();
    assert!(
        matches!(error, PullError::Unreachable { .. }),
        "{}",
        chain(&error)
    );
    drop(listener);
    let error = store
        .pull(&format!("{address}/x").parse().unwrap(), None, |_| {})
        .await
        .unwrap_err();
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
}

#[tokio::test]
async fn an_abandoned_pull_stops_and_leaves_nothing() {
    let image = Arc::new(big_image());
    let (begun, wait) = std::sync::mpsc::channel();
    let begun = Mutex::new(begun);
    let served = image.clone();
    let fake = Fake::start(move |path, _, stream| {
        let blob = &served.layers[0].blob;
        if !path.ends_with(digest(blob).as_str()) {
            return serve(&served, path, stream);
        }
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            blob.len()
        );
        let _ = stream.write_all(&blob[..blob.len() / 2]);
        let _ = begun.lock().unwrap().send(());
        // Ends when the other side hangs up.
        let _ = std::io::copy(stream, &mut std::io::sink());
        let _ = begun.lock().unwrap().send(());
    });
    let (store, dir) = open(fake.config());
    let (name, puller) = (fake.name("x"), store.clone());
    let pull = tokio::spawn(async move { puller.pull(&name, None, |_| {}).await });
    let wait = tokio::task::spawn_blocking(move || {
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
        wait
    })
    .await
    .unwrap();
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    tokio::task::spawn_blocking(move || wait.recv_timeout(Duration::from_secs(20)).unwrap())
        .await
        .unwrap();
    drop(store);
    // The unpacking thread ends on its own; the next one to open cleans up
    // whatever a crash would leave.
    let store = reopen(dir.path()).await;
    assert!(leftovers(dir.path()).is_empty());
    assert!(store.list().is_empty());
    assert_eq!(
        std::fs::read_dir(dir.path().join("layers"))
            .unwrap()
            .count(),
        0
    );
}

/// Opens a store as soon as its last user is gone.
async fn reopen(dir: &std::path::Path) -> ImageStore {
    let begun = std::time::Instant::now();
    loop {
        match ImageStore::open(dir, quick()) {
            Ok(store) => return store,
            Err(error) if begun.elapsed() > Duration::from_secs(20) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_one_image_share_one_pull() {
    let image = big_image();
    const MANY: usize = 8;
    let begun = Arc::new(AtomicUsize::new(0));
    let all = begun.clone();
    let fake = Fake::start(move |path, _, stream| {
        if path.contains("/manifests/") {
            // All of them come together.
            while all.load(Ordering::Relaxed) < MANY {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        serve(&image, path, stream)
    });
    let (store, _dir) = open(fake.config());
    let pulls: Vec<_> = (0..MANY)
        .map(|_| {
            let (store, name, begun) = (store.clone(), fake.name("x"), begun.clone());
            tokio::spawn(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let seen = Mutex::new(0);
                let image = store
                    .pull(&name, None, |_| *seen.lock().unwrap() += 1)
                    .await
                    .unwrap();
                assert!(*seen.lock().unwrap() > 0);
                image
            })
        })
        .collect();
    for pull in pulls {
        check(&pull.await.unwrap());
    }
    assert_eq!(fake.requests.lock().unwrap().len(), 3);
}
