//! The keys of this node's manager, on its disk.
//!
//! One small file, `node/raft.key`: the key of the Raft log, and the node's own
//! key, which the private key in `node.pem` is sealed under. While the swarm has
//! an unlock key the file is sealed under that, and nothing else on the disk
//! opens what they are for. So whatever becomes of the unlock key, one file is
//! replaced; what it held before stays in it until nothing needs it.
//!
//! A worker has no such file. Without autolock the file holds the key of the log
//! alone, and `node.pem` is not sealed: it would lie beside its key.

use crate::files::Files;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use skep_manager::KeyKeeper;
use skep_manager_ca::{Credentials, Identity, StoredIdentity, seal, unseal};
use skep_types::{Role, UnlockKey};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "raft.key";
/// What the content of the file is called when it is sealed.
const WHAT: &str = "skep manager keys";

/// The keys. Cheap to clone. Whoever changes them holds them meanwhile.
#[derive(Clone)]
pub(crate) struct Keyring {
    files: Files,
    held: Arc<Mutex<Held>>,
}

/// What is known of the file.
enum Held {
    /// There is none.
    Nothing,
    /// It is sealed, and nobody has unlocked it.
    Locked(Vec<u8>),
    /// It holds these keys, sealed under that one.
    Open(Keys, Option<UnlockKey>),
}

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Keys {
    /// Of the Raft log.
    #[serde(with = "hex")]
    data: [u8; 32],
    /// What `node.pem` is sealed under, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<Hex>,
    /// What parts of the log may still be under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_data: Vec<Hex>,
    /// What `node.pem` may still be sealed under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_own: Vec<Hex>,
}

