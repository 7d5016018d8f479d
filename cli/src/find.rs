//! Finding the object a user means: by id, by name, by the beginning of its id.

use anyhow::Result;
use skep_types::{NodeId, STACK_LABEL, Service};

/// Nothing, or too much, goes by what the user wrote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing does.
    #[error("no such {kind}: {key}")]
    NotFound {
        /// Kind of object.
        kind: &'static str,
        /// What the user wrote.
        key: String,
    },
    /// Several do.
    #[error(
        "{kind} {key} is ambiguous ({} matches found): {}",
        .candidates.len(),
        .candidates.join(", ")
    )]
    Ambiguous {
        /// Kind of object.
        kind: &'static str,
        /// What the user wrote.
        key: String,
        /// Names and ids of what was found.
        candidates: Vec<String>,
    },
}

/// The object that `key` means. `name` gives an object's id and name.
///
/// # Errors
/// [`FindError`].
pub fn find<'a, T>(
    kind: &'static str,
    key: &str,
    items: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&T) -> (String, &str),
) -> Result<&'a T, FindError> {
    find_with(kind, key, items, name, |_| false)
}

/// As [`find`]; `also` says whether an object goes by `key` in a further way.
fn find_with<'a, T>(
    kind: &'static str,
    key: &str,
    items: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&T) -> (String, &str),
    also: impl Fn(&T) -> bool,
) -> Result<&'a T, FindError> {
    let items: Vec<&T> = items.into_iter().collect();
    if let Some(found) = items.iter().find(|item| name(item).0 == key) {
        return Ok(found);
    }
    let named: Vec<&T> = items
        .iter()
        .copied()
        .filter(|item| name(item).1.eq_ignore_ascii_case(key))
        .collect();
    let found = if named.is_empty() {
        items
            .into_iter()
            .filter(|item| !key.is_empty() && (name(item).0.starts_with(key) || also(item)))
            .collect()
    } else {
        named
    };
    match found.as_slice() {
        [] => Err(FindError::NotFound {
            kind,
            key: key.to_owned(),
        }),
        [one] => Ok(one),
        several => Err(FindError::Ambiguous {
            kind,
            key: key.to_owned(),
            candidates: several
                .iter()
                .map(|item| {
                    let (id, name) = name(item);
                    format!("{name} ({})", id.get(..12).unwrap_or(&id))
                })
                .collect(),
        }),
    }
}

/// The service that `key` means. A service of a stack also goes by its name in
/// the stack file, where only one does.
///
/// # Errors
/// [`FindError`].
pub fn service<'a>(services: &'a [Service], key: &str) -> Result<&'a Service, FindError> {
    let name = |service: &Service| service.id.to_string();
    find_with(
        "service",
        key,
        services,
        |service| (name(service), &service.spec.name),
        |service| {
            service
                .spec
                .labels
                .get(STACK_LABEL)
                .and_then(|stack| service.spec.name.strip_prefix(stack.as_str()))
                .and_then(|rest| rest.strip_prefix('_'))
                == Some(key)
        },
    )
}

/// The node that `key` means; `self` is the one asked.
///
/// # Errors
/// [`FindError`], also for `self` on a node that is in no swarm.
pub fn node<'a>(
    nodes: impl IntoIterator<Item = &'a crate::view::NodeView>,
    key: &str,
    this: Option<NodeId>,
) -> Result<&'a crate::view::NodeView, FindError> {
    let own = this.filter(|_| key == "self").map(|id| id.to_string());
    find("node", own.as_deref().unwrap_or(key), nodes, |view| {
        (view.node.id.to_string(), &view.node.description.hostname)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::{Endpoint, Meta, Revision, ServiceId, ServiceSpec, Timestamp, Version};

    fn named(number: u128, name: &str, stack: Option<&str>) -> Service {
        Service {
            id: ServiceId::from_bits(number << 100),
            meta: Meta::default(),
            spec: ServiceSpec {
                name: name.to_owned(),
                labels: stack
                    .map(|stack| (STACK_LABEL.to_owned(), stack.to_owned()))
                    .into_iter()
                    .collect(),
                ..ServiceSpec::default()
            },
            spec_version: Version(1),
            revision: Revision::first(Timestamp(0)),
            past: Vec::new(),
            endpoint: Endpoint::default(),
            update_status: None,
            rebalance_since: None,
            waits_for: String::new(),
            job: Default::default(),
        }
    }

    fn some() -> Vec<Service> {
        vec![
            named(1, "web", None),
            named(2, "shop_web", Some("shop")),
            named(3, "shop_db", Some("shop")),
            named(4, "blog_db", Some("blog")),
            named(5, "shop_cart", Some("shop")),
            named(6, "loose_end", None),
        ]
    }

    #[test]
    fn a_name_comes_before_everything_shorter() {
        let services = some();
        let id = services[4].id.to_string();
        for (key, name) in [
            ("web", "web"),
            ("WEB", "web"),
            ("shop_web", "shop_web"),
            ("cart", "shop_cart"),
            (id.as_str(), "shop_cart"),
            (&id[..9], "shop_cart"),
        ] {
            let found = service(&services, key).map(|s| s.spec.name.as_str());
            assert_eq!(found, Ok(name), "{key}");
        }
    }

    #[test]
    fn what_could_be_two_is_refused_with_both_names() {
        let services = some();
        let text = service(&services, "db").unwrap_err().to_string();
        assert!(text.starts_with("service db is ambiguous (2 matches found): shop_db ("));
        assert!(text.contains(", blog_db ("));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let services = some();
        for key in ["end", "none", ""] {
            let text = service(&services, key).unwrap_err().to_string();
            assert_eq!(text, format!("no such service: {key}"));
        }
    }
}
