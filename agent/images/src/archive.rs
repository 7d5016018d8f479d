//! Loading: from an archive, as `docker save`, `podman save`, `skopeo` or a
//! build tool wrote it, to images in the store. An archive's parts come in any
//! order, so it is put into a nameless file, indexed, and then read in place.

mod members;

use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;

use crate::config::Document;
use crate::digest::Digest;
use crate::error::LoadError;
use crate::image::Image;
use crate::layer::{Expected, UnpackError, no_space};
use crate::manifest::{Descriptor, Manifest, Platform, choose};
use crate::progress::{Progress, Stage};
use crate::reference::Reference;
use crate::store::{ImageStore, Inner, NewImage};
use members::{Archive, Section};

impl ImageStore {
    /// Loads all images of an archive: what `docker save` writes, or an OCI
    /// layout in a tar, either of them plain or compressed with gzip or zstd.
    /// Names are taken over from the archive. Goes on to the end even if the
    /// future is dropped.
    ///
    /// # Errors
    /// See [`LoadError`]. Images before the failing one stay loaded.
    pub async fn load(
        &self,
        reader: impl Read + Send + 'static,
        progress: impl Fn(Progress) + Send + 'static,
    ) -> Result<Vec<Image>, LoadError> {
        let shared = self.inner.clone();
        self.blocking(move |inner| {
            let archive = Archive::spooled(inner, reader)?;
            load(&shared, &archive, &progress)
        })
        .await
    }
}

fn unusable(reason: impl Into<String>) -> LoadError {
    LoadError::Unusable(reason.into())
}

/// One image of an archive.
struct Plan {
    config: Vec<u8>,
    document: Document,
    /// Where each layer lies, bottom first.
    layers: Vec<(Section, Expected)>,
    names: Vec<Reference>,
}

fn load(
    inner: &Arc<Inner>,
    archive: &Archive,
    progress: &dyn Fn(Progress),
) -> Result<Vec<Image>, LoadError> {
    let most = inner.config.limits.document_bytes;
    let (plans, skipped) = if let Some(manifest) = archive.get("manifest.json") {
        from_docker(archive, &manifest.document(most)?, most)?
    } else if let Some(index) = archive.get("index.json") {
        from_oci(archive, &index.document(most)?, most)?
    } else if archive.get("repositories").is_some() {
        return Err(unusable(
            "it is of Docker's format before 1.10: save it again with a current tool",
        ));
    } else {
        return Err(unusable(
            "it has neither manifest.json nor index.json; a container's files (docker export) are no image",
        ));
    };
    if plans.is_empty() {
        if skipped.is_empty() {
            return Err(unusable("it holds no image"));
        }
        return Err(LoadError::WrongPlatform {
            wanted: Platform::current(),
            found: skipped,
        });
    }
    plans
        .into_iter()
        .map(|plan| plan.carry_out(inner, progress))
        .collect()
}

impl Plan {
    fn new(
        config: Vec<u8>,
        layers: Vec<(Section, Option<(Digest, u64)>)>,
        names: Vec<Reference>,
    ) -> Result<Plan, LoadError> {
        let document = Document::parse(&config)
            .map_err(|e| unusable(format!("the configuration of an image is malformed: {e}")))?;
        if document.diff_ids.len() != layers.len() {
            return Err(unusable(format!(
                "an image has {} layers, but its configuration names {}",
                layers.len(),
                document.diff_ids.len()
            )));
        }
        let layers = layers
            .into_iter()
            .zip(&document.diff_ids)
            .map(|((section, blob), diff_id)| {
                (
                    section,
                    Expected {
                        blob,
                        diff_id: diff_id.clone(),
                    },
                )
            })
            .collect();
        Ok(Plan {
            config,
            document,
            layers,
            names,
        })
    }

    fn platform(&self) -> Platform {
        Platform {
            os: self.document.config.os.clone(),
            architecture: self.document.config.architecture.clone(),
            variant: String::new(),
        }
    }

    fn carry_out(
        self,
        inner: &Arc<Inner>,
        progress: &dyn Fn(Progress),
    ) -> Result<Image, LoadError> {
        let most = inner.config.limits.layers;
        if self.layers.len() > most {
            return Err(unusable(format!("an image has more than {most} layers")));
        }
        let _pins = inner.pin(self.document.diff_ids.clone());
        for (section, expected) in self.layers {
            let tell = |stage| {
                progress(Progress {
                    layer: Some(expected.diff_id.clone()),
                    stage,
                })
            };
            let held = inner.layer_lock(&expected.diff_id);
            let _held = held.blocking_lock();
            if inner.has_layer(&expected.diff_id) {
                tell(Stage::AlreadyExists);
                continue;
            }
            inner
                .add_layer(section, &expected)
                .map_err(|source| unpack_error(&expected, source))?;
            tell(Stage::Complete);
        }
        let new = NewImage {
            config: self.config,
            document: self.document,
            names: self.names,
        };
        let image = inner.commit(new)?;
        progress(Progress {
            layer: None,
            stage: Stage::Done(image.id.clone()),
        });
        Ok(image)
    }
}

