//! What concerns all containers of the node at once.

use crate::runtime::{KILL_LIMIT, Meta, read_json};
use crate::{Error, Result, Runtime};
use skep_agent_shim_api::{Bundle, Cgroup};
use std::collections::BTreeSet;
use std::fs;
use std::io;

impl Runtime {
    /// The ids of the images whose layers the containers of this node use, ended
    /// ones included, until they are removed.
    ///
    /// # Errors
    /// A container of which that cannot be read; no layer may be removed then.
    pub fn images_in_use(&self) -> Result<BTreeSet<String>> {
        let dir = self.tasks_dir();
        let mut images = BTreeSet::new();
        for entry in fs::read_dir(&dir).map_err(Error::file("read", &dir))? {
            let entry = entry.map_err(Error::file("read", &dir))?;
            match read_json::<Meta>(&Bundle::new(entry.path()).meta()) {
                Ok(meta) => drop(images.insert(meta.image)),
                // It has no layers yet, or none any more.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }

    /// Removes the cgroup above those of the containers, unless there is still a
    /// process in it. For when the daemon stops or the node leaves, after the last
    /// create and remove; the next container makes it again.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn close(&self) -> Result<()> {
        self.blocking(|runtime| {
            let parent = &runtime.inner.config.cgroup_parent;
            let fail = || Error::file("remove the cgroup", parent);
            let cgroup = Cgroup::locate(parent).map_err(fail())?;
            if !cgroup.processes().is_empty() {
                return Ok(());
            }
            cgroup.remove(KILL_LIMIT).map_err(fail())
        })
        .await
    }
}
