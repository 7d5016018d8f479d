//! Whether a text can be the name of an image.

use super::Maker;
use crate::codes;
use crate::tree::Step;

impl Maker<'_> {
    pub(super) fn check_image(&mut self, key: &str, image: &str) {
        let base = [Step::Key("services"), Step::Key(key)];
        if image.is_empty() {
            let help = "add `image: NAME:TAG`; images are not built when a stack is deployed";
            self.error_help(codes::NO_IMAGE, &base, "the service has no image", help);
            return;
        }
        if let Err(why) = check(image) {
            let path = [base[0], base[1], Step::Key("image")];
            let message = format!("{image:?} is not an image: {why}");
            let lower = image.to_ascii_lowercase();
            let help = match check(&lower) {
                Ok(()) => format!("did you mean {lower:?}?"),
                Err(_) => "images are written as [host[:port]/]name[:tag][@digest]".to_owned(),
            };
            self.error_help(codes::IMAGE, &path, message, help);
        }
    }
}

/// `[host[:port]/]path[:tag][@digest]`; the error says what is wrong.
fn check(image: &str) -> Result<(), String> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let (algorithm, hash) = digest.split_once(':').unwrap_or((digest, ""));
        let hex = hash
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(format!("{algorithm:?} is not a kind of digest")),
        };
        if hash.len() != length || !hex {
            return Err(format!("the digest has not {length} hexadecimal digits"));
        }
    }
    let tag_at = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
    let (name, tag) = match tag_at {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let good = |c: char| word(c) || c == '.' || c == '-';
        if !tag.starts_with(word) || !tag.chars().all(good) || tag.len() > 128 {
            return Err(format!("{tag:?} is not a tag"));
        }
    }
    let mut parts: Vec<&str> = name.split('/').collect();
    let is_host = |part: &str| {
        part == "localhost"
            || part.contains(['.', ':'])
            || part.chars().any(|c| c.is_ascii_uppercase())
    };
    if parts.len() > 1 && is_host(parts[0]) {
        let host = parts.remove(0);
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if !host.chars().all(good) {
            return Err(format!("{host:?} is not a host"));
        }
    }
    for part in parts {
        if part.chars().any(|c| c.is_ascii_uppercase()) {
            return Err("the name must be lower case".to_owned());
        }
        let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = |c: char| alnum(c) || matches!(c, '.' | '_' | '-');
        if part.is_empty() {
            return Err("a part of the name is empty".to_owned());
        }
        if !part.starts_with(alnum) || !part.ends_with(alnum) || !part.chars().all(good) {
            return Err(format!("{part:?} cannot be part of a name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_of_images_are_told_from_other_text() {
        let hash = "38a203e1986cf79639cfb9b2e1d6e773de84002feea2d4eb006b52004ee8502d";
        let with_digest = format!("busybox@sha256:{hash}");
        let good = [
            "redis",
            "redis:alpine",
            "postgres:15-alpine",
            "a/b/c",
            "localhost:5000/a:1",
            "registry.example.com/team/app:v1.2_3",
            "[::1]:5000/a",
            "my__app/x-y.z",
            with_digest.as_str(),
            hash,
        ];
        for image in good {
            assert_eq!(check(image), Ok(()), "{image}");
        }
        let bad = [
            "Redis",
            "redis:",
            "redis:-x",
            "a//b",
            "/a",
            "a/",
            "a b",
            "redis@sha256:12",
            "-a",
            "redis:a/b:c d",
            "a@md5:00",
        ];
        for image in bad {
            assert!(check(image).is_err(), "{image}");
        }
    }
}
