//! What is refused of a stack as it is sent.

use skep_manager_store::validate::{STACK_MAX_BYTES, validate_stack};
use skep_types::*;
use std::sync::Arc;

fn labels() -> Labels {
    Labels::from([(STACK_LABEL.to_owned(), "shop".to_owned())])
}

fn data<Id>(name: &str, content: Content<Id>) -> StackData<Id> {
    StackData {
        key: name.to_owned(),
        name: name.to_owned(),
        labels: labels(),
        template: false,
        content,
    }
}

fn target() -> FileTarget {
    FileTarget {
        path: "file".to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o444,
    }
}

/// One of everything.
fn shop() -> StackSpec {
    let network = |name: &str, external| StackNetwork {
        key: name.to_owned(),
        name: name.to_owned(),
        external,
        spec: NetworkSpec {
            name: name.to_owned(),
            labels: if external { Labels::new() } else { labels() },
            ..NetworkSpec::default()
        },
    };
    StackSpec {
        name: "shop".to_owned(),
        networks: vec![network("front", false), network("theirs", true)],
        secrets: vec![
            data("key", Content::Given(vec![7; 9].into())),
            data("theirs", Content::External),
        ],
        configs: vec![data("page", Content::Given(vec![7; 9].into()))],
        volumes: vec![StackVolume {
            name: "data".to_owned(),
            ..StackVolume::default()
        }],
        services: vec![Arc::new(StackService {
            key: "web".to_owned(),
            spec: ServiceSpec {
                name: "shop_web".to_owned(),
                labels: labels(),
                ..ServiceSpec::default()
            },
            networks: vec![("front".to_owned(), vec![])],
            secrets: vec![("key".to_owned(), target())],
            configs: vec![("page".to_owned(), target())],
            ..StackService::default()
        })],
        source: Arc::default(),
    }
}

fn web(stack: &mut StackSpec) -> &mut StackService {
    Arc::make_mut(&mut stack.services[0])
}

#[test]
fn what_is_wrong_with_a_stack_is_named() {
    type Spoil = fn(&mut StackSpec);
    let cases: [(Spoil, &str); 15] = [
        (|s| s.name.clear(), "stack: name must be provided"),
        (|s| s.name = "a b".to_owned(), "DNS name component: 'a b'"),
        (|s| s.name = "_a".to_owned(), "DNS name component: '_a'"),
        (|s| s.name = "a".repeat(64), "63 characters or fewer"),
        (
            |s| s.networks[1].name = "FRONT".to_owned(),
            "stack shop: there is more than one network named 'FRONT'",
        ),
        (
            |s| s.networks[0].spec.name = "other".to_owned(),
            "network front is other in its spec",
        ),
        (
            |s| s.networks[0].spec.ingress = true,
            "network front is an ingress network",
        ),
        (
            |s| s.networks[0].spec.labels.clear(),
            "network front is to be part of it without the label \
             com.docker.stack.namespace=shop",
        ),
        (
            |s| drop(s.secrets[0].labels.insert(STACK_LABEL.into(), "b".into())),
            "secret key is to be part of it without the label",
        ),
        (
            |s| s.configs[0].content = Content::Kept(ConfigId::from_bits(1)),
            "config page comes without content",
        ),
        (
            |s| s.services.push(s.services[0].clone()),
            "more than one service named 'shop_web'",
        ),
        (
            |s| web(s).spec.labels.clear(),
            "service shop_web is to be part of it without the label",
        ),
        (
            |s| web(s).networks[0].0 = "back".to_owned(),
            "service shop_web refers to the network back, which the stack does not declare",
        ),
        (
            |s| web(s).secrets[0].0 = "page".to_owned(),
            "service shop_web refers to the secret page",
        ),
        (
            |s| {
                let task = Arc::make_mut(&mut web(s).spec.task);
                task.networks.push(NetworkAttachmentSpec {
                    network: NetworkId::from_bits(1),
                    aliases: Vec::new(),
                });
            },
            "service shop_web refers to something by id",
        ),
    ];
    assert_eq!(validate_stack(&shop(), 1000), Ok(()));
    for (spoil, expected) in cases {
        let mut stack = shop();
        spoil(&mut stack);
        let error = validate_stack(&stack, 1000).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn contents_do_not_count_into_the_size_of_a_stack() {
    let contents = 18;
    let most = STACK_MAX_BYTES + contents;
    assert_eq!(validate_stack(&shop(), most), Ok(()));
    let error = validate_stack(&shop(), most + 1).unwrap_err().to_string();
    assert!(
        error.starts_with("stack shop: it has 524289 bytes beside"),
        "{error}"
    );
}
