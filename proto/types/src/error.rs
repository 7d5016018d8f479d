//! How errors are told: each with its causes, in one line.

use std::error::Error;

/// An error with its causes.
pub fn chain(error: &dyn Error) -> String {
    with_causes(error.to_string(), error.source())
}

/// What was said, with the causes behind it. One that was said already is left
/// out.
pub fn with_causes(said: impl Into<String>, mut cause: Option<&(dyn Error + 'static)>) -> String {
    let mut text = said.into();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Said(&'static str, Option<Box<Said>>);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_follow_in_order_and_each_is_said_once() {
        let cause = Said("connection refused", None);
        let error = Said("transport error", Some(Box::new(cause)));
        let error = Said("cannot reach a: transport error", Some(Box::new(error)));
        assert_eq!(
            chain(&error),
            "cannot reach a: transport error: connection refused"
        );
        assert_eq!(with_causes("nothing more", None), "nothing more");
    }
}
