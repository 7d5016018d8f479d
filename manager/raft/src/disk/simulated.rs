//! A disk in memory that forgets, tears, fills up and fails.
//!
//! Owns the handles to it, the time that operations take, and the faults.
//! What is on the platters, and what of it is durable at which moment, is
//! `platters`.
//!
//! Calls return at once. Each is done at a moment of the runtime's clock,
//! after all those before it; [`Disk::settled`] waits for that moment, and a
//! [`Simulated::crash`] before it undoes what was not done yet. So a write
//! path written for blocking calls runs on one thread with a paused clock.

mod platters;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::{Disk, File};
use crate::runtime::Chance;
use platters::{Platters, SECTOR, Written};

/// What the next operation of its kind meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write fails with an I/O error; a part of it may be there, by sectors.
    WriteFails,
    /// A write takes fewer bytes than it was given, if it spans sectors.
    ShortWrite,
    /// A sync fails with an I/O error. What it should have made durable never
    /// becomes so, as on a kernel that drops what it could not write.
    SyncFails {
        /// How many syncs go well before.
        after: u32,
    },
    /// A sync takes this long.
    SlowSync(Duration),
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct Simulated(Arc<Mutex<State>>);

struct State {
    platters: Platters,
    chance: Chance,
    /// When all that was asked for is done.
    busy_until: Instant,
    write_takes: Duration,
    sync_takes: Duration,
    room: Option<u64>,
    faults: Vec<Fault>,
    /// Grows with every crash; handles from before are dead.
    life: u64,
    locked: Vec<PathBuf>,
}

/// The disk as seen by a machine between two crashes.
struct Life {
    disk: Simulated,
    life: u64,
}

struct Open {
    disk: Simulated,
    life: u64,
    file: u64,
}

/// A lock that is held.
struct Held {
    disk: Simulated,
    life: u64,
    path: PathBuf,
}

impl Simulated {
    /// An empty disk. What a crash keeps is chosen by the seed. A write takes
    /// 100 us and a sync 2 ms (the clock of the runtime counts milliseconds,
    /// and a crash should have a moment to strike in), and there is room
    /// without end. Needs a runtime, for its clock.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            platters: Platters::default(),
            chance: Chance::new(seed),
            busy_until: Instant::now(),
            write_takes: Duration::from_micros(100),
            sync_takes: Duration::from_millis(2),
            room: None,
            faults: Vec::new(),
            life: 0,
            locked: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The disk for a machine that starts now. It serves until the next
    /// crash; then all its calls fail.
    pub fn start(&self) -> Arc<dyn Disk> {
        Arc::new(Life {
            disk: self.clone(),
            life: self.state().life,
        })
    }

    /// The power fails. What was not synced is there, or not, or in part, by
    /// sectors of 512 bytes; names in the order in which they were made.
    pub fn crash(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let State {
            platters, chance, ..
        } = &mut *state;
        platters.crash(now, chance);
        state.busy_until = now;
        state.life += 1;
        state.locked.clear();
        state.faults.clear();
    }

    /// How long writes and syncs take from now on.
    pub fn set_latency(&self, write: Duration, sync: Duration) {
        let mut state = self.state();
        state.write_takes = write;
        state.sync_takes = sync;
    }

    /// How many bytes all files together may have from now on.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// Has the next operation of its kind meet this; several wait in line.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.state().platters.used()
    }

    /// All files and their lengths in bytes, in order.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().platters.files()
    }

    /// Changes one bit of a file for good; false if the file has no such
    /// byte.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) -> bool {
        self.state().platters.flip(path, byte, bit)
    }
}

impl State {
    /// When an operation begins that is asked for now.
    fn begin(&self) -> Instant {
        self.busy_until.max(Instant::now())
    }

    fn take(&mut self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.faults.iter().position(wanted)?;
        Some(self.faults.remove(at))
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        if self.life == life {
            Ok(())
        } else {
            Err(io::Error::other("the simulated machine lost its power"))
        }
    }

    fn write(&mut self, file: u64, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let begin = self.begin();
        self.busy_until = begin + self.write_takes;
        let mut length = bytes.len();
        let fault = self.take(|f| matches!(f, Fault::WriteFails | Fault::ShortWrite));
        if fault.is_some() {
            // As systems do, at the border of a sector.
            let end = offset + self.chance.below(length as u64);
            let cut = (end - end % SECTOR).saturating_sub(offset) as usize;
            if cut > 0 || fault == Some(Fault::WriteFails) {
                length = cut;
            }
        }
        let mut full = false;
        if let Some(room) = self.room {
            let grows = self.platters.growth(file, offset + length as u64);
            let over = (self.platters.used() + grows).saturating_sub(room);
            // Only what lengthens a file needs room.
            let cut = over.min(grows).min(length as u64);
            length -= cut as usize;
            full = cut > 0 && length == 0;
        }
        let written = Written::Bytes {
            offset,
            bytes: bytes.get(..length).unwrap_or_default().to_vec(),
        };
        self.platters.write(file, begin, written)?;
        if fault == Some(Fault::WriteFails) {
            return Err(eio());
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(length)
    }

    fn sync(&mut self) -> (Instant, bool) {
        let takes = match self.take(|f| matches!(f, Fault::SlowSync(_))) {
            Some(Fault::SlowSync(takes)) => takes,
            _ => self.sync_takes,
        };
        self.busy_until = self.begin() + takes;
        let fails = self.take(|f| *f == Fault::SyncFails { after: 0 }).is_some();
        for fault in &mut self.faults {
            if let Fault::SyncFails { after } = fault {
                *after = after.saturating_sub(1);
            }
        }
        (self.busy_until, fails)
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Life {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.alive(self.life).map(|()| state)
    }

    fn opened(&self, file: u64) -> Box<dyn File> {
        Box::new(Open {
            disk: self.disk.clone(),
            life: self.life,
            file,
        })
    }
}

impl Disk for Life {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.state()?.platters.make_dir(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let mut state = self.state()?;
        if state.locked.iter().any(|p| p == path) {
            return Ok(None);
        }
        state.locked.push(path.into());
        Ok(Some(Box::new(Held {
            disk: self.disk.clone(),
            life: self.life,
            path: path.into(),
        })))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state()?;
        let begin = state.begin();
        let file = state.platters.create(path, begin)?;
        Ok(self.opened(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.state()?.platters.find(path)?;
        Ok(self.opened(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state()?.platters.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let begin = state.begin();
        state.platters.rename(from, to, begin)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let begin = state.begin();
        state.platters.remove(path, begin)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.state()?.platters.list(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let begin = state.begin();
        let (done, fails) = state.sync();
        if fails {
            return Err(eio());
        }
        state.platters.sync_names(begin, done);
        Ok(())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep_until(self.disk.state().busy_until))
    }
}

impl File for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.alive(self.life)?;
        state.write(self.file, bytes, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive(self.life)?;
        let begin = state.begin();
        state
            .platters
            .write(self.file, begin, Written::Length(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive(self.life)?;
        let begin = state.begin();
        let (done, fails) = state.sync();
        if fails {
            state.platters.forget(self.file);
            return Err(eio());
        }
        state.platters.sync(self.file, begin, done);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locked.retain(|p| *p != self.path);
        }
    }
}
