//! openraft's own suite over our storage, and what a crash or a bad disk may
//! leave behind.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use openraft::storage::RaftLogStorage;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::{StoreBuilder, Suite, blank_ent, log_id};
use openraft::{EntryPayload, RaftLogReader};
use tempfile::TempDir;

use super::*;
use crate::types::{Batch, Entry, StorageError, TypeConfig};

/// Remembers what it was given.
#[derive(Default)]
struct Recorder(Mutex<Vec<u8>>);

impl Machine for Recorder {
    fn apply(&self, _index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        self.0.lock().unwrap().extend_from_slice(entry);
        Ok(entry.to_vec())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), String> {
        *self.0.lock().unwrap() = snapshot.to_vec();
        Ok(())
    }
}

fn place(dir: &Path) -> Place {
    Place {
        disk: Arc::new(crate::disk::Real),
        dir: dir.into(),
        node: 1,
        data_key: [3; 32],
        old_keys: Vec::new(),
        existing: false,
        segment_bytes: 64 * 1024,
    }
}

fn open_in(dir: &Path) -> Result<(LogStore, StateMachine), OpenError> {
    open(place(dir), Arc::new(Recorder::default()))
}

struct Build;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = TempDir::new().unwrap();
        let (log, machine) = open_in(dir.path()).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openrafts_own_storage_suite_passes() {
    Suite::test_all(Build).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn close(log: &LogStore) {
    runtime().block_on(log.close());
}

fn entry(index: u64, bytes: usize) -> Entry {
    let mut entry: Entry = blank_ent::<TypeConfig>(1, 1, index);
    entry.payload = EntryPayload::Normal(Batch(Arc::new(vec![vec![index as u8; bytes]])));
    entry
}

/// Appends entries `from..to`, each with one flush.
fn append(log: &mut LogStore, from: u64, to: u64, bytes: usize) {
    runtime().block_on(async {
        for index in from..to {
            log.blocking_append([entry(index, bytes)]).await.unwrap();
        }
    });
}

fn indexes(log: &mut LogStore) -> Vec<u64> {
    let entries = runtime().block_on(log.try_get_log_entries(..)).unwrap();
    entries.iter().map(|e| e.log_id.index).collect()
}

fn logs(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.starts_with("log-") && name != "log-spare"
        })
        .collect();
    found.sort();
    found
}

/// The last byte that is not zero.
fn end_of(file: &[u8]) -> usize {
    file.iter().rposition(|b| *b != 0).unwrap()
}

#[test]
fn what_was_appended_voted_truncated_and_purged_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 20, 100);
    runtime().block_on(async {
        use openraft::RaftSnapshotBuilder;
        use openraft::storage::RaftStateMachine;
        log.save_vote(&openraft::Vote::new_committed(4, 2))
            .await
            .unwrap();
        log.truncate(log_id(1, 1, 15)).await.unwrap();
        let applied = log.try_get_log_entries(0..10).await.unwrap();
        machine.apply(applied).await.unwrap();
        machine
            .get_snapshot_builder()
            .await
            .build_snapshot()
            .await
            .unwrap();
        log.purge(log_id(1, 1, 4)).await.unwrap();
        log.save_committed(Some(log_id(1, 1, 12))).await.unwrap();
    });
    close(&log);
    let (mut log, machine) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), (5..15).collect::<Vec<_>>());
    runtime().block_on(async {
        assert_eq!(
            log.read_vote().await.unwrap(),
            Some(openraft::Vote::new_committed(4, 2))
        );
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 1, 12)));
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 1, 4)));
        assert_eq!(state.last_log_id, Some(log_id(1, 1, 14)));
    });
    assert_eq!(machine.last_applied(), Some(log_id(1, 1, 9)));
    assert_eq!(*machine.watch_applied().borrow(), 10);
    close(&log);
}

#[test]
fn the_log_goes_on_over_many_files_and_old_ones_are_removed() {
    let dir = TempDir::new().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 300, 1000);
    assert!(
        logs(dir.path()).len() > 4,
        "300 kB did not need more than 4 files of 64 kB"
    );
    runtime().block_on(async {
        use openraft::RaftSnapshotBuilder;
        use openraft::storage::RaftStateMachine;
        let applied = log.try_get_log_entries(..).await.unwrap();
        machine.apply(applied).await.unwrap();
        machine
            .get_snapshot_builder()
            .await
            .build_snapshot()
            .await
            .unwrap();
        log.purge(log_id(1, 1, 290)).await.unwrap();
    });
    close(&log);
    assert!(logs(dir.path()).len() <= 2);
    let (mut log, _) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), (291..300).collect::<Vec<_>>());
    append(&mut log, 300, 301, 10);
    close(&log);
}

#[test]
fn an_entry_larger_than_a_file_survives() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 2, 200_000);
    append(&mut log, 2, 4, 10);
    close(&log);
    let (mut log, _) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), [0, 1, 2, 3]);
    close(&log);
}

