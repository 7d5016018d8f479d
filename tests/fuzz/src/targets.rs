//! Everything that reads bytes from outside, each with good inputs to spoil.

#[path = "../../../proto/tests/samples/mod.rs"]
#[allow(dead_code, reason = "some are for other tests")]
mod samples;

use crate::{archives, stacks};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::Message;
use skep_manager_ca::{JoinToken, PeerIdentity, Request, Root, Validity, node_of};
use skep_manager_store::format::NEWEST;
use skep_manager_store::{
    Action, ClusterAction, NetworkAction, NodeAction, StackAction, StackPart, Store,
};
use skep_proto::{
    decode_entry, decode_results, decode_snapshot, encode_entry, encode_snapshot, pb,
};
use skep_types::assignment::AssignmentChange;
use skep_types::{
    ClusterSpec, NetworkSpec, NodeDescription, NodeSpec, ServiceSpec, StackSpec, TaskStatus,
    Timestamp, Version,
};
use std::sync::Arc;
use std::time::SystemTime;

type Read = Box<dyn Fn(&[u8])>;

/// One decoder.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Good inputs.
    pub seeds: Vec<Vec<u8>>,
    /// What is put into them, beside what is put into all.
    pub words: &'static [&'static [u8]],
    /// Inputs made to exhaust the decoder, which are read as they are.
    pub hostile: fn() -> Vec<Vec<u8>>,
    /// Reads an input. Whatever it is, this must not panic.
    pub read: Read,
}

/// One of them.
pub fn target(name: &'static str, seeds: Vec<Vec<u8>>, read: impl Fn(&[u8]) + 'static) -> Target {
    let read = Box::new(read);
    Target {
        name,
        seeds,
        words: &[],
        hostile: Vec::new,
        read,
    }
}

/// All of them.
pub fn all() -> Vec<Target> {
    let (node, service, task) = (samples::node(), samples::service(), samples::task());
    let actions = [
        Action::Cluster(ClusterAction::Create(Box::new(samples::cluster()))),
        Action::Node(NodeAction::Create(Box::new(node.clone()))),
        Action::Stack(StackAction::Apply {
            id: samples::stack().id,
            version: None,
            spec: Arc::new(StackSpec {
                secrets: Vec::new(),
                configs: Vec::new(),
                ..samples::stack_spec()
            }),
            returns_to: None,
            leaving: Vec::new(),
            parts: vec![StackPart::Network(NetworkAction::Create {
                id: samples::network().id,
                spec: Box::new(samples::network_spec()),
            })],
        }),
    ];
    let now = Timestamp(1_700_000_000_000);
    let entries: Vec<_> = actions
        .iter()
        .map(|a| encode_entry(NEWEST, now, std::slice::from_ref(a)))
        .collect();
    let mut store = Store::new();
    store.apply(Version(1), now, &actions);
    let snapshot = encode_snapshot(&store.snapshot().dump());
    let backup = vec![backed_up(&snapshot)];
    let refused = pb::ActionResult {
        refused: true,
        message: "it is in use".to_owned(),
        ..pb::ActionResult::default()
    };
    let results = pb::EntryResults {
        results: vec![pb::ActionResult::default(), refused],
    };
    let changes = [
        AssignmentChange::Task(task.id, Some(Arc::new(task.clone()))),
        AssignmentChange::Network(samples::network().id, Some(Arc::new(samples::network()))),
        AssignmentChange::Secret(samples::secret().id, Some(Arc::new(samples::secret()))),
    ];
    let assignments = pb::AssignmentsMessage {
        changes: changes.iter().map(Into::into).collect(),
        ..pb::AssignmentsMessage::default()
    };
    let status = pb::TaskStatus::from(&task.status).encode_to_vec();
    let description = pb::NodeDescription::from(&node.description).encode_to_vec();
    let (root, key) = authority();
    let der = der_of(root.certificate().pem());
    let token = token(&root).into_bytes();
    let mut targets = vec![
        target("raft entry", entries, entry),
        target("results of an entry", vec![results.encode_to_vec()], |bytes| {
            drop(decode_results(bytes));
        }),
        target("backup", skep_daemon::decoders::backups(&backup), skep_daemon::decoders::backup),
        target("contents of a backup", backup, skep_daemon::decoders::backup_contents),
        target("snapshot", vec![snapshot], |bytes| {
            // What can be read is taken over, so that must go well, too.
            if let Ok(dump) = decode_snapshot(bytes) {
                Store::load(dump);
            }
        }),
        target("assignments", vec![assignments.encode_to_vec()], |bytes| {
            if let Ok(message) = pb::AssignmentsMessage::decode(bytes) {
                for change in message.changes {
                    drop(AssignmentChange::try_from(change));
                }
            }
        }),
        target("status of a task", vec![status], |bytes| {
            drop(pb::TaskStatus::decode(bytes).map(TaskStatus::try_from));
        }),
        target("description of a node", vec![description], |bytes| {
            drop(pb::NodeDescription::decode(bytes).map(NodeDescription::try_from));
        }),
        target(
            "spec of a service",
            vec![pb::ServiceSpec::from(&service.spec).encode_to_vec()],
            |bytes| drop(pb::ServiceSpec::decode(bytes).map(ServiceSpec::try_from)),
        ),
        target(
            "spec of a network",
            vec![pb::NetworkSpec::from(&samples::network_spec()).encode_to_vec()],
            |bytes| drop(pb::NetworkSpec::decode(bytes).map(NetworkSpec::try_from)),
        ),
        target(
            "spec of a node",
            vec![pb::NodeSpec::from(&node.spec).encode_to_vec()],
            |bytes| drop(pb::NodeSpec::decode(bytes).map(NodeSpec::try_from)),
        ),
        target(
            "spec of the cluster",
            vec![pb::ClusterSpec::from(&samples::cluster_spec()).encode_to_vec()],
            |bytes| drop(pb::ClusterSpec::decode(bytes).map(ClusterSpec::try_from)),
        ),
        target(
            "spec of a stack",
            vec![pb::StackSpec::from(&samples::stack_spec()).encode_to_vec()],
            |bytes| drop(pb::StackSpec::decode(bytes).map(StackSpec::try_from)),
        ),
        target("join token", vec![token], |bytes| drop(text(bytes).parse::<JoinToken>())),
        target("certificate", vec![der], |bytes| {
            drop(PeerIdentity::from_der(bytes));
            drop(Validity::from_der(bytes));
        }),
        target(
            "root certificate",
            vec![root.certificate().pem().as_bytes().to_vec()],
            |bytes| drop(skep_manager_ca::CaBundle::from_pem(&text(bytes))),
        ),
        target("certificate request", vec![key.pem().as_bytes().to_vec()], |bytes| {
            drop(node_of(&text(bytes)));
        }),
        target("template", vec![TEMPLATE.as_bytes().to_vec()], template),
        target(
            "image reference",
            vec![
                b"localhost:5000/team/app:1.2@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".to_vec(),
                b"nginx".to_vec(),
            ],
            |bytes| drop(text(bytes).parse::<skep_agent_images::Reference>()),
        ),
        target("question to a resolver", questions(), skep_agent_dataplane::decoders::question),
    ];
    targets.extend(raft());
    targets.extend(archives::all());
    targets.push(stacks::all());
    targets
}

