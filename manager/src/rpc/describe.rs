//! How much a node may say of itself: every manager keeps it, and every
//! listing shows it.

use skep_manager_store::Snapshot;
use skep_manager_store::format::{VERSION, readers};
use skep_types::{Format, GenericResource, Generics, NodeDescription, NodeId, NodeSpec, Platform};
use tonic::Status;

/// Longest host name.
const HOSTNAME_MAX: usize = 253;
/// Longest address of a manager: a host name and a port.
const ADDRESS_MAX: usize = HOSTNAME_MAX + ":65535".len();
/// Longest name of a system, an architecture or a version.
const WORD_MAX: usize = Platform::PART_MAX;
/// Most labels of a daemon.
const LABELS_MAX: usize = NodeSpec::LABELS_MAX;
/// Longest key or value of one.
const LABEL_MAX: usize = NodeSpec::LABEL_MAX;

/// Whether this can be a host name; an unknown one is empty.
///
/// # Errors
/// When it is too long.
pub(crate) fn hostname(name: &str) -> Result<(), Status> {
    short("host name", name, HOSTNAME_MAX)
}

/// Whether this can be the address of a manager.
///
/// # Errors
/// When it is too long.
pub(crate) fn address(address: &str) -> Result<(), Status> {
    short("address", address, ADDRESS_MAX)
}

/// The newest format that a manager to be reads; `version` is its version of skep.
///
/// # Errors
/// When it could not read what the others write: it would stop at once.
pub(crate) fn format(written: Format, reads: u32, version: &str) -> Result<Format, Status> {
    let reads = Format(reads).max(Format::FIRST);
    if reads >= written {
        return Ok(reads);
    }
    let needed = readers(written);
    let version = &version[..version.floor_char_boundary(WORD_MAX)];
    Err(Status::failed_precondition(format!(
        "this node runs skep {version}, which reads formats up to {reads}, and the managers of \
         this swarm write format {written}: install {needed} on the node (they run {VERSION}), \
         then try again"
    )))
}

/// Whether all of this can be kept.
///
/// # Errors
/// The first part that is too large.
pub(crate) fn description(description: &NodeDescription) -> Result<(), Status> {
    // Destructured, so that a new part has to be thought of here.
    let NodeDescription {
        hostname: name,
        platform: Platform { os, architecture },
        cpus: _,
        memory: _,
        // What is kept beyond what there is leaves nothing, and harms nobody else.
        reserved_cpus: _,
        reserved_memory: _,
        generic,
        engine_version,
        engine_labels,
        wireguard_key: _,
        data_path: _,
        tls: _,
    } = description;
    hostname(name)?;
    short("operating system", os, WORD_MAX)?;
    short("architecture", architecture, WORD_MAX)?;
    short("version", engine_version, WORD_MAX)?;
    if engine_labels.len() > LABELS_MAX {
        return Err(Status::invalid_argument(format!(
            "the node has {} labels of its own: {LABELS_MAX} are allowed; start its daemon with \
             fewer --label",
            engine_labels.len()
        )));
    }
    for (key, value) in engine_labels {
        short("label", key, LABEL_MAX)?;
        short("label", value, LABEL_MAX)?;
    }
    generics(generic)
}

/// Kinds and names are looked at for every task, and go into containers' variables.
fn generics(generic: &Generics) -> Result<(), Status> {
    let refuse = |what: String| {
        Err(Status::invalid_argument(format!(
            "{what}; start the node's daemon with other --node-generic-resource"
        )))
    };
    if generic.len() > GenericResource::KINDS_MAX {
        return refuse(format!(
            "the node has {} kinds of generic resources: {} are allowed",
            generic.len(),
            GenericResource::KINDS_MAX
        ));
    }
    if let Some((one, other)) = GenericResource::alike(generic.keys()) {
        return refuse(format!(
            "the node has generic resources {one:?} and {other:?}, which no task could tell apart"
        ));
    }
    let mut names = 0;
    for (kind, has) in generic {
        short("kind of generic resource", kind, GenericResource::NAME_MAX)?;
        if !GenericResource::is_kind(kind) {
            return refuse(format!(
                "the node's {kind:?} is no kind of generic resource"
            ));
        }
        if let GenericResource::Named(of_kind) = has {
            names += of_kind.len();
            for name in of_kind {
                short("generic resource", name, GenericResource::NAME_MAX)?;
                if !GenericResource::is_name(name) {
                    return refuse(format!("the node's {kind} has no name in {name:?}"));
                }
            }
        }
    }
    match names > GenericResource::NAMES_MAX {
        true => refuse(format!(
            "the node has {names} generic resources with names: {} are allowed",
            GenericResource::NAMES_MAX
        )),
        false => Ok(()),
    }
}