/// A key as text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Hex(#[serde(with = "hex")] [u8; 32]);

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stored {
    Clear(Keys),
    Sealed(#[serde(with = "hex")] Vec<u8>),
}

impl Keys {
    /// New ones. `own` where they are to be sealed.
    fn fresh(sealed: bool) -> Keys {
        Keys {
            data: rand::random(),
            own: sealed.then(|| Hex(rand::random())),
            former_data: Vec::new(),
            former_own: Vec::new(),
        }
    }

    /// New ones that keep these until nothing needs them.
    fn replaced(&self) -> Keys {
        let Keys {
            data,
            own,
            former_data,
            former_own,
        } = self.clone();
        Keys {
            former_data: [vec![Hex(data)], former_data].concat(),
            former_own: own.into_iter().chain(former_own).collect(),
            ..Keys::fresh(true)
        }
    }

    /// All that `node.pem` may be sealed under.
    fn all_own(&self) -> Vec<[u8; 32]> {
        let own = self.own.iter().chain(&self.former_own);
        own.map(|Hex(key)| *key).collect()
    }
}

impl Stored {
    fn read(text: &[u8]) -> Result<Stored> {
        // As it was written before keys could be sealed.
        let mut data = [0; 32];
        if hex::decode_to_slice(text.trim_ascii(), &mut data).is_ok() {
            return Ok(Stored::Clear(Keys {
                data,
                own: None,
                former_data: Vec::new(),
                former_own: Vec::new(),
            }));
        }
        Ok(serde_json::from_slice(text)?)
    }

    fn of(keys: &Keys, under: Option<&UnlockKey>) -> Result<Stored> {
        let Some(UnlockKey(under)) = under else {
            return Ok(Stored::Clear(keys.clone()));
        };
        let content = serde_json::to_vec(keys)?;
        Ok(Stored::Sealed(seal(under, WHAT, &content)?))
    }
}

impl Keyring {
    /// Reads the file, if there is one.
    pub(crate) fn open(files: &Files) -> Result<Keyring> {
        let held = match files.read(FILE)? {
            None => Held::Nothing,
            Some(text) => {
                let stored = Stored::read(&text);
                match stored.with_context(|| files.is_damaged(FILE))? {
                    Stored::Clear(keys) => Held::Open(keys, None),
                    Stored::Sealed(sealed) => Held::Locked(sealed),
                }
            }
        };
        Ok(Keyring {
            files: files.clone(),
            held: Arc::new(Mutex::new(held)),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a person has to unlock it before this node can be a manager.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(*self.held(), Held::Locked(_))
    }

    /// Opens it; whether this was the right key.
    pub(crate) fn unlock(&self, key: &UnlockKey) -> Result<bool> {
        let mut held = self.held();
        let sealed = match &*held {
            Held::Locked(sealed) => sealed,
            Held::Open(_, under) => return Ok(under.as_ref() == Some(key)),
            Held::Nothing => return Ok(false),
        };
        let Some(content) = unseal(&key.0, WHAT, sealed) else {
            return Ok(false);
        };
        let keys = serde_json::from_slice(&content);
        let keys = keys.with_context(|| self.files.is_damaged(FILE))?;
        *held = Held::Open(keys, Some(key.clone()));
        Ok(true)
    }

    /// The node's identity from its disk.
    pub(crate) fn identity(&self, stored: &StoredIdentity) -> Result<Identity> {
        let own = match &*self.held() {
            Held::Open(keys, _) => keys.all_own(),
            Held::Nothing | Held::Locked(_) => Vec::new(),
        };
        Ok(stored.open(&own)?)
    }

    /// The key of the Raft log, and those that parts of it may still be under.
    pub(crate) fn data_keys(&self) -> Result<([u8; 32], Vec<[u8; 32]>)> {
        let mut held = self.held();
        if matches!(*held, Held::Nothing) {
            self.put(&mut held, Keys::fresh(false), None)?;
        }
        let Held::Open(keys, _) = &*held else {
            bail!(crate::lock::LOCKED);
        };
        let former = keys.former_data.iter().map(|Hex(key)| *key);
        Ok((keys.data, former.collect()))
    }

    /// Puts an identity on the disk. A manager's first one makes the keys, sealed
    /// under this unlock key if the swarm has one.
    pub(crate) fn save(&self, identity: &Identity, unlock: Option<&UnlockKey>) -> Result<()> {
        self.save_held(&mut self.held(), identity, unlock)
    }

    /// As [`Keyring::save`], and has these credentials be that identity.
    pub(crate) fn replace(
        &self,
        identity: Identity,
        unlock: Option<&UnlockKey>,
        credentials: &Credentials,
    ) -> Result<()> {
        // In one: the keeper writes the identity that the credentials have.
        let mut held = self.held();
        self.save_held(&mut held, &identity, unlock)?;
        Ok(credentials.replace(identity)?)
    }

    fn save_held(
        &self,
        held: &mut Held,
        identity: &Identity,
        unlock: Option<&UnlockKey>,
    ) -> Result<()> {
        let own = match (&*held, identity.peer().role) {
            (_, Role::Worker) => None,
            (Held::Open(keys, _), Role::Manager) => keys.own,
            // Those of a former time as a manager are nobody's any more.
            (Held::Nothing | Held::Locked(_), Role::Manager) => {
                let keys = Keys::fresh(unlock.is_some());
                let own = keys.own;
                self.put(held, keys, unlock)?;
                own
            }
        };
        self.save_under(identity, own)
    }

    fn save_under(&self, identity: &Identity, own: Option<Hex>) -> Result<()> {
        let own = own.as_ref().map(|Hex(key)| key);
        Ok(identity.save(&self.files.certificates(), own)?)
    }

    /// Forgets the keys: the node is no manager any more.
    pub(crate) fn forget(&self) -> Result<()> {
        let mut held = self.held();
        self.files.remove(FILE)?;
        *held = Held::Nothing;
        Ok(())
    }

    /// Replaces the file.
    fn put(&self, held: &mut Held, keys: Keys, under: Option<&UnlockKey>) -> Result<()> {
        let stored = Stored::of(&keys, under)?;
        self.files.put(FILE, &serde_json::to_vec(&stored)?)?;
        *held = Held::Open(keys, under.cloned());
        Ok(())
    }

    /// What makes the keys follow the swarm's unlock key while a manager runs.
    pub(crate) fn keeper(&self, credentials: &Arc<Credentials>) -> Arc<dyn KeyKeeper> {
        Arc::new(Keeper {
            keyring: self.clone(),
            credentials: credentials.clone(),
        })
    }
}

struct Keeper {
    keyring: Keyring,
    credentials: Arc<Credentials>,
}

impl Keeper {
    /// Seals, with new keys where the unlock key is new: whoever had the file
    /// before, in the clear or with the unlock key of then, has nothing by it.
    fn seal(&self, unlock: Option<&UnlockKey>) -> Result<Option<[u8; 32]>> {
        let mut held = self.keyring.held();
        let Held::Open(keys, under) = &*held else {
            bail!("this manager's keys are gone; restart the daemon on this node");
        };
        let mut keys = keys.clone();
        if under.as_ref() != unlock {
            if unlock.is_some() {
                keys = keys.replaced();
            }
            self.keyring.put(&mut held, keys.clone(), unlock)?;
        }
        // Also after a crash: it may be under a former one.
        let identity = self.credentials.identity();
        self.keyring.save_under(&identity, keys.own)?;
        Ok((!keys.former_data.is_empty()).then_some(keys.data))
    }

    fn forget_former(&self, data_key: [u8; 32]) -> Result<()> {
        let mut held = self.keyring.held();
        match &*held {
            Held::Open(keys, under) if keys.data == data_key => {
                let (keys, under) = (keys.clone(), under.clone());
                let keys = Keys {
                    former_data: Vec::new(),
                    former_own: Vec::new(),
                    ..keys
                };
                self.keyring.put(&mut held, keys, under.as_ref())
            }
            // They are others by now, and their log another one.
            _ => Ok(()),
        }
    }
}

impl KeyKeeper for Keeper {
    fn is_kept(&self, unlock: Option<&UnlockKey>) -> bool {
        match &*self.keyring.held() {
            Held::Open(keys, under) => under.as_ref() == unlock && keys.former_data.is_empty(),
            Held::Nothing | Held::Locked(_) => false,
        }
    }

    fn keep(&self, unlock: Option<&UnlockKey>) -> Result<Option<[u8; 32]>, String> {
        self.seal(unlock).map_err(|error| format!("{error:#}"))
    }

    fn rewritten(&self, data_key: [u8; 32]) -> Result<(), String> {
        let forgotten = self.forget_former(data_key);
        forgotten.map_err(|error| format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests;