fn unpack_error(expected: &Expected, source: UnpackError) -> LoadError {
    LoadError::Unpack {
        layer: expected.diff_id.clone(),
        source,
    }
}

/// Images of this machine's platform, and the platforms of the others.
type Plans = (Vec<Plan>, Vec<Platform>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn from_docker(archive: &Archive, manifest: &[u8], most: u64) -> Result<Plans, LoadError> {
    let images: Vec<DockerImage> = serde_json::from_slice(manifest)
        .map_err(|e| unusable(format!("its manifest.json is malformed: {e}")))?;
    let find = |path: &str| {
        archive
            .get(path)
            .ok_or_else(|| unusable(format!("{path}, which its manifest.json names, is missing")))
    };
    let (mut plans, mut skipped) = (Vec::new(), Vec::new());
    for image in images {
        let layers = image.layers.unwrap_or_default();
        let layers: Result<Vec<_>, LoadError> =
            layers.iter().map(|path| Ok((find(path)?, None))).collect();
        let mut names = Vec::new();
        for tag in image.repo_tags.unwrap_or_default() {
            names.push(
                tag.parse()
                    .map_err(|e| unusable(format!("a name in its manifest.json: {e}")))?,
            );
        }
        let plan = Plan::new(find(&image.config)?.document(most)?, layers?, names)?;
        if plan.platform().runs_here() {
            plans.push(plan);
        } else {
            skipped.push(plan.platform());
        }
    }
    Ok((plans, skipped))
}

fn from_oci(archive: &Archive, index: &[u8], most: u64) -> Result<Plans, LoadError> {
    let entries = match parse(index)? {
        Manifest::Index(entries) => entries,
        Manifest::Image { .. } => return Err(unusable("its index.json is no index")),
    };
    let (mut plans, mut skipped) = (Vec::new(), Vec::new());
    for entry in entries {
        match from_entry(archive, &entry, most) {
            Ok(plan) => plans.push(plan),
            Err(LoadError::WrongPlatform { found, .. }) => skipped.extend(found),
            Err(error) => return Err(error),
        }
    }
    Ok((plans, skipped))
}

fn from_entry(archive: &Archive, entry: &Descriptor, most: u64) -> Result<Plan, LoadError> {
    let wrong = |found| LoadError::WrongPlatform {
        wanted: Platform::current(),
        found,
    };
    let mut manifest = Manifest::Index(vec![entry.clone()]);
    // The index itself, and what it may lead through.
    for _ in 0..4 {
        match manifest {
            Manifest::Index(entries) => {
                let chosen = choose(&entries).map_err(wrong)?;
                manifest = parse(&archive.blob(chosen)?.verified(&chosen.digest, most)?)?;
            }
            Manifest::Image { config, layers } => {
                let sections: Result<Vec<_>, LoadError> = layers
                    .iter()
                    .map(|layer| {
                        Ok((
                            archive.blob(layer)?,
                            Some((layer.digest.clone(), layer.size)),
                        ))
                    })
                    .collect();
                let config = archive.blob(&config)?.verified(&config.digest, most)?;
                let plan = Plan::new(config, sections?, names_of(entry))?;
                if !plan.platform().runs_here() {
                    return Err(wrong(vec![plan.platform()]));
                }
                return Ok(plan);
            }
        }
    }
    Err(unusable("it has indexes within indexes"))
}

fn parse(bytes: &[u8]) -> Result<Manifest, LoadError> {
    Manifest::parse(bytes).map_err(|e| unusable(e.to_string()))
}

/// The name that an index gives an image: the whole of it as containerd writes
/// it, or what the specification allows, of which a bare word is only a tag.
fn names_of(entry: &Descriptor) -> Vec<Reference> {
    let whole = entry.annotation("io.containerd.image.name");
    let reference = entry
        .annotation("org.opencontainers.image.ref.name")
        .filter(|name| name.contains(['/', ':']));
    let name = whole.or(reference).and_then(|name| name.parse().ok());
    // A digest is not a name to give; the content tells its own.
    name.into_iter()
        .filter(|name: &Reference| name.digest().is_none())
        .collect()
}

impl LoadError {
    /// Whether the node's disk (or a quota) is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            LoadError::Read(source) => no_space(source),
            LoadError::Unpack { source, .. } => source.is_no_space(),
            LoadError::Store(source) => source.is_no_space(),
            LoadError::Unusable(_) | LoadError::WrongPlatform { .. } => false,
        }
    }
}
