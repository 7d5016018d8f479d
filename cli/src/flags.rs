//! Reading the values of flags: durations, sizes, ports, mounts and the like.
//!
//! Each parser is pure and says what is wrong in words for the user; clap puts
//! the flag's name before them. What files they name is read by the caller.

mod mount;
mod publish;
mod registry;
mod values;

pub use mount::mount;
pub use publish::publish;
pub use registry::{Resolve, note_without_effect};
pub use values::{
    FileRef, NetworkRef, bytes, cpus, duration, env_file, env_value, file_ref, generic, host_entry,
    key_value, labels, network, ulimit, words,
};

/// The parts of `a=b,c=d`; a part may be in double quotes, as in a CSV line.
fn fields(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    if quoted {
        return Err(format!("{text:?} has an open quote"));
    }
    parts.push(part);
    Ok(parts
        .into_iter()
        .map(|part| match part.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (part.trim().to_owned(), None),
        })
        .collect())
}

/// `true` or `false` as Go reads them; nothing stands for true.
fn switch(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("{key} is true or false, not {other:?}")),
    }
}
