//! Which fields and values each format of entries and snapshots holds: none is
//! added, taken away or numbered anew in silence.

use expect_test::expect_file;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};

/// Messages by full name, nested ones too.
fn messages(set: &FileDescriptorSet) -> BTreeMap<String, &DescriptorProto> {
    let mut found = BTreeMap::new();
    let mut left: Vec<(String, &DescriptorProto)> = Vec::new();
    for file in &set.file {
        let package = format!(".{}", file.package());
        left.extend(file.message_type.iter().map(|m| (package.clone(), m)));
    }
    while let Some((outer, message)) = left.pop() {
        let name = format!("{outer}.{}", message.name());
        left.extend(message.nested_type.iter().map(|m| (name.clone(), m)));
        found.insert(name, message);
    }
    found
}

/// Values of enums, by full name.
fn enums(set: &FileDescriptorSet) -> BTreeMap<String, &EnumDescriptorProto> {
    let each = set.file.iter().flat_map(|file| {
        let package = file.package();
        let values = file.enum_type.iter();
        values.map(move |of| (format!(".{package}.{}", of.name()), of))
    });
    each.collect()
}

/// A line for each field that an entry or a snapshot can hold, and each value.
fn fields(set: &FileDescriptorSet) -> String {
    let (messages, enums) = (messages(set), enums(set));
    let mut lines = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![".skep.v1.Entry".to_owned(), ".skep.v1.Snapshot".to_owned()];
    while let Some(name) = left.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let message = messages[&name];
        let is_map = |of: &str| {
            let inner = messages.get(of).and_then(|inner| inner.options.as_ref());
            inner.is_some_and(prost_types::MessageOptions::map_entry)
        };
        for field in &message.field {
            let kind = match field.r#type() {
                Type::Message | Type::Enum => field.type_name().to_owned(),
                plain => plain.as_str_name().replace("TYPE_", "").to_lowercase(),
            };
            let many = match field.label() {
                Label::Repeated if is_map(&kind) => "map ",
                Label::Repeated => "repeated ",
                _ => "",
            };
            lines.insert(format!(
                "{}.{} = {} {many}{}",
                name.trim_start_matches(".skep.v1."),
                field.name(),
                field.number(),
                kind.trim_start_matches(".skep.v1.")
            ));
            match field.r#type() {
                Type::Message => left.push(kind),
                Type::Enum => lines.extend(enums[&kind].value.iter().map(|value| {
                    let of = kind.trim_start_matches(".skep.v1.");
                    format!("{of}: {} = {}", value.name(), value.number())
                })),
                _ => {}
            }
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// When this fails, read `manager/store/src/format.rs`. While the newest format
/// is not released, `UPDATE_EXPECT=1 cargo test -p skep-proto --test formats`
/// writes its list anew; a released one stays, and the next format gets a list.
#[test]
fn every_field_belongs_to_a_format() {
    let files = ["skep/v1/log.proto"];
    let set = protox::compile(files, ["."]).unwrap();
    expect_file!["../formats/1.txt"].assert_eq(&fields(&set));
}
