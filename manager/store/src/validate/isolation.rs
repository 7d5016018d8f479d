//! Checks of what a container shares with its node.

use super::Invalid;
use skep_types::ContainerSpec;

pub(super) fn check(container: &ContainerSpec) -> Result<(), Invalid> {
    let refuse = |what: String| Err(Invalid::Spec(format!("ContainerSpec: {what}")));
    if container.host_uts && !container.hostname.is_empty() {
        let what = "a Hostname does not go with the UTS namespace of the node";
        return refuse(what.to_owned());
    }
    for name in container.sysctls.keys() {
        if !container.owns_sysctl(name) {
            return refuse(format!(
                "the sysctl {name} is a setting of the node, not of the container; set it on the \
                 nodes"
            ));
        }
    }
    Ok(())
}
