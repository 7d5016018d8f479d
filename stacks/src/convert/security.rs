//! What a container may do on its node beyond the usual, or may not.

use super::Maker;
use crate::codes;
use crate::model;
use crate::schema::nearest;
use crate::tree::Step;
use serde_yaml::Value;
use skep_types::{Access, ContainerSpec, Device, InvalidDevice};

/// Names of security options.
const OPTIONS: &[&str] = &[
    "apparmor",
    "label",
    "no-new-privileges",
    "seccomp",
    "systempaths",
];

impl Maker<'_> {
    /// Puts what the service asks for into its container.
    pub(super) fn security(
        &mut self,
        key: &str,
        service: &model::Service,
        container: &mut ContainerSpec,
    ) {
        container.privileged = service.privileged;
        for (index, value) in service.devices.iter().enumerate() {
            match device(value) {
                Ok(device) => container.devices.push(device),
                Err(invalid) => self.no_device(&item(key, "devices", index), &invalid),
            }
        }
        for (index, text) in service.device_cgroup_rules.iter().enumerate() {
            match text.parse() {
                Ok(rule) => container.device_rules.push(rule),
                Err(invalid) => self.no_device(&item(key, "device_cgroup_rules", index), &invalid),
            }
        }
        for (index, text) in service.security_opt.iter().enumerate() {
            self.option(&item(key, "security_opt", index), text, container);
        }
    }

    fn no_device(&mut self, path: &[Step<'_>], invalid: &InvalidDevice) {
        let message = invalid.to_string();
        match invalid {
            InvalidDevice::Source(_) => {
                let help = "write HOST, HOST:CONTAINER or HOST:CONTAINER:rwm, with absolute paths";
                self.error_help(codes::DEVICE, path, message, help);
            }
            InvalidDevice::Target(_) | InvalidDevice::Access(_) | InvalidDevice::Rule(_) => {
                self.error(codes::DEVICE, path, message);
            }
        }
    }

    fn option(&mut self, path: &[Step<'_>], text: &str, container: &mut ContainerSpec) {
        // The sign was a colon once.
        let (name, value) = match text.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let mut without_effect = |help: &str| {
            let message = format!("{text} has no effect");
            self.warn_help(codes::VALUE_WITHOUT_EFFECT, path, message, help);
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true")) => container.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => container.no_new_privileges = false,
            ("seccomp", Some("unconfined")) => container.seccomp_unconfined = true,
            ("seccomp", Some("builtin")) => container.seccomp_unconfined = false,
            ("seccomp", Some(_)) => {
                without_effect("profiles of your own are not supported: the default one applies");
            }
            ("systempaths", Some("unconfined")) => container.system_paths_unconfined = true,
            // So it is anyway.
            ("apparmor", Some("unconfined")) | ("label", Some("disable")) => {}
            ("apparmor" | "label", Some(_)) => {
                without_effect("containers have no AppArmor profile and no SELinux label");
            }
            _ => {
                let message = format!("{text:?} is not a security option");
                let help = match nearest(name, OPTIONS.iter().copied()) {
                    Some(meant) if meant != name => format!("did you mean {meant}?"),
                    _ => "options are no-new-privileges, seccomp=unconfined and \
                          systempaths=unconfined"
                        .to_owned(),
                };
                self.error_help(codes::WORD, path, message, help);
            }
        }
    }
}

fn item<'a>(key: &'a str, list: &'a str, index: usize) -> [Step<'a>; 4] {
    [
        Step::Key("services"),
        Step::Key(key),
        Step::Key(list),
        Step::Index(index),
    ]
}

/// The short form, or the long one.
fn device(value: &Value) -> Result<Device, InvalidDevice> {
    if let Some(text) = value.as_str() {
        return text.parse();
    }
    let part = |key| value.get(key).and_then(Value::as_str);
    let access = part("permissions").map_or(Ok(Access::ALL), str::parse)?;
    let [source, target] = ["source", "target"].map(|key| part(key).unwrap_or_default());
    Device::new(source, target, access)
}
