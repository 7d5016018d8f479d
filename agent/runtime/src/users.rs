//! Who a container runs as: `user[:group]` and further groups, looked up in the
//! image's own `/etc/passwd` and `/etc/group`.

use crate::jail::Jail;
use crate::{Error, Result};
use std::path::Path;

/// A user with everything a process needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_lines(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.trim().parse().ok()?;
        let gid = fields.next()?.trim().parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Passwd {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// Name, number and members of each group.
fn group_lines(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.trim().parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

/// Looks up `user` (`""` is root) and the names or numbers in `extra`.
pub(crate) fn resolve(root: &Jail, user: &str, extra: &[String]) -> Result<User> {
    let read = |path: &str| -> Result<String> {
        Ok(root
            .read(Path::new(path))
            .map_err(Error::file("read", path))?
            .unwrap_or_default())
    };
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    resolve_in(&passwd, &group, user, extra)
}

fn resolve_in(passwd: &str, group: &str, user: &str, extra: &[String]) -> Result<User> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group_name)) => (name, Some(group_name)),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = name.parse::<u32>().ok();
    // A name made of digits is a name first, as everywhere.
    let entry = passwd_lines(passwd)
        .find(|entry| entry.name == name)
        .or_else(|| passwd_lines(passwd).find(|entry| Some(entry.uid) == number));
    let (uid, default_gid) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => {
            return Err(Error::Spec(format!(
                "unable to find user {name}: no matching entries in passwd file"
            )));
        }
    };
    let find_group = |wanted: &str| {
        group_lines(group)
            .find(|(known, _, _)| *known == wanted)
            .map(|(_, gid, _)| gid)
            .or_else(|| wanted.parse().ok())
            .ok_or_else(|| {
                Error::Spec(format!(
                    "unable to find group {wanted}: no matching entries in group file"
                ))
            })
    };
    let gid = match group_name {
        Some(group_name) if !group_name.is_empty() => find_group(group_name)?,
        _ => default_gid,
    };
    // A process whose own group is not among them could drop it and get past
    // modes that deny that group.
    let mut groups = vec![gid];
    // Whoever names a group asked for that one only.
    if let (Some(entry), None) = (&entry, group_name) {
        groups.extend(
            group_lines(group)
                .filter(|(_, _, members)| members.split(',').any(|m| m.trim() == entry.name))
                .map(|(_, gid, _)| gid),
        );
    }
    for wanted in extra {
        groups.push(find_group(wanted)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let home = entry
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty())
        .unwrap_or("/")
        .to_owned();
    Ok(User {
        uid,
        gid,
        groups,
        home,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# note\nweb:x:33:33::/var/www:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nssl:x:104:web,db\nlog:x:4:web\n";

    fn user(text: &str) -> std::result::Result<User, String> {
        resolve_in(PASSWD, GROUP, text, &[]).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        assert_eq!(
            user("web"),
            Ok(User {
                uid: 33,
                gid: 33,
                groups: vec![4, 33, 104],
                home: "/var/www".to_owned(),
            })
        );
    }

    #[test]
    fn a_number_needs_no_entry() {
        assert_eq!(
            user("1000:2000"),
            Ok(User {
                uid: 1000,
                gid: 2000,
                groups: vec![2000],
                home: "/".to_owned(),
            })
        );
        assert_eq!(user("").map(|u| (u.uid, u.home)), Ok((0, "/root".into())));
        assert_eq!(user("33").map(|u| u.gid), Ok(33));
    }

    #[test]
    fn an_unknown_name_is_refused_by_name() {
        assert_eq!(
            user("nobody"),
            Err("unable to find user nobody: no matching entries in passwd file".to_owned())
        );
        assert_eq!(
            user("web:nogroup"),
            Err("unable to find group nogroup: no matching entries in group file".to_owned())
        );
    }
}
