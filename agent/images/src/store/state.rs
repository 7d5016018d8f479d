//! What the store knows, in memory: images, names, layers, and who holds them.
//! No files here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use crate::config::Document;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::image::Image;
use crate::layer::Attributes;
use crate::reference::Reference;

/// The fewest digits of an id that are taken for one.
const ID_PREFIX_MIN: usize = 4;

/// An image as it is kept in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    pub id: Digest,
    /// Directory names of the layers, bottom first.
    pub layers: Vec<String>,
    /// Bytes of file content.
    pub size: u64,
}

/// A layer's directory as it is kept in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    /// Name of the directory: the digest's digits, and a number for a variant.
    pub name: String,
    pub diff_id: Digest,
    pub size: u64,
    /// Directories that the layer does not describe.
    pub implied: Vec<Implied>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Implied {
    /// The path, in hexadecimal, as it may hold any bytes.
    #[serde(with = "hex_path")]
    pub path: Vec<u8>,
    /// What was taken from the layers below; `None` before the first commit.
    pub attributes: Option<Attributes>,
}

/// Paths as hexadecimal text.
mod hex_path {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(path))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl LayerRecord {
    pub(super) fn new(
        name: String,
        diff_id: Digest,
        size: u64,
        implied: Vec<Vec<u8>>,
    ) -> LayerRecord {
        let implied = implied
            .into_iter()
            .map(|path| Implied {
                path,
                attributes: None,
            })
            .collect();
        LayerRecord {
            name,
            diff_id,
            size,
            implied,
        }
    }
}

/// Names and what they stand for, as kept in a file.
pub(super) type Names = BTreeMap<Reference, Digest>;

#[derive(Default)]
pub(super) struct State {
    images: BTreeMap<Digest, (ImageRecord, Document)>,
    names: Names,
    /// By directory name.
    layers: BTreeMap<String, LayerRecord>,
    /// Layers that a pull or load in progress counts on.
    pins: HashMap<Digest, usize>,
}

impl State {
    pub(super) fn ids(&self) -> Vec<Digest> {
        self.images.keys().cloned().collect()
    }

    /// The image of a name or id, and the name if it was one.
    pub(super) fn find(&self, text: &str) -> Result<(Digest, Option<Reference>), StoreError> {
        let parsed: Option<Reference> = text.parse().ok();
        if let Some(reference) = parsed
            && let Some(id) = self.of_name(&reference)
        {
            return Ok((id, Some(reference)));
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() < ID_PREFIX_MIN || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(StoreError::NoSuchImage(text.to_owned()));
        }
        let mut fitting = self.images.keys().filter(|id| id.hex().starts_with(digits));
        match (fitting.next(), fitting.next()) {
            (Some(id), None) => Ok((id.clone(), None)),
            (Some(_), Some(_)) => Err(StoreError::Ambiguous(text.to_owned())),
            (None, _) => Err(StoreError::NoSuchImage(text.to_owned())),
        }
    }

    /// A name with a digest stands for what has that digest, whatever its tag.
    pub(super) fn of_name(&self, reference: &Reference) -> Option<Digest> {
        match reference.digest() {
            Some(digest) => self.names.get(&reference.with_digest(digest.clone())),
            None => self.names.get(reference),
        }
        .cloned()
    }

    pub(super) fn image(&self, id: &Digest, disk: &Disk) -> Option<Image> {
        let (record, document) = self.images.get(id)?;
        let (digests, references) = self
            .names_of(id)
            .into_iter()
            .partition(|name| name.digest().is_some());
        Some(Image {
            id: id.clone(),
            references,
            digests,
            size: record.size,
            created: document.created.clone(),
            config: document.config.clone(),
            layers: record.layers.iter().map(|name| disk.layer(name)).collect(),
        })
    }

    pub(super) fn names_of(&self, id: &Digest) -> Vec<Reference> {
        self.names
            .iter()
            .filter(|(_, of)| *of == id)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A name of an image, and if it is the image's last tag in its repository,
    /// the names by digest there, which only came with it.
    pub(super) fn with_name(&self, id: &Digest, name: &Reference) -> Vec<Reference> {
        let name = match name.digest() {
            Some(digest) => name.with_digest(digest.clone()),
            None => name.clone(),
        };
        let siblings: Vec<Reference> = self
            .names_of(id)
            .into_iter()
            .filter(|other| other.repository() == name.repository() && *other != name)
            .collect();
        let mut going = Vec::new();
        if siblings.iter().all(|other| other.digest().is_some()) {
            going.extend(siblings);
        }
        going.push(name);
        going
    }

    pub(super) fn name(&mut self, name: Reference, id: Digest) {
        self.names.insert(name, id);
    }

    pub(super) fn unname(&mut self, names: &[Reference]) {
        self.names.retain(|name, _| !names.contains(name));
    }

    pub(super) fn forget(&mut self, id: &Digest) {
        self.images.remove(id);
        self.names.retain(|_, of| of != id);
    }

    pub(super) fn names_document(&self) -> Names {
        self.names.clone()
    }

    /// Takes back a change of names that could not be kept.
    pub(super) fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    pub(super) fn add_image(&mut self, record: ImageRecord, document: Document) {
        self.images.insert(record.id.clone(), (record, document));
    }

    pub(super) fn add_layer(&mut self, record: LayerRecord) {
        self.layers.insert(record.name.clone(), record);
    }

    /// Whether a directory of this name belongs to a layer.
    pub(super) fn has_directory(&self, name: &str) -> bool {
        self.layers.contains_key(name)
    }

    /// Any directory of a layer.
    pub(super) fn layer(&self, diff_id: &Digest) -> Option<&LayerRecord> {
        self.variants(diff_id).next()
    }

    /// All directories of a layer, the first unpacked one first.
    pub(super) fn variants(&self, diff_id: &Digest) -> impl Iterator<Item = &LayerRecord> {
        let diff_id = diff_id.clone();
        self.layers
            .range(diff_id.hex().to_owned()..)
            .map(|(_, record)| record)
            .take_while(move |record| record.diff_id == diff_id)
    }

    pub(super) fn pin(&mut self, diff_ids: &[Digest]) {
        for diff_id in diff_ids {
            *self.pins.entry(diff_id.clone()).or_default() += 1;
        }
    }

    pub(super) fn unpin(&mut self, diff_ids: &[Digest]) {
        for diff_id in diff_ids {
            if let Some(count) = self.pins.get_mut(diff_id) {
                *count -= 1;
                if *count == 0 {
                    self.pins.remove(diff_id);
                }
            }
        }
    }

    /// Forgets the layers that no image has and nobody counts on; their
    /// directories' names.
    pub(super) fn drop_unused(&mut self) -> Vec<String> {
        let used: BTreeSet<&String> = self
            .images
            .values()
            .flat_map(|(record, _)| &record.layers)
            .collect();
        let unused: Vec<String> = self
            .layers
            .values()
            .filter(|layer| !used.contains(&layer.name) && !self.pins.contains_key(&layer.diff_id))
            .map(|layer| layer.name.clone())
            .collect();
        for name in &unused {
            self.layers.remove(name);
        }
        unused
    }
}