/// Whether the key for WireGuard can be this node's: peers know a node by it.
///
/// # Errors
/// When it is another node's.
pub(crate) fn own_key(
    snapshot: &Snapshot,
    node: NodeId,
    description: &NodeDescription,
) -> Result<(), Status> {
    let key = description.wireguard_key;
    let known = |known: &NodeDescription| known.wireguard_key == key;
    // A node that keeps its key need not be looked for among all others.
    let is_kept = snapshot
        .node(node)
        .is_some_and(|node| known(&node.description));
    if key == [0; 32] || is_kept {
        return Ok(());
    }
    let mut others = snapshot.nodes().filter(|other| other.id != node);
    match others.find(|other| known(&other.description)) {
        None => Ok(()),
        Some(other) => Err(Status::already_exists(format!(
            "node {node} shows the WireGuard key of node {}, and no two may have the same: if \
             one machine is a copy of the other, run \"skep swarm leave --force\" on it and join \
             again; if that node is no more, remove it with \"skep node rm --force {}\"",
            other.id, other.id
        ))),
    }
}

fn short(what: &str, text: &str, max: usize) -> Result<(), Status> {
    if text.len() <= max {
        return Ok(());
    }
    let start = &text[..text.floor_char_boundary(32)];
    Err(Status::invalid_argument(format!(
        "the node's {what} \"{start}...\" has {} bytes: {max} are allowed",
        text.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(edit: impl FnOnce(&mut NodeDescription)) -> String {
        let mut node = NodeDescription {
            hostname: "n1".to_owned(),
            ..NodeDescription::default()
        };
        edit(&mut node);
        match description(&node) {
            Ok(()) => "fine".to_owned(),
            Err(refused) => refused.message().to_owned(),
        }
    }

    #[test]
    fn each_part_of_a_description_has_its_limit() {
        assert_eq!(said(|_| {}), "fine");
        assert_eq!(said(|node| node.hostname = "a".repeat(253)), "fine");
        assert_eq!(
            said(|node| node.hostname = "a".repeat(254)),
            format!(
                "the node's host name \"{}...\" has 254 bytes: 253 are allowed",
                "a".repeat(32)
            )
        );
        let os = said(|node| node.platform.os = "ü".repeat(40));
        assert!(os.contains("operating system"), "{os}");
        let long = said(|node| {
            node.engine_labels.insert("k".to_owned(), "v".repeat(1025));
        });
        assert!(long.contains("label"), "{long}");
        let many = said(|node| {
            node.engine_labels = (0..129).map(|n| (n.to_string(), String::new())).collect();
        });
        assert!(many.contains("129 labels"), "{many}");
        let count = GenericResource::Count(u64::MAX);
        let kind =
            |kind: &str| said(|node| node.generic.extend([(kind.to_owned(), count.clone())]));
        assert_eq!(kind("gpu"), "fine");
        assert!(kind("g=pu").contains("no kind"), "{}", kind("g=pu"));
        let twice = said(|node| {
            let kinds = ["gpu", "GPU"].map(|kind| (kind.to_owned(), count.clone()));
            node.generic.extend(kinds);
        });
        assert!(twice.contains("\"GPU\" and \"gpu\""), "{twice}");
        let long = kind(&"a".repeat(65));
        assert!(long.contains("65 bytes: 64 are allowed"), "{long}");
        let kinds = said(|node| {
            node.generic = (0..65).map(|n| (n.to_string(), count.clone())).collect();
        });
        assert!(kinds.contains("65 kinds"), "{kinds}");
        let named = |names: &[String]| {
            let names = GenericResource::Named(names.iter().cloned().collect());
            said(|node| node.generic.extend([("gpu".to_owned(), names)]))
        };
        let many: Vec<String> = (0..1024).map(|n| n.to_string()).collect();
        assert_eq!(named(&many), "fine");
        let more: Vec<String> = (0..1025).map(|n| n.to_string()).collect();
        assert!(named(&more).contains("1025 generic"), "{}", named(&more));
        let comma = named(&["a,b".to_owned()]);
        assert!(comma.contains("no name in"), "{comma}");
    }
}
