//! Keys that change, and daemons that die meanwhile.

use super::*;
use std::path::Path;
use std::time::{Duration, SystemTime};

use skep_manager_ca::{Request, Root, Subject};
use skep_types::{ClusterId, NodeId};

fn identity(role: Role) -> Identity {
    let now = SystemTime::now();
    let root = Root::generate(now).unwrap();
    let key = Request::generate().unwrap();
    let subject = Subject {
        node: NodeId::from_bits(1),
        role,
        cluster: ClusterId::from_bits(2),
    };
    let hour = Duration::from_secs(3600);
    let issued = root.issue(key.pem(), &subject, hour, now).unwrap();
    key.complete(&issued.pem, root.certificate().clone())
        .unwrap()
}

fn unlock_key(byte: u8) -> Option<UnlockKey> {
    (byte != 0).then_some(UnlockKey([byte; 32]))
}

/// A manager's disk, and what its log is written under.
struct Disk {
    dir: tempfile::TempDir,
    identity: Identity,
    log: [u8; 32],
}

/// What a daemon that starts on it has.
struct Started {
    keyring: Keyring,
    keeper: Arc<dyn KeyKeeper>,
    /// The unlock key that was asked for; 0 for none.
    asked: u8,
}

impl Disk {
    fn new(unlock: u8) -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(&Files::new(dir.path())).unwrap();
        let identity = identity(Role::Manager);
        keyring
            .save(&identity, unlock_key(unlock).as_ref())
            .unwrap();
        let (log, former) = keyring.data_keys().unwrap();
        assert!(former.is_empty());
        Disk { dir, identity, log }
    }

    /// Starts with one of these unlock keys, tried in order.
    fn start(&self, known: &[u8]) -> Started {
        let files = Files::new(self.dir.path());
        let keyring = Keyring::open(&files).unwrap();
        let mut asked = 0;
        if keyring.is_locked() {
            assert!(keyring.data_keys().is_err());
            let opens = |byte: &&u8| {
                let key = unlock_key(**byte);
                key.is_some_and(|key| keyring.unlock(&key).unwrap())
            };
            asked = *known.iter().find(opens).expect("one of the keys opens it");
            assert!(!keyring.unlock(&UnlockKey([99; 32])).unwrap());
        }
        let stored = StoredIdentity::read(&files.certificates()).unwrap();
        let identity = keyring.identity(&stored).unwrap();
        assert_eq!(identity.certificate_pem(), self.identity.certificate_pem());
        let (data, former) = keyring.data_keys().unwrap();
        assert!(data == self.log || former.contains(&self.log));
        let credentials = Credentials::new(identity).unwrap();
        let keeper = keyring.keeper(&credentials);
        Started {
            keyring,
            keeper,
            asked,
        }
    }

    /// Has a file of the node's directory not be replaced.
    fn obstruct(&self, file: &str) -> Obstacle {
        let path = self.dir.path().join("node").join(file);
        std::fs::create_dir(&path).unwrap();
        Obstacle(path)
    }

    /// Whether one of the files that may hold keys has any of them in the clear.
    fn shows_keys(&self) -> bool {
        let node = self.dir.path().join("node");
        let text = |file: &str| std::fs::read_to_string(node.join(file)).unwrap();
        text("raft.key").contains("\"data\"")
            || text("certificates/node.pem").contains("PRIVATE KEY")
    }
}

struct Obstacle(std::path::PathBuf);

