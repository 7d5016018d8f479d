//! Manifests and indexes of images, OCI's and Docker's, and the choice of the
//! one for this machine.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::digest::Digest;

/// Media types that are asked of a registry for a name.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// For what an image is built, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Default)]
pub struct Platform {
    /// `linux`, `windows`, …
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `v7` and the like; empty where there is none.
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// The platform of this machine.
    pub fn current() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Platform {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How well an image for `self` suits a machine that is `host`: `None` is
    /// not at all, and less is better.
    fn distance(&self, host: &Platform) -> Option<u32> {
        if self.os != host.os || self.architecture != host.architecture {
            return None;
        }
        if self.variant == host.variant {
            return Some(0);
        }
        let level = |variant: &str| {
            variant
                .strip_prefix('v')
                .and_then(|v| v.parse::<u32>().ok())
        };
        match (level(&self.variant), level(&host.variant)) {
            // Older variants of a processor's instructions run on newer ones.
            (Some(image), Some(host)) if image <= host => Some(1 + host - image),
            (Some(_), _) => None,
            (None, _) if self.variant.is_empty() => Some(1),
            (None, _) => None,
        }
    }

    /// Whether an image for `self` runs on this machine.
    pub fn runs_here(&self) -> bool {
        self.distance(&Platform::current()).is_some()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// A reference to some content by digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// What a registry or an archive gives for a name.
#[derive(Debug, Clone)]
pub(crate) enum Manifest {
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// The same image for several platforms.
    Index(Vec<Descriptor>),
}

/// A document is not a manifest of an image that can be run.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("not a manifest: {0}")]
    Json(String),
    #[error("manifest of schema 1, which is obsolete: push the image again with a current tool")]
    Obsolete,
    #[error("not an image but an artifact of type {0:?}")]
    NotAnImage(String),
    #[error("layer {digest} has media type {media_type:?}, which cannot be unpacked")]
    LayerType { digest: Digest, media_type: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|e| ManifestError::Json(e.to_string()))?;
        if raw.schema_version == 1 {
            return Err(ManifestError::Obsolete);
        }
        match raw {
            Raw {
                manifests: Some(manifests),
                config: None,
                layers: None,
                ..
            } => Ok(Manifest::Index(manifests)),
            Raw {
                manifests: None,
                config: Some(config),
                layers: Some(layers),
                ..
            } => {
                if !is_config(&config.media_type) {
                    return Err(ManifestError::NotAnImage(config.media_type));
                }
                if let Some(layer) = layers.iter().find(|layer| !is_layer(&layer.media_type)) {
                    return Err(ManifestError::LayerType {
                        digest: layer.digest.clone(),
                        media_type: layer.media_type.clone(),
                    });
                }
                Ok(Manifest::Image { config, layers })
            }
            raw => Err(ManifestError::Json(format!(
                "neither image nor index (media type {:?})",
                raw.media_type
            ))),
        }
    }
}

fn is_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            | "application/octet-stream"
    )
}

/// How a layer is compressed is told by its bytes; here it only counts that it
/// is a tar stream at all.
fn is_layer(media_type: &str) -> bool {
    let tail = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.")
        .or_else(|| {
            media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.")
        });
    match tail {
        Some(tail) => matches!(tail, "tar" | "tar+gzip" | "tar+zstd"),
        None => matches!(
            media_type,
            "application/vnd.docker.image.rootfs.diff.tar"
                | "application/vnd.docker.image.rootfs.diff.tar.gzip"
                | "application/vnd.docker.image.rootfs.diff.tar.zstd"
                | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
                | "application/vnd.docker.container.image.rootfs.diff+x-gtar"
        ),
    }
}

/// The entry of an index that suits this machine best, or the platforms that
/// there are instead.
pub(crate) fn choose(entries: &[Descriptor]) -> Result<&Descriptor, Vec<Platform>> {
    let host = Platform::current();
    let best = entries
        .iter()
        .filter_map(|entry| {
            let distance = match &entry.platform {
                Some(platform) => platform.distance(&host)?,
                // Its configuration will tell, if nothing else does.
                None => 1000,
            };
            Some((distance, entry))
        })
        .min_by_key(|(distance, _)| *distance);
    match best {
        Some((_, entry)) => Ok(entry),
        None => Err(platforms(entries)),
    }
}

/// The platforms that an index names, without attestations ("unknown").
pub(crate) fn platforms(entries: &[Descriptor]) -> Vec<Platform> {
    entries
        .iter()
        .filter_map(|entry| entry.platform.clone())
        .filter(|platform| platform.os != "unknown")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Platform {
            os: next(),
            architecture: next(),
            variant: next(),
        }
    }

    #[test]
    fn the_nearest_older_variant_is_chosen() {
        let host = platform("linux/arm/v7");
        let distance = |text| platform(text).distance(&host);
        assert_eq!(distance("linux/arm/v7"), Some(0));
        assert!(distance("linux/arm/v6") < distance("linux/arm/v5"));
        assert!(distance("linux/arm").is_some());
        assert_eq!(distance("linux/arm/v8"), None);
        assert_eq!(distance("linux/amd64"), None);
        assert_eq!(
            platform("linux/amd64/v3").distance(&platform("linux/amd64")),
            None
        );
        assert!(
            platform("linux/arm64")
                .distance(&platform("linux/arm64/v8"))
                .is_some()
        );
    }

    #[test]
    fn an_artifact_is_no_image() {
        let text = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",
            "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
        assert!(matches!(
            Manifest::parse(text),
            Err(ManifestError::NotAnImage(_))
        ));
        assert!(matches!(
            Manifest::parse(br#"{"schemaVersion":1}"#),
            Err(ManifestError::Obsolete)
        ));
        assert!(matches!(
            Manifest::parse(b"<html>"),
            Err(ManifestError::Json(_))
        ));
    }
}