fn backed_up(snapshot: &[u8]) -> Vec<u8> {
    let content = pb::BackedUp {
        format: 1,
        skep_version: "0.1.0".to_owned(),
        at_ms: 1,
        version: 1,
        snapshot: snapshot.to_vec().into(),
    };
    content.encode_to_vec()
}

/// What managers say as members of Raft, and what they keep on disk.
fn raft() -> [Target; 5] {
    use skep_manager_raft::decoders as of;
    [
        target("raft request", of::requests(), of::request),
        target("raft response", of::responses(), of::response),
        target("records of a raft log", of::records(), of::replay),
        target("raft log on disk", of::files(), of::log_file),
        target(
            "what a snapshot begins with",
            of::snapshot_metas(),
            of::snapshot_meta,
        ),
    ]
}

/// Who is web, and who is 10.0.0.9, with an extension.
fn questions() -> Vec<Vec<u8>> {
    let head = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let web = [&head[..], b"\x03web\0", &[0, 1, 0, 1]].concat();
    let name = b"\x019\x010\x010\x0210\x07in-addr\x04arpa\0";
    let extended = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let more = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    let reverse = [&extended[..], name, &[0, 12, 0, 1], &more].concat();
    vec![web, reverse]
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What can be read is applied: the state machine must not stop at it.
fn entry(bytes: &[u8]) {
    if let Ok((now, actions)) = decode_entry(bytes) {
        let mut store = Store::new();
        store.apply(Version(1), now, &actions);
        store.apply(Version(2), now, &actions);
    }
}

fn authority() -> (Root, Request) {
    let root = Root::generate(SystemTime::now()).unwrap_or_else(|error| panic!("{error}"));
    let key = Request::generate().unwrap_or_else(|error| panic!("{error}"));
    (root, key)
}

/// The bytes of a certificate in PEM.
fn der_of(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let text: String = lines.collect();
    BASE64_STANDARD.decode(text).unwrap_or_default()
}

fn token(root: &Root) -> String {
    let secret = JoinToken::new_secret().unwrap_or_else(|error| panic!("{error}"));
    let token = JoinToken::new(root.certificate().digest(), &secret);
    token.map(|token| token.to_string()).unwrap_or_default()
}

/// All that templates know.
const TEMPLATE: &str = "a {{- /* c */ -}} {{if and .Node.Labels (or `a` \"\\n\")}}{{join \"-\" -1}}\
                        {{else if eq .Task.Slot \"2\"}}{{index .Service.Labels \"k\" | printf \"%q\"}}\
                        {{else}}{{secret \"key\"}}{{env \"MODE\"}}{{len .Service.Labels}}{{end}}";

fn template(bytes: &[u8]) {
    use skep_types::template::{Context, Template};
    let labels = [("k".to_owned(), "v".to_owned())].into();
    if let Ok(template) = Template::of_content(bytes) {
        let filled = template.render(&Context::before("web", &labels), &(), 1000);
        assert!(filled.unwrap_or_default().len() <= 1000);
    }
}
