//! What a container runs: Docker's rules for merging the spec with the image's
//! defaults.

use crate::request::ContainerRequest;
use crate::users::User;
use crate::{Error, Result};
use skep_agent_shim_api::{CapabilitySet, ProcessSpec, Seccomp};
use skep_types::ContainerSpec;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The process 1 that the request asks for.
pub(crate) fn build(
    request: &ContainerRequest,
    hostname: &str,
    user: &User,
) -> Result<ProcessSpec> {
    let spec = &request.spec;
    let image = &request.image.config;
    let args = arguments(&spec.command, &spec.args, &image.entrypoint, &image.cmd);
    if args.first().is_none_or(String::is_empty) {
        return Err(Error::Spec(
            "no command specified, neither by the service nor by its image".to_owned(),
        ));
    }
    let capabilities = capabilities(spec)?;
    let seccomp = if spec.privileged || spec.seccomp_unconfined {
        Seccomp::Unconfined
    } else {
        Seccomp::Default
    };
    Ok(ProcessSpec {
        args,
        env: environment(
            hostname,
            spec.tty,
            &image.env,
            &[spec.env.as_slice(), request.extra_env.as_slice()],
            &user.home,
        ),
        cwd: working_directory(&spec.dir, &image.working_dir)?,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        capabilities,
        no_new_privileges: spec.no_new_privileges,
        seccomp,
        oom_score_adj: spec.oom_score_adj,
        init: spec.init.unwrap_or_default(),
    })
}

/// All stands for what the node itself has: in a container or a virtual machine it
/// may lack some.
fn capabilities(spec: &ContainerSpec) -> Result<CapabilitySet> {
    let asked = match spec.privileged {
        true => CapabilitySet::all(),
        false => CapabilitySet::with_changes(&spec.cap_add, &spec.cap_drop)
            .map_err(|error| Error::Spec(error.to_string()))?,
    };
    if !spec.privileged
        && !spec
            .cap_add
            .iter()
            .any(|name| name.eq_ignore_ascii_case("ALL"))
    {
        return Ok(asked);
    }
    let ours = CapabilitySet::all_of_this_process()
        .map_err(Error::file("read the capabilities in", "/proc/self/status"))?;
    Ok(CapabilitySet(asked.0 & ours.0))
}

/// A command in the spec replaces entrypoint and command of the image; arguments
/// alone replace the command.
fn arguments(
    command: &[String],
    args: &[String],
    entrypoint: &[String],
    cmd: &[String],
) -> Vec<String> {
    let (first, rest) = match (command, args) {
        ([], []) => (entrypoint, cmd),
        ([], args) => (entrypoint, args),
        (command, args) => (command, args),
    };
    [first, rest].concat()
}

fn environment(
    hostname: &str,
    tty: bool,
    image: &[String],
    later: &[&[String]],
    home: &str,
) -> Vec<String> {
    let mut env: Vec<String> = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in image.iter().chain(later.iter().copied().flatten()) {
        let name = key(entry);
        let existing = env.iter().position(|known| key(known) == name);
        match (existing, entry.contains('=')) {
            (Some(at), true) => env[at] = entry.clone(),
            (None, true) => env.push(entry.clone()),
            // A name without a value takes the variable away.
            (Some(at), false) => drop(env.remove(at)),
            (None, false) => {}
        }
    }
    // Without it, libcontainer would look it up with code of the container.
    if !env.iter().any(|entry| key(entry) == "HOME") {
        env.push(format!("HOME={home}"));
    }
    if !env.iter().any(|entry| key(entry) == "PATH") {
        env.push(DEFAULT_PATH.to_owned());
    }
    env
}

fn working_directory(spec: &str, image: &str) -> Result<String> {
    let dir = [spec, image, "/"]
        .into_iter()
        .find(|dir| !dir.is_empty())
        .unwrap_or("/");
    if dir.starts_with('/') && !dir.split('/').any(|part| part == "..") {
        Ok(dir.to_owned())
    } else {
        Err(Error::Spec(format!(
            "working directory {dir:?} is not an absolute path"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_replaces_entrypoint_and_cmd_of_the_image() {
        let merge = |command, args| {
            arguments(
                &list(command),
                &list(args),
                &list("entry point"),
                &list("cmd"),
            )
            .join(" ")
        };
        assert_eq!(merge("", ""), "entry point cmd");
        assert_eq!(merge("", "a b"), "entry point a b");
        assert_eq!(merge("x", ""), "x");
        assert_eq!(merge("x", "a b"), "x a b");
    }

    #[test]
    fn later_environment_wins_and_a_bare_name_unsets() {
        let env = environment(
            "host",
            false,
            &list("A=1 B=2 PATH=/x"),
            &[&list("A=3 B"), &list("C=4")],
            "/root",
        );
        assert_eq!(env, list("PATH=/x HOSTNAME=host A=3 C=4 HOME=/root"));
    }
}
