//! What templates say, and what is said of those that say nothing.

use super::*;
use crate::container::{ContainerSpec, Mount, MountKind};
use crate::meta::{Meta, Version};
use crate::restart::Restarts;
use crate::task::{Cause, Slot, TaskState, TaskStatus};
use std::sync::Arc;

struct Beside;

impl Files for Beside {
    fn secret(&self, target: &str) -> Option<Arc<[u8]>> {
        (target == "key").then(|| Arc::from(*b"s3cret"))
    }
    fn config(&self, target: &str) -> Option<Arc<[u8]>> {
        (target == "/page").then(|| Arc::from(*b"<b>"))
    }
    fn env(&self, name: &str) -> Option<String> {
        (name == "MODE").then(|| "fast".to_owned())
    }
}

fn task(slot: u32) -> Task {
    Task {
        id: TaskId::from_bits(3),
        meta: Meta::default(),
        service: ServiceId::from_bits(2),
        service_name: "web".into(),
        slot: Slot(slot),
        node: Some(NodeId::from_bits(1)),
        spec: Arc::default(),
        spec_version: Version(1),
        desired: TaskState::Running,
        status: TaskStatus::default(),
        attachments: Vec::new(),
        cause: Cause::default(),
        stop_cause: None,
        restarts: Restarts::default(),
        start_at: None,
        run: 0,
        generic: Default::default(),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// What a template gives in the second task of the service web on the node alfa, within
/// 100 bytes.
fn filled(text: &str, place: Place) -> Result<String, String> {
    let (task, service, node) = (
        task(2),
        pairs(&[("a.b", "dots"), ("tier", "front")]),
        pairs(&[("zone", "z1")]),
    );
    let node = NodeContext {
        id: NodeId::from_bits(1),
        hostname: "alfa",
        os: "linux",
        architecture: "x86_64",
        labels: Some(&node),
    };
    let context = Context::of(&task, &service, node);
    let template = Template::parse(text, place).map_err(|error| error.to_string())?;
    let bytes = template.render(&context, &Beside, 100);
    let bytes = bytes.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn every_field_is_filled_in() {
    let (node, service, id) = (
        NodeId::from_bits(1),
        ServiceId::from_bits(2),
        TaskId::from_bits(3),
    );
    for (text, says) in [
        ("no template }}", "no template }}"),
        ("{{.Service.ID}}", &service.to_string()),
        ("{{ .Service.Name }}-{{$.Task.Slot}}", "web-2"),
        ("{{.Service.Labels.tier}}", "front"),
        ("{{index .Service.Labels \"a.b\"}}", "dots"),
        ("<{{index .Service.Labels `none`}}>", "<>"),
        ("{{.Service.Labels}}", "map[a.b:dots tier:front]"),
        ("{{.Node.ID}}", &node.to_string()),
        ("{{.Node.Hostname}}", "alfa"),
        (
            "{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}",
            "linux/x86_64",
        ),
        ("{{.Node.Labels.zone}}", "z1"),
        ("{{.Task.ID}}", &id.to_string()),
        ("{{.Task.Name}}", &format!("web.2.{id}")),
        ("{{join \"-\" .Service.Name .Task.Slot}}", "web-2"),
        (
            "{{printf \"%s/%q%%%d\" .Service.Name .Task.Slot (len .Node.Hostname)}}",
            "web/\"2\"%4",
        ),
        ("{{.Task.Slot | join \"-\" \"a\" | print \"<\"}}", "<a-2"),
        (
            "{{if eq .Task.Slot \"1\" \"2\"}}early{{else}}late{{end}}",
            "early",
        ),
        (
            "{{if ne .Task.Slot \"2\"}}a{{else if not true}}b{{else}}c{{end}}",
            "c",
        ),
        (
            "{{if and .Node.Labels (or false .Task.Slot)}}a{{if false}}b{{end}}c{{end}}",
            "ac",
        ),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("a {{- .Task.Slot -}} b", "a2b"),
        ("{{\"{{.x}}\"}} {{`\"`}} {{\"\\\"\\n\"}}", "{{.x}} \" \"\n"),
    ] {
        assert_eq!(filled(text, Place::Spec).as_deref(), Ok(says), "{text}");
    }
    for (text, says) in [
        ("{{secret \"key\"}} {{config \"/page\"}}", "s3cret <b>"),
        ("{{env \"MODE\"}}{{env \"NONE\"}}", "fast"),
    ] {
        assert_eq!(filled(text, Place::Content).as_deref(), Ok(says), "{text}");
    }
}

#[test]
fn a_global_services_slot_is_its_node() {
    let (task, labels) = (task(0), Labels::new());
    let mut node = Context::before("web", &labels).node;
    node.id = NodeId::from_bits(9);
    let context = Context::of(&task, &labels, node);
    assert_eq!(context.task_slot, NodeId::from_bits(9).to_string());
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, says) in [
        (
            "ab{{.Node.Host}}",
            "column 5: there is no field .Node.Host; there are .Node.ID .Node.Hostname",
        ),
        ("{{.Nod}}", "there are .Service .Node .Task"),
        ("{{.}}", "column 3: there is no field ."),
        (
            "ä\nbß{{.Task}}",
            "line 2, column 5: there is no field .Task; there are .Task.ID",
        ),
        (
            "{{.Service.Labels.a.b}}",
            "write index .Service.Labels \"a.b\"",
        ),
        (
            "{{.Service.Labels.none}}",
            "column 3: service web has no label none",
        ),
        (
            "{{.Node.Labels.none}}",
            "column 3: node alfa has no label none",
        ),
        (
            "{{nope .Task.ID}}",
            "column 3: there is no function nope; there are index join",
        ),
        (
            "{{secret \"key\"}}",
            "secret is only for the content of secrets and configs",
        ),
        (
            "{{range .Service.Labels}}{{end}}",
            "{{range}} is not supported",
        ),
        ("{{.Task.ID", "column 1: {{ has no }}"),
        ("{{", "column 1: {{ has no }}"),
        ("{{}}", "column 3: a value is missing"),
        ("{{print | }}", "a value is missing"),
        ("{{.Task.ID | .Task.ID}}", "only functions take"),
        ("{{(.Task.ID}}", "( without )"),
        ("{{.Task.ID)}}", ") without ("),
        ("{{if true}}", "column 1: {{if}} without {{end}}"),
        ("{{end}}", "{{end}} without {{if}}"),
        ("{{else}}", "{{else}} without {{if}}"),
        ("{{if true}}{{else}}{{else}}{{end}}", "a second {{else}}"),
        ("{{\"a", "the text has no end"),
        ("{{`a", "the text has no end"),
        ("{{\"\\x\"}}", "column 4: there are the escapes"),
        ("{{/* a", "the comment has no end"),
        ("{{index .Node.ID \"a\"}}", "index takes labels"),
        ("{{index .Node.Labels}}", "index takes 2 arguments, not 1"),
        ("{{print print}}", "print is not a value"),
        ("{{99999999999999999999}}", "is not a number"),
        ("{{eq 1 \"1\"}}", "only values of one kind"),
        ("{{printf \"%s\"}}", "printf has fewer values"),
        ("{{printf \"%x\" 1}}", "printf knows"),
        ("{{.Task.ID \"a\"}}", "unexpected '\"'"),
        ("{{$x}}", "unexpected '$'"),
        ("{{.Task.ID:}}", "unexpected ':'"),
    ] {
        let said = filled(text, Place::Spec).expect_err(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn no_secret_is_told_in_an_error() {
    for text in [
        "{{secret (secret \"key\")}}",
        "{{config (secret \"key\")}}",
        "{{len (eq (secret \"key\") \"a\")}}",
        "{{printf (secret \"key\") 1}}",
        "{{index (secret \"key\") \"a\"}}",
    ] {
        let said = filled(text, Place::Content).expect_err(text);
        assert!(!said.contains("s3cret"), "{text}: {said}");
    }
}

#[test]
fn results_and_depth_are_bounded() {
    let long = format!("{}{}", "x".repeat(99), "{{.Service.Name}}");
    let join = format!("{{{{len (join \"\" {})}}}}", ".Service.Labels ".repeat(100));
    let groups = format!("{{{{{}1{}}}}}", "(".repeat(40), ")".repeat(40));
    let ifs = "{{if true}}".repeat(40) + &"{{end}}".repeat(40);
    let quoted = format!("{{{{print (printf \"%q\" \"{}\")}}}}", "x".repeat(90));
    for (text, says) in [
        (long, "the result gets longer than 100 bytes"),
        (join, "the result gets longer than 100 bytes"),
        (groups, "more than 32 groups"),
        (ifs, "more than 32 conditions"),
        (quoted, "the result gets longer than 100 bytes"),
    ] {
        let said = filled(&text, Place::Spec).unwrap_err();
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn nothing_that_is_cut_off_or_joined_anyhow_panics() {
    let all = "a {{- /* c */ -}} {{if and .Node.Labels (or `a` \"\\n\")}}{{$.Task.Slot | join \"-\" -1}}\
               {{else if eq 1 2}}ß{{else}}{{printf \"%q%d%%\" .Service.Name 3}}{{end}}{{secret \"key\"}}";
    let cuts: Vec<usize> = (0..=all.len())
        .filter(|at| all.is_char_boundary(*at))
        .collect();
    for from in &cuts {
        for to in cuts.iter().filter(|to| *to >= from) {
            drop(filled(&all[*from..*to], Place::Content));
            drop(filled(
                &format!("{}{}", &all[..*from], &all[*to..]),
                Place::Content,
            ));
        }
    }
}

/// Every place of a spec that may be a template, one at a time.
fn places() -> Vec<(ContainerSpec, &'static str)> {
    let text = || "/{{.Nope}}".to_owned();
    let volume = |name: String, labels| MountKind::Volume {
        name,
        labels,
        no_copy: false,
        driver: String::new(),
        options: Labels::new(),
    };
    let mount = |target: &str, kind| ContainerSpec {
        mounts: vec![Mount {
            target: target.to_owned(),
            read_only: false,
            kind,
        }],
        ..ContainerSpec::default()
    };
    let bind = MountKind::Bind {
        source: text(),
        propagation: String::new(),
    };
    let tmpfs = MountKind::Tmpfs {
        size: None,
        mode: None,
    };
    let hostname = ContainerSpec {
        hostname: text(),
        ..ContainerSpec::default()
    };
    let env = ContainerSpec {
        env: vec!["A".to_owned(), "B=/{{.Nope}}".to_owned()],
        ..ContainerSpec::default()
    };
    vec![
        (hostname, "hostname"),
        (env, "env B"),
        (mount("/a", bind), "source of mount /a"),
        (mount("/{{.Nope}}", tmpfs), "target of mount /{{.Nope}}"),
        (
            mount("/a", volume(text(), Labels::new())),
            "source of mount /a",
        ),
        (
            mount("/a", volume(String::new(), pairs(&[("k", "/{{.Nope}}")]))),
            "label k of mount /a",
        ),
    ]
}

#[test]
fn every_part_of_a_spec_that_is_a_template_is_found() {
    let labels = Labels::new();
    let before = Context::before("web", &labels);
    for (container, part) in places() {
        assert!(is_templated(&container), "{part}");
        let said = check(&container, &before).unwrap_err().to_string();
        let says = format!("template in {part}: column 4: there is no field .Nope");
        assert!(said.starts_with(&says), "{said}");
    }
    assert!(!is_templated(&ContainerSpec::default()));
}

#[test]
fn labels_of_nodes_are_there_before_a_node_is_chosen() {
    let labels = Labels::new();
    let before = Context::before("web", &labels);
    let container = |text: &str| ContainerSpec {
        env: vec![format!("ZONE={text}")],
        ..ContainerSpec::default()
    };
    assert_eq!(check(&container("{{.Node.Labels.zone}}"), &before), Ok(()));
    assert!(check(&container("{{.Service.Labels.zone}}"), &before).is_err());
    let filled = expand(container("{{.Task.Slot}}={{.Service.Name}}"), &before);
    assert_eq!(
        filled.map(|spec| spec.env),
        Ok(vec!["ZONE=1=web".to_owned()])
    );
}

#[test]
fn what_nests_without_end_is_refused() {
    let bars = format!("{{{{1{}}}}}", "|not".repeat(100_000));
    let groups = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    for text in [bars, groups] {
        let said = Template::of_content(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(said.contains("more than 32"), "{said}");
    }
}
