//! A stack.

use super::{labels, meta, network_spec, service_spec};
use skep_types::*;
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn stack_spec() -> StackSpec {
    let file = FileTarget {
        path: "key".to_owned(),
        uid: 1,
        gid: 2,
        mode: 0o440,
    };
    StackSpec {
        name: "shop".to_owned(),
        networks: vec![StackNetwork {
            key: "front".to_owned(),
            name: "shop_front".to_owned(),
            external: true,
            spec: network_spec(),
        }],
        secrets: vec![
            stack_data(Content::Kept(SecretId::from_bits(21))),
            stack_data(Content::External),
        ],
        configs: vec![
            stack_data(Content::Kept(ConfigId::from_bits(22))),
            stack_data(Content::Given(b"text".as_slice().into())),
        ],
        volumes: vec![StackVolume {
            key: "data".to_owned(),
            name: "shop_data".to_owned(),
            external: true,
            driver: "local".to_owned(),
            options: labels(),
            labels: labels(),
        }],
        services: vec![Arc::new(StackService {
            key: "web".to_owned(),
            spec: service_spec(),
            replicas_given: true,
            networks: vec![("shop_front".to_owned(), vec!["w".to_owned()])],
            secrets: vec![("shop_key".to_owned(), file.clone())],
            configs: vec![("shop_page".to_owned(), file)],
        })],
        source: "services: {}\n".into(),
    }
}

fn stack_data<Id>(content: Content<Id>) -> StackData<Id> {
    StackData {
        key: "key".to_owned(),
        name: "shop_key".to_owned(),
        labels: labels(),
        template: true,
        content,
    }
}

pub fn stack() -> Stack {
    let past = StackSpec {
        source: "services: {a: {}}\n".into(),
        ..stack_spec()
    };
    Stack {
        id: StackId::from_bits(41),
        meta: meta(),
        revision: Revision {
            number: 3,
            made_at: Timestamp(4),
            returns_to: Some(1),
            outcome: Some(RevisionOutcome::Failed),
        },
        spec: Arc::new(stack_spec()),
        past: vec![PastStack {
            revision: Revision {
                number: 2,
                made_at: Timestamp(3),
                returns_to: None,
                outcome: Some(RevisionOutcome::Superseded),
            },
            spec: Arc::new(past),
        }],
        services: BTreeMap::from([(ServiceId::from_bits(1), 8)]),
        leaving: vec![NetworkId::from_bits(31)],
    }
}
