//! `--mount`: `type=volume,source=data,target=/data,readonly`.

use super::values::{bytes, key_value};
use super::{fields, switch};
use skep_types::{Labels, Mount, MountKind};

/// One mount.
///
/// # Errors
/// Says what is wrong with it.
pub fn mount(text: &str) -> Result<Mount, String> {
    let mut kind = String::from("volume");
    let mut target = String::new();
    let mut source = String::new();
    let mut read_only = false;
    let mut propagation = None;
    let mut no_copy = None;
    let mut driver = None;
    let (mut options, mut labels) = (Labels::new(), Labels::new());
    let (mut size, mut mode) = (None, None);
    for (key, value) in fields(text)? {
        let given = || {
            value
                .clone()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{key} has no value"))
        };
        match key.as_str() {
            "type" => kind = given()?.to_ascii_lowercase(),
            "source" | "src" => source = value.clone().unwrap_or_default(),
            "target" | "dst" | "destination" => target = given()?,
            "readonly" | "ro" => read_only = switch(&key, value.as_deref())?,
            "bind-propagation" => propagation = Some(given()?),
            "volume-nocopy" => no_copy = Some(switch(&key, value.as_deref())?),
            "volume-driver" => driver = Some(given()?),
            "volume-opt" => options.extend([key_value(&given()?)?]),
            "volume-label" => labels.extend([key_value(&given()?)?]),
            "tmpfs-size" => size = Some(bytes(&given()?)?),
            "tmpfs-mode" => {
                let text = given()?;
                let bits = u32::from_str_radix(&text, 8);
                mode = Some(bits.map_err(|_| format!("{text:?} is not a mode such as 1777"))?);
            }
            other => return Err(format!("{other:?} is not a key of a mount")),
        }
    }
    if !target.starts_with('/') {
        return Err(format!("{text:?} needs a target that is an absolute path"));
    }
    let only = |given: bool, key: &str, of: &str| match given && kind != of {
        true => Err(format!(
            "{key} is for mounts of type {of}, this one is of type {kind}"
        )),
        false => Ok(()),
    };
    only(propagation.is_some(), "bind-propagation", "bind")?;
    only(no_copy.is_some(), "volume-nocopy", "volume")?;
    only(driver.is_some(), "volume-driver", "volume")?;
    only(!options.is_empty(), "volume-opt", "volume")?;
    only(!labels.is_empty(), "volume-label", "volume")?;
    only(size.is_some(), "tmpfs-size", "tmpfs")?;
    only(mode.is_some(), "tmpfs-mode", "tmpfs")?;
    let kind = match kind.as_str() {
        "bind" if source.starts_with('/') => MountKind::Bind {
            source,
            propagation: propagation.unwrap_or_default(),
        },
        "bind" => return Err(format!("{text:?} needs a source that is an absolute path")),
        "volume" if source.starts_with('/') => {
            return Err(format!("{source:?} is a path: mount it with type=bind"));
        }
        "volume" => MountKind::Volume {
            name: source,
            no_copy: no_copy.unwrap_or_default(),
            driver: driver.unwrap_or_default(),
            options,
            labels,
        },
        "tmpfs" if source.is_empty() => MountKind::Tmpfs { size, mode },
        "tmpfs" => return Err("a mount of type tmpfs has no source".to_owned()),
        other => {
            return Err(format!(
                "{other:?} is not a type of mount: bind, volume, tmpfs"
            ));
        }
    };
    Ok(Mount {
        target,
        read_only,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::ByteCount;

    #[test]
    fn each_type_has_its_keys() {
        let volume = mount("source=data,target=/data,readonly,volume-opt=type=nfs,volume-nocopy");
        let options = [("type".to_owned(), "nfs".to_owned())].into();
        let kind = MountKind::Volume {
            name: "data".to_owned(),
            no_copy: true,
            driver: String::new(),
            options,
            labels: Labels::new(),
        };
        let expected = Mount {
            target: "/data".to_owned(),
            read_only: true,
            kind,
        };
        assert_eq!(volume, Ok(expected));
        let bind = mount("type=bind,src=/a,dst=/b,ro=false").map(|m| (m.read_only, m.kind));
        let kind = MountKind::Bind {
            source: "/a".to_owned(),
            propagation: String::new(),
        };
        assert_eq!(bind, Ok((false, kind)));
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").map(|m| m.kind);
        let kind = MountKind::Tmpfs {
            size: Some(ByteCount(1 << 20)),
            mode: Some(0o700),
        };
        assert_eq!(tmpfs, Ok(kind));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in [
            "",
            "source=data",
            "source=data,target=data",
            "source=/a,target=/b",
            "type=bind,source=a,target=/b",
            "type=tmpfs,source=a,target=/b",
            "type=npipe,target=/b",
            "target=/b,tmpfs-size=1m",
            "target=/b,color=red",
            "target=/b,readonly=maybe",
            "type=tmpfs,target=/b,tmpfs-mode=9",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
