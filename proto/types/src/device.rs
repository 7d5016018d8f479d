//! Devices of a node that a container may use.

use std::fmt;
use std::str::FromStr;

/// A device of the node, or all of a directory, put into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Absolute path on the node.
    pub source: String,
    /// Where it is in the container, below `/dev`.
    pub target: String,
    /// What may be done with it.
    pub access: Access,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Read from it.
    pub read: bool,
    /// Write to it.
    pub write: bool,
    /// Make further nodes for it.
    pub make: bool,
}

/// Devices that a container may use where it has or makes nodes for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Of which kind; both when `None`.
    pub kind: Option<DeviceKind>,
    /// Major number; all when `None`.
    pub major: Option<u32>,
    /// Minor number; all when `None`.
    pub minor: Option<u32>,
    /// What may be done with them.
    pub access: Access,
}

/// How a device is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// In blocks.
    Block,
    /// In characters.
    Character,
}

/// What is no device, or no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidDevice {
    /// Not the path of a device on the node.
    Source(String),
    /// Not a place for devices in the container.
    Target(String),
    /// Not some of `r`, `w` and `m`.
    Access(String),
    /// Not a rule.
    Rule(String),
}

impl fmt::Display for InvalidDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidDevice::Source(text) => {
                write!(f, "{text:?} is not the path of a device on the node")
            }
            InvalidDevice::Target(text) => {
                write!(
                    f,
                    "{text:?} is not below /dev, where containers have devices"
                )
            }
            InvalidDevice::Access(text) => write!(f, "{text:?} is not made of r, w and m"),
            InvalidDevice::Rule(text) => {
                write!(
                    f,
                    "{text:?} is not a rule for devices such as \"c 10:200 rwm\""
                )
            }
        }
    }
}

impl std::error::Error for InvalidDevice {}

impl Device {
    /// A device at `target`, or where it is on the node when that is empty.
    ///
    /// # Errors
    /// Paths that are none.
    pub fn new(source: &str, target: &str, access: Access) -> Result<Device, InvalidDevice> {
        let target = if target.is_empty() { source } else { target };
        let plain = |path: &str| {
            let parts = path.split('/').skip(1);
            path.starts_with('/') && parts.into_iter().all(|part| !matches!(part, "." | ".."))
        };
        if !plain(source) {
            return Err(InvalidDevice::Source(source.to_owned()));
        }
        let below = target.strip_prefix("/dev/");
        if !plain(target) || below.is_none_or(|below| below.trim_matches('/').is_empty()) {
            return Err(InvalidDevice::Target(target.to_owned()));
        }
        Ok(Device {
            source: source.to_owned(),
            target: target.to_owned(),
            access,
        })
    }
}

impl FromStr for Device {
    type Err = InvalidDevice;

    /// Reads `HOST[:CONTAINER][:PERMISSIONS]`, as the Docker CLI does.
    fn from_str(text: &str) -> Result<Device, InvalidDevice> {
        match *text.split(':').collect::<Vec<_>>() {
            [source] => Device::new(source, "", Access::ALL),
            [source, second] => match second.parse() {
                Ok(access) => Device::new(source, "", access),
                Err(_) => Device::new(source, second, Access::ALL),
            },
            [source, target, access] => Device::new(source, target, access.parse()?),
            _ => Err(InvalidDevice::Source(text.to_owned())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.target, self.access)
    }
}

impl Access {
    /// Everything.
    pub const ALL: Access = Access {
        read: true,
        write: true,
        make: true,
    };
}

impl FromStr for Access {
    type Err = InvalidDevice;

    /// Reads letters of `rwm`, each once.
    fn from_str(text: &str) -> Result<Access, InvalidDevice> {
        let wrong = || InvalidDevice::Access(text.to_owned());
        let mut access = Access {
            read: false,
            write: false,
            make: false,
        };
        for letter in text.chars() {
            let place = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.make,
                _ => return Err(wrong()),
            };
            if std::mem::replace(place, true) {
                return Err(wrong());
            }
        }
        if text.is_empty() {
            Err(wrong())
        } else {
            Ok(access)
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.make, "m")];
        let letters = letters.into_iter().filter(|(has, _)| *has);
        letters
            .map(|(_, letter)| letter)
            .try_for_each(|letter| f.write_str(letter))
    }
}

impl FromStr for DeviceRule {
    type Err = InvalidDevice;

    /// Reads `c 10:200 rwm`, with `a` for both kinds and `*` for all numbers.
    fn from_str(text: &str) -> Result<DeviceRule, InvalidDevice> {
        let wrong = || InvalidDevice::Rule(text.to_owned());
        let number = |text: &str| match text {
            "*" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| wrong()),
        };
        let [kind, numbers, access] = *text.split(' ').collect::<Vec<_>>() else {
            return Err(wrong());
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
        Ok(DeviceRule {
            kind: match kind {
                "a" => None,
                "b" => Some(DeviceKind::Block),
                "c" => Some(DeviceKind::Character),
                _ => return Err(wrong()),
            },
            major: number(major)?,
            minor: number(minor)?,
            access: access.parse()?,
        })
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            None => "a",
            Some(DeviceKind::Block) => "b",
            Some(DeviceKind::Character) => "c",
        };
        let (major, minor) = (number(self.major), number(self.minor));
        write!(f, "{kind} {major}:{minor} {}", self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> String {
        match text.parse::<Device>() {
            Ok(device) => device.to_string(),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn devices_are_written_as_for_docker() {
        assert_eq!(device("/dev/fuse"), "/dev/fuse:/dev/fuse:rwm");
        assert_eq!(device("/dev/fuse:r"), "/dev/fuse:/dev/fuse:r");
        assert_eq!(device("/dev/sda:/dev/xvdc"), "/dev/sda:/dev/xvdc:rwm");
        assert_eq!(device("/dev/sda:/dev/xvdc:mr"), "/dev/sda:/dev/xvdc:rm");
        let no_source = |text| format!("{text:?} is not the path of a device on the node");
        for text in [
            "",
            "fuse",
            "vendor.com/gpu=0",
            "/dev/../etc/shadow",
            "/a:/dev/b:r:w",
        ] {
            assert_eq!(device(text), no_source(text));
        }
        for target in ["/etc/passwd", "/dev", "/dev/", "/dev/../x", "x"] {
            let said = format!("{target:?} is not below /dev, where containers have devices");
            assert_eq!(device(&format!("/dev/sda:{target}")), said);
        }
        assert_eq!(
            device("/dev/a:/dev/b:rr"),
            "\"rr\" is not made of r, w and m"
        );
        assert_eq!(device("/dev/a:/dev/b:"), "\"\" is not made of r, w and m");
    }

    #[test]
    fn rules_are_written_as_for_the_kernel() {
        let rule = |text: &str| match text.parse::<DeviceRule>() {
            Ok(rule) => rule.to_string(),
            Err(invalid) => invalid.to_string(),
        };
        for good in ["c 1:3 r", "b 8:* rwm", "a *:* rwm"] {
            assert_eq!(rule(good), good);
        }
        assert_eq!(rule("c 1:3 mr"), "c 1:3 rm");
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c -1:3 r", "c 1:3  r"] {
            let said = format!("{bad:?} is not a rule for devices such as \"c 10:200 rwm\"");
            assert_eq!(rule(bad), said);
        }
        assert_eq!(rule("c 1:3 rx"), "\"rx\" is not made of r, w and m");
    }
}
