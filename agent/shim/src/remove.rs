//! Cleaning up after a container: its processes, its cgroup, libcontainer's
//! state. Mounts and files are the runtime's.

use crate::create;
use crate::error::complain;
use skep_agent_shim_api::{Bundle, Cgroup};
use std::fs;
use std::time::Duration;

/// How long processes may take to die, and a cgroup to go.
const LIMIT: Duration = Duration::from_secs(5);

/// Removes what there is; says on standard error what could not be removed.
pub fn clean(bundle: &Bundle) {
    let check = |what: &str, result: std::io::Result<()>| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            complain(&format!("cannot {what}: {error}"));
        }
        _ => {}
    };
    if let Ok(request) = create::request(bundle) {
        match Cgroup::locate(&request.cgroup_path) {
            Ok(cgroup) => {
                check("kill the container", cgroup.kill_all(LIMIT));
                check("remove the cgroup", cgroup.remove(LIMIT));
            }
            Err(error) => check("find the cgroup", Err(error)),
        }
    }
    check("remove the state", fs::remove_dir_all(bundle.state()));
    check("remove the socket", fs::remove_file(bundle.socket()));
}