#[test]
fn a_write_cut_short_at_the_end_is_dropped() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 5, 3000);
    close(&log);
    let path = logs(dir.path()).pop().unwrap();
    let mut file = fs::read(&path).unwrap();
    let end = end_of(&file);
    // The end of the last record never reached the disk.
    file[end - 1500..].fill(0);
    fs::write(&path, file).unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), [0, 1, 2, 3]);
    append(&mut log, 4, 6, 100);
    close(&log);
    let (mut log, _) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), [0, 1, 2, 3, 4, 5]);
    close(&log);
}

/// Flips one bit and expects that opening names the file and a place at or
/// before the bit.
fn flip_and_expect_damage(dir: &Path, path: &Path, at: usize) {
    let original = fs::read(path).unwrap();
    let mut flipped = original.clone();
    flipped[at] ^= 4;
    fs::write(path, flipped).unwrap();
    match open_in(dir) {
        Err(OpenError::Damaged {
            path: named,
            offset,
            ..
        }) => {
            assert_eq!(named, path);
            assert!(
                offset as usize <= at,
                "bit at {at}, damage said to be at {offset}"
            );
        }
        Err(other) => panic!("bit at {at}: {other}"),
        Ok(_) => panic!("bit at {at}: opened as if nothing had happened"),
    }
    fs::write(path, original).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_the_log_refuses_to_open() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 100, 1500);
    close(&log);
    let files = logs(dir.path());
    assert!(files.len() >= 3);
    for path in &files {
        let end = end_of(&fs::read(path).unwrap());
        for at in [3, 50, 130, 150, end / 2, end - 20] {
            flip_and_expect_damage(dir.path(), path, at);
        }
    }
    let (mut log, _) = open_in(dir.path()).unwrap();
    assert_eq!(indexes(&mut log), (0..100).collect::<Vec<_>>());
    close(&log);
}

#[test]
fn records_lost_before_an_acknowledged_one_are_damage() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 10, 1500);
    close(&log);
    let path = logs(dir.path()).pop().unwrap();
    let mut file = fs::read(&path).unwrap();
    file[4096..8192].fill(0);
    fs::write(&path, file).unwrap();
    assert!(matches!(
        open_in(dir.path()),
        Err(OpenError::Damaged { .. })
    ));
}

#[test]
fn a_missing_log_file_is_damage() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 200, 1500);
    close(&log);
    let files = logs(dir.path());
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let aside = file.with_extension("aside");
        fs::rename(&file, &aside).unwrap();
        match open_in(dir.path()) {
            Err(OpenError::Damaged { .. }) => {}
            _ => panic!("a log without {} was opened", file.display()),
        }
        fs::rename(&aside, &file).unwrap();
    }
    open_in(dir.path()).unwrap();
}

#[test]
fn a_flipped_bit_in_the_snapshot_refuses_to_open() {
    let dir = TempDir::new().unwrap();
    let (mut log, mut machine) = open_in(dir.path()).unwrap();
    append(&mut log, 0, 20, 1000);
    runtime().block_on(async {
        use openraft::RaftSnapshotBuilder;
        use openraft::storage::RaftStateMachine;
        let applied = log.try_get_log_entries(..).await.unwrap();
        machine.apply(applied).await.unwrap();
        machine
            .get_snapshot_builder()
            .await
            .build_snapshot()
            .await
            .unwrap();
        log.purge(log_id(1, 1, 19)).await.unwrap();
    });
    close(&log);
    let path = dir.path().join("snapshot-0000000000000001");
    let length = fs::metadata(&path).unwrap().len() as usize;
    for at in [0, 70, 140, 1000, length / 2, length - 20] {
        flip_and_expect_damage(dir.path(), &path, at);
    }
    fs::remove_file(&path).unwrap();
    match open_in(dir.path()) {
        Err(OpenError::Damaged { what, .. }) => assert!(what.contains("is missing"), "{what}"),
        _ => panic!("a purged log without its snapshot was opened"),
    }
}

#[test]
fn another_key_another_member_or_a_second_process_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open_in(dir.path()).unwrap();
    assert!(matches!(open_in(dir.path()), Err(OpenError::InUse { .. })));
    close(&log);
    let mut other = place(dir.path());
    other.data_key = [4; 32];
    assert!(matches!(
        open(other, Arc::new(Recorder::default())),
        Err(OpenError::WrongKey { .. })
    ));
    let mut other = place(dir.path());
    other.node = 2;
    assert!(matches!(
        open(other, Arc::new(Recorder::default())),
        Err(OpenError::OtherMember {
            found: 1,
            wanted: 2,
            ..
        })
    ));
}

#[test]
fn the_log_on_disk_does_not_show_what_was_proposed() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open_in(dir.path()).unwrap();
    let secret = b"correct horse battery staple";
    let mut secret_entry = entry(0, 0);
    secret_entry.payload = EntryPayload::Normal(Batch(Arc::new(vec![secret.to_vec()])));
    runtime()
        .block_on(log.blocking_append([secret_entry]))
        .unwrap();
    close(&log);
    for path in logs(dir.path()) {
        let file = fs::read(path).unwrap();
        assert!(!file.windows(secret.len()).any(|w| w == secret));
    }
}
