//! Credentials: obtained as the registry demands, and shown to nobody else.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use skep_agent_images::{Credentials, Image, PullError, RegistryConfig};
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

/// A registry with a token service that knows one user.
fn guarded(image: TestImage) -> Fake {
    let listener = Arc::new(Mutex::new(String::new()));
    let address = listener.clone();
    let tokens = AtomicUsize::new(0);
    let uses = AtomicUsize::new(0);
    let fake = Fake::start(move |path, headers, stream| {
        let authorisation = headers.get("authorization").map_or("", String::as_str);
        if path.starts_with("/token") {
            assert!(path.contains("service=test"), "{path}");
            assert!(path.contains("scope=repository%3Ax%3Apull"), "{path}");
            // user:secret
            if authorisation != "Basic dXNlcjpzZWNyZXQ=" {
                return answer(stream, "401 Unauthorized", "", b"");
            }
            let number = tokens.fetch_add(1, Ordering::Relaxed);
            return answer(
                stream,
                "200 OK",
                "",
                format!(r#"{{"token":"t{number}"}}"#).as_bytes(),
            );
        }
        // The first token is good for the manifest alone, as if it ran out.
        let good = match authorisation {
            "Bearer t0" => uses.fetch_add(1, Ordering::Relaxed) < 1,
            other => other.starts_with("Bearer t"),
        };
        if good {
            return serve(&image, path, stream);
        }
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"test\",scope=\"repository:x:pull\"\r\n",
            address.lock().unwrap()
        );
        answer(stream, "401 Unauthorized", &challenge, b"")
    });
    *listener.lock().unwrap() = fake.address.to_string();
    fake
}

fn user(password: &str) -> Option<Credentials> {
    Some(Credentials::Password {
        username: "user".into(),
        password: password.into(),
    })
}

#[tokio::test]
async fn a_token_is_obtained_and_renewed_and_wrong_credentials_are_refused() {
    let fake = guarded(big_image());
    let (store, _dir) = open(fake.config());
    let name = fake.name("x");
    for wrong in [None, user("hunter2")] {
        let error = store.pull(&name, wrong, |_| {}).await.unwrap_err();
        assert!(
            matches!(error, PullError::Unauthorised { .. }),
            "{}",
            chain(&error)
        );
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "a password is told"
        );
    }
    check(&store.pull(&name, user("secret"), |_| {}).await.unwrap());
}

#[tokio::test]
async fn credentials_of_the_hub_are_kept_from_mirrors() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let fake = Fake::start(move |_, headers, stream| {
        log.lock()
            .unwrap()
            .extend(headers.get("authorization").cloned());
        answer(
            stream,
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"x\"\r\n",
            b"",
        );
    });
    // A second mirror that has it, so that the hub itself is never asked.
    let image = big_image();
    let good = Fake::start(move |path, _, stream| serve(&image, path, stream));
    let config = RegistryConfig {
        mirrors: vec![
            format!("http://{}", fake.address),
            format!("http://{}/cache", good.address),
        ],
        ..quick()
    };
    let (store, _dir) = open(config);
    let image = store
        .pull(&"redis:alpine".parse().unwrap(), user("secret"), |_| {})
        .await
        .unwrap();
    check(&image);
    assert_eq!(image.references[0].familiar(), "redis:alpine");
    assert!(
        seen.lock().unwrap().is_empty(),
        "{:?}",
        seen.lock().unwrap()
    );
    let paths = good.requests.lock().unwrap();
    assert_eq!(paths[0], "/v2/cache/library/redis/manifests/alpine");
}
