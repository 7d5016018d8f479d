//! The exit record: how a container ended, written so that it survives a crash
//! of everything else.

use crate::Bundle;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code; 128 + signal number where a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes for lack of memory.
    pub oom: bool,
    /// When, in nanoseconds since 1970.
    pub at_unix_nanos: u64,
    /// Why the program could not be started, where that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ExitRecord {
    /// When the container ended.
    pub fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.at_unix_nanos)
    }

    /// Writes the record durably: when this returns, the record is found after
    /// a power cut, or an older one, but never half of one.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, bundle: &Bundle) -> io::Result<()> {
        let target = bundle.exit();
        let aside = bundle.dir().join("exit.json.new");
        let mut file = File::create(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&aside, &target)?;
        File::open(bundle.dir())?.sync_all()
    }

    /// Reads the record; `None` while there is none.
    ///
    /// # Errors
    /// The file system's, and content that is no record.
    pub fn read(bundle: &Bundle) -> io::Result<Option<Self>> {
        match fs::read(bundle.exit()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Now, in nanoseconds since 1970.
pub fn unix_nanos_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_written() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let bundle = Bundle::new(dir.path());
        assert_eq!(ExitRecord::read(&bundle)?, None);
        let record = ExitRecord {
            code: 137,
            signal: Some(9),
            oom: true,
            at_unix_nanos: unix_nanos_now(),
            error: None,
        };
        record.write(&bundle)?;
        assert_eq!(ExitRecord::read(&bundle)?, Some(record));
        Ok(())
    }
}
