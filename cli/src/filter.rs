//! `--filter key=value`: several values of one key are alternatives, several
//! keys must all hold.

use crate::error::usage;
use anyhow::Result;
use skep_types::Labels;

/// The filter flag of a list command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FilterArgs {
    /// Show only what matches, e.g. `name=web` or `label=tier=front`; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Filters as read.
#[derive(Debug, Clone, Default)]
pub struct Filters(Vec<(String, String)>);

impl FilterArgs {
    /// Reads the filters; `known` are the keys the command has.
    ///
    /// # Errors
    /// For a filter without `=` and for a key that is not known.
    pub fn read(&self, known: &[&str]) -> Result<Filters> {
        let mut filters = Vec::with_capacity(self.filter.len());
        for text in &self.filter {
            let Some((key, value)) = text.split_once('=') else {
                return Err(usage(format!(
                    "invalid filter {text:?}: write it as key=value"
                )));
            };
            let key = key.trim().to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(usage(format!(
                    "invalid filter {key:?}: this command has {}",
                    known.join(", ")
                )));
            }
            filters.push((key, value.trim().to_owned()));
        }
        Ok(Filters(filters))
    }
}

impl Filters {
    /// Values given for a key.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// Whether one of the values of `key` holds; also when there is none.
    pub fn any(&self, key: &str, mut holds: impl FnMut(&str) -> bool) -> bool {
        let mut values = self.values(key).peekable();
        values.peek().is_none() || values.any(&mut holds)
    }

    /// Whether a text begins with one of the values of `key`.
    pub fn prefix(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| text.starts_with(value))
    }

    /// Whether a text is one of the values of `key`.
    pub fn exact(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| value.eq_ignore_ascii_case(text))
    }

    /// Whether all values of `key`, each `name` or `name=value`, are among the labels.
    pub fn labels(&self, key: &str, labels: &Labels) -> bool {
        self.values(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|is| is == value),
            None => labels.contains_key(wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filters: &[&str]) -> Result<Filters> {
        FilterArgs {
            filter: filters.iter().map(|f| (*f).to_owned()).collect(),
        }
        .read(&["name", "label"])
    }

    #[test]
    fn values_of_a_key_are_alternatives_and_labels_must_all_be_there() -> Result<()> {
        let filters = read(&["name=we", "name=db", "label=a", "label=b=1"])?;
        assert!(filters.prefix("name", "web"));
        assert!(!filters.prefix("name", "cache"));
        assert!(filters.prefix("id", "anything"));
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        assert!(filters.labels("label", &labels(&[("a", ""), ("b", "1")])));
        assert!(!filters.labels("label", &labels(&[("a", ""), ("b", "2")])));
        Ok(())
    }

    #[test]
    fn unknown_filters_are_refused() {
        for filter in ["color=red", "name"] {
            assert!(read(&[filter]).is_err(), "{filter}");
        }
    }
}
