//! Makes a finished set of layers an image: directories that a layer does not
//! describe get what lies below them, everything is made durable, and only then
//! the image's record and names are written.

use std::path::PathBuf;

use super::state::{ImageRecord, Implied, LayerRecord};
use super::{Inner, lock};
use crate::config::Document;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::image::Image;
use crate::layer::{Attributes, attributes_below, clone_tree, set_attributes};
use crate::reference::Reference;

/// An image whose layers are all in the store.
pub(crate) struct NewImage {
    /// Its configuration, byte for byte.
    pub config: Vec<u8>,
    pub document: Document,
    /// The names it gets, taken from whatever had them.
    pub names: Vec<Reference>,
}

impl Inner {
    /// Takes an image into the store. Blocks. The caller holds pins on all its
    /// layers.
    pub(crate) fn commit(&self, new: NewImage) -> Result<Image, StoreError> {
        let id = Digest::sha256(&new.config);
        let _commit = lock(&self.commit);
        // Often enough a pull only finds that nothing has changed.
        if let Some(image) = self.rename(&id, &new.names)? {
            return Ok(image);
        }
        let mut layers: Vec<String> = Vec::new();
        let mut lower: Vec<PathBuf> = Vec::new();
        let mut size = 0;
        let mut written = Vec::new();
        for diff_id in &new.document.diff_ids {
            let record = self.suitable(diff_id, &lower)?;
            lower.push(self.disk.layer(&record.name));
            layers.push(record.name.clone());
            size += record.size;
            if !written.contains(&record.name) {
                self.disk.write_layer(&record)?;
                written.push(record.name.clone());
            }
        }
        self.disk.write_config(&id, &new.config)?;
        self.disk.sync()?;
        let record = ImageRecord {
            id: id.clone(),
            layers,
            size,
        };
        self.disk.write_image(&record)?;
        let names = {
            let mut state = lock(&self.state);
            state.add_image(record, new.document);
            for name in new.names {
                state.name(name, id.clone());
            }
            state.names_document()
        };
        self.disk.write_names(&names)?;
        lock(&self.state)
            .image(&id, &self.disk)
            .ok_or_else(|| StoreError::NoSuchImage(id.to_string()))
    }

    /// Gives names to an image that is here already.
    fn rename(&self, id: &Digest, names: &[Reference]) -> Result<Option<Image>, StoreError> {
        let changed = {
            let mut state = lock(&self.state);
            if state.image(id, &self.disk).is_none() {
                return Ok(None);
            }
            let news = names
                .iter()
                .filter(|name| state.of_name(name).as_ref() != Some(id));
            let news: Vec<Reference> = news.cloned().collect();
            for name in &news {
                state.name(name.clone(), id.clone());
            }
            (!news.is_empty()).then(|| state.names_document())
        };
        if let Some(names) = changed {
            self.disk.write_names(&names)?;
        }
        Ok(lock(&self.state).image(id, &self.disk))
    }

    /// The directory of a layer that suits the layers below it, made if there
    /// is none yet.
    fn suitable(&self, diff_id: &Digest, lower: &[PathBuf]) -> Result<LayerRecord, StoreError> {
        let variants: Vec<LayerRecord> = lock(&self.state).variants(diff_id).cloned().collect();
        let Some(first) = variants.first() else {
            return Err(StoreError::disk(
                "find",
                self.disk.layer(diff_id.hex()),
                std::io::Error::from(std::io::ErrorKind::NotFound),
            ));
        };
        let mut wanted: Vec<(Vec<u8>, Attributes)> = Vec::new();
        for implied in &first.implied {
            let attributes = attributes_below(lower, &implied.path).map_err(|e| {
                StoreError::disk("read the layers below", self.disk.layer(&first.name), e)
            })?;
            wanted.push((implied.path.clone(), attributes));
        }
        let fits = |record: &&LayerRecord| {
            record
                .implied
                .iter()
                .zip(&wanted)
                .all(|(is, (_, wanted))| is.attributes == Some(*wanted))
        };
        if let Some(record) = variants.iter().find(fits) {
            return Ok(record.clone());
        }
        let fixed = wanted
            .iter()
            .map(|(path, attributes)| Implied {
                path: path.clone(),
                attributes: Some(*attributes),
            })
            .collect();
        let record = LayerRecord {
            implied: fixed,
            ..first.clone()
        };
        if first
            .implied
            .iter()
            .all(|implied| implied.attributes.is_none())
        {
            let path = self.disk.layer(&record.name);
            set_attributes(&path, &wanted).map_err(|e| StoreError::disk("complete", path, e))?;
            lock(&self.state).add_layer(record.clone());
            return Ok(record);
        }
        let aside = self.disk.aside()?;
        let number = (1..)
            .find(|number| {
                let name = format!("{}-{number}", diff_id.hex());
                variants.iter().all(|variant| variant.name != name)
            })
            .unwrap_or(0);
        let name = format!("{}-{number}", diff_id.hex());
        let to = self.disk.layer(&name);
        clone_tree(&self.disk.layer(&first.name), aside.path())
            .and_then(|()| set_attributes(aside.path(), &wanted))
            .and_then(|()| self.disk.put_layer(aside, &name))
            .map_err(|e| StoreError::disk("make", to, e))?;
        let record = LayerRecord { name, ..record };
        lock(&self.state).add_layer(record.clone());
        Ok(record)
    }
}
