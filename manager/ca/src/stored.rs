//! A node's identity on its disk: `node.pem` with key and certificate, one file
//! so that a crash never leaves one without the other, and `ca.pem`.
//!
//! The key may be sealed, the certificate never is: who the node is can be read
//! before anybody unlocks it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::bundle::CaBundle;
use crate::error::CaError;
use crate::identity::Identity;
use crate::peer::PeerIdentity;
use crate::unlock::{seal, unseal};

const IDENTITY_FILE: &str = "node.pem";
const CA_FILE: &str = "ca.pem";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const SEALED_BEGIN: &str = "-----BEGIN SKEP SEALED KEY-----";
const SEALED_END: &str = "-----END SKEP SEALED KEY-----";
/// What the sealed key is called to [`seal`].
const WHAT: &str = "skep node key";

/// An identity as it is on the disk.
pub struct StoredIdentity {
    key: String,
    certificate: String,
    ca: CaBundle,
}

impl StoredIdentity {
    /// Reads what [`Identity::save`] wrote.
    ///
    /// # Errors
    /// [`CaError::NoIdentity`] if there is none; others if it is broken.
    pub fn read(dir: &Path) -> Result<Self, CaError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => CaError::NoIdentity { path: dir.into() },
                _ => file("read", &path, &e),
            })
        };
        let own = read(IDENTITY_FILE)?;
        let ca = CaBundle::from_pem(&read(CA_FILE)?)?;
        let certificates = own
            .find(CERTIFICATE)
            .ok_or_else(|| CaError::invalid("node certificate", "there is no certificate in it"))?;
        let (key, certificate) = own.split_at(certificates);
        Ok(Self {
            key: key.into(),
            certificate: certificate.into(),
            ca,
        })
    }

    /// Whose it says it is; [`StoredIdentity::open`] checks it.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn peer(&self) -> Result<PeerIdentity, CaError> {
        let own = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|e| CaError::invalid("node certificate", e))?;
        PeerIdentity::from_der(&own)
    }

    /// Whether the key is sealed.
    pub fn is_sealed(&self) -> bool {
        self.key.trim_start().starts_with(SEALED_BEGIN)
    }

    /// The identity; its key may be sealed under any of `keys`.
    ///
    /// # Errors
    /// If it is sealed under none of them, or key and certificate do not go
    /// together.
    pub fn open(&self, keys: &[[u8; 32]]) -> Result<Identity, CaError> {
        let open = |key: &str| Identity::from_pem(key, &self.certificate, self.ca.clone());
        if !self.is_sealed() {
            return open(&self.key);
        }
        let sealed = self.key.trim().strip_prefix(SEALED_BEGIN);
        let sealed = sealed.and_then(|rest| rest.strip_suffix(SEALED_END));
        let sealed = sealed.and_then(|text| STANDARD.decode(text.trim()).ok());
        let sealed =
            sealed.ok_or_else(|| CaError::invalid("node key", "what is sealed is damaged"))?;
        let key = keys.iter().find_map(|key| unseal(key, WHAT, &sealed));
        let key = key.and_then(|key| String::from_utf8(key).ok());
        match key {
            Some(key) => open(&key),
            None => Err(CaError::invalid(
                "node key",
                "it is sealed under a key that this node does not have; run \"skep swarm leave \
                 --force\" and join again",
            )),
        }
    }
}

impl Identity {
    /// Writes the identity to a directory (made if missing), readable by the
    /// owner only, the key sealed under `under` if given. What was there is
    /// replaced at once or not at all.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn save(&self, dir: &Path, under: Option<&[u8; 32]>) -> Result<(), CaError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| file("make directory", dir, &e))?;
        let key = match under {
            None => self.key_pem.clone(),
            Some(under) => {
                let sealed = STANDARD.encode(seal(under, WHAT, self.key_pem.as_bytes())?);
                format!("{SEALED_BEGIN}\n{sealed}\n{SEALED_END}")
            }
        };
        // Whichever certificate a crash leaves behind, its root is there.
        let ca = self.ca();
        let both = match fs::read_to_string(dir.join(CA_FILE)) {
            Ok(before) if before != ca.pem() => format!("{}\n{}", ca.pem().trim_end(), before),
            _ => ca.pem().to_owned(),
        };
        replace(dir, CA_FILE, &both)?;
        let own = format!("{}\n{}", key.trim_end(), self.certificate_pem());
        replace(dir, IDENTITY_FILE, &own)?;
        replace(dir, CA_FILE, ca.pem())
    }

    /// Reads the identity that [`Identity::save`] wrote; its key may be sealed
    /// under any of `keys`.
    ///
    /// # Errors
    /// [`CaError::NoIdentity`] if there is none; others if it is broken.
    pub fn load(dir: &Path, keys: &[[u8; 32]]) -> Result<Self, CaError> {
        StoredIdentity::read(dir)?.open(keys)
    }
}

fn file(action: &'static str, path: &Path, error: &io::Error) -> CaError {
    CaError::File {
        action,
        path: path.into(),
        reason: error.to_string(),
    }
}

/// Replaces a private file: written aside, synced, renamed.
fn replace(dir: &Path, name: &str, text: &str) -> Result<(), CaError> {
    let path = dir.join(name);
    let aside = dir.join(format!("{name}.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&aside, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|e| file("write", &path, &e))
}