impl Drop for Obstacle {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

/// The disk as a daemon leaves it that dies after so many steps of a change to
/// this unlock key.
fn cut_short(disk: &mut Disk, steps: usize, from: u8, to: u8) {
    let keeper = disk.start(&[from]).keeper;
    let unlock = unlock_key(to);
    let unlock = unlock.as_ref();
    if steps == 0 {
        let _obstacle = disk.obstruct("raft.new");
        keeper.keep(unlock).unwrap_err();
        return;
    }
    if steps == 1 {
        let _obstacle = disk.obstruct("certificates/node.pem.new");
        keeper.keep(unlock).unwrap_err();
        return;
    }
    let data = keeper.keep(unlock).unwrap();
    assert_eq!(data.is_some(), to != 0);
    let Some(data) = data.filter(|_| steps > 2) else {
        return;
    };
    disk.log = data;
    if steps == 4 {
        let _obstacle = disk.obstruct("raft.new");
        keeper.rewritten(data).unwrap_err();
    }
    if steps > 4 {
        keeper.rewritten(data).unwrap();
    }
}

#[test]
fn a_daemon_that_dies_while_keys_change_starts_again_with_the_old_or_the_new_unlock_key() {
    for (from, to) in [(0, 1), (1, 2), (1, 0)] {
        for steps in 0..=5 {
            let mut disk = Disk::new(from);
            let before = disk.log;
            cut_short(&mut disk, steps, from, to);
            let started = disk.start(&[from, to]);
            assert_eq!(started.asked, if steps == 0 { from } else { to });
            // The next one ends the work.
            let unlock = unlock_key(to);
            let unlock = unlock.as_ref();
            while !started.keeper.is_kept(unlock) {
                if let Some(data) = started.keeper.keep(unlock).unwrap() {
                    disk.log = data;
                    started.keeper.rewritten(data).unwrap();
                }
            }
            let (data, former) = disk.start(&[to]).keyring.data_keys().unwrap();
            assert_eq!((data, former), (disk.log, Vec::new()));
            // What could be had before opens nothing that is written now.
            assert_eq!(disk.log != before, to != 0, "{from} to {to}, {steps} steps");
            assert_eq!(disk.shows_keys(), to == 0, "{from} to {to}, {steps} steps");
        }
    }
}

#[test]
fn keys_that_change_again_before_the_log_was_rewritten_lose_nothing() {
    let mut disk = Disk::new(0);
    let keeper = disk.start(&[]).keeper;
    keeper.keep(unlock_key(1).as_ref()).unwrap().unwrap();
    keeper.keep(unlock_key(2).as_ref()).unwrap().unwrap();
    let keeper = disk.start(&[2]).keeper;
    let data = keeper.keep(None).unwrap().unwrap();
    disk.start(&[]);
    disk.log = data;
    keeper.rewritten(data).unwrap();
    assert!(keeper.is_kept(None));
    disk.start(&[]);
}

#[test]
fn a_certificate_that_is_renewed_stays_sealed_and_a_workers_is_not() {
    let mut disk = Disk::new(1);
    let started = disk.start(&[1]);
    let credentials = Credentials::new(disk.identity.clone()).unwrap();
    disk.identity = identity(Role::Manager);
    let renewed = disk.identity.clone();
    started
        .keyring
        .replace(renewed, None, &credentials)
        .unwrap();
    assert!(!disk.shows_keys());
    disk.start(&[1]);

    // Demoted; and the daemon dies before it has forgotten the keys.
    let worker = identity(Role::Worker);
    started.keyring.replace(worker, None, &credentials).unwrap();
    let files = Files::new(disk.dir.path());
    let keyring = Keyring::open(&files).unwrap();
    assert!(keyring.is_locked());
    let stored = StoredIdentity::read(&files.certificates()).unwrap();
    keyring.identity(&stored).unwrap();
    // Promoted: it has new keys.
    disk.identity = identity(Role::Manager);
    let manager = disk.identity.clone();
    keyring
        .replace(manager, unlock_key(2).as_ref(), &credentials)
        .unwrap();
    disk.log = keyring.data_keys().unwrap().0;
    disk.start(&[2]);
    keyring.forget().unwrap();
    assert!(files.read(FILE).unwrap().is_none());
}

#[test]
fn the_file_of_before_there_was_autolock_is_read_and_a_damaged_one_is_named() {
    let read = |content: &str| {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        files.put(FILE, content.as_bytes()).unwrap();
        let keyring = Keyring::open(&files)?;
        keyring.data_keys()
    };
    let (data, former) = read(&format!("{}\n", "0a".repeat(32))).unwrap();
    assert_eq!((data, former), ([10; 32], Vec::new()));
    let made = {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let made = Keyring::open(&files).unwrap().data_keys().unwrap();
        assert_eq!(Keyring::open(&files).unwrap().data_keys().unwrap(), made);
        made
    };
    assert_ne!(made.0, [0; 32]);
    for content in [
        "",
        "0a0a",
        "{\"clear\":{\"data\":\"0a\"}}",
        "{\"sealed\":1}",
    ] {
        let error = format!("{:#}", read(content).unwrap_err());
        assert!(error.contains(&Path::new("node").join(FILE).display().to_string()));
        assert!(error.contains("is damaged"), "{error}");
    }
}
