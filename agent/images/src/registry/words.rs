//! Errors in words: ours with their causes, and those that registries send.

use std::error::Error;

use serde::Deserialize;

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What a registry's error body says, shortened and without control characters.
pub(super) fn registry_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) => envelope
            .errors
            .into_iter()
            .map(|one| {
                if one.message.is_empty() {
                    one.code
                } else {
                    one.message
                }
            })
            .collect::<Vec<_>>()
            .join(", "),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if text.is_empty() {
        "no reason given".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_passed_on_without_its_control_characters() {
        assert_eq!(
            registry_message(br#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}"#),
            "no, X"
        );
        assert_eq!(registry_message(b"\x1b[31mbad\n"), "[31mbad");
        assert_eq!(registry_message(b""), "no reason given");
    }
}
