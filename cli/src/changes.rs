//! What differs between two objects in JSON, a line each.

use serde_json::Value;

/// `Mode.Replicated.Replicas: 3 -> 5`; of lists what goes and what comes.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let more = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(more) {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let side = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                compare(&path, &side(old), &side(new), lines);
            }
        }
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) => {
            let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let (old, new) = (items(before), items(after));
            let gone = old.iter().filter(|item| !new.contains(item));
            let come = new.iter().filter(|item| !old.contains(item));
            let count = lines.len();
            lines.extend(gone.map(|item| format!("{path}: - {item}")));
            lines.extend(come.map(|item| format!("{path}: + {item}")));
            if lines.len() == count {
                lines.push(format!("{path}: in another order"));
            }
        }
        (Value::Null, after) => lines.push(format!("{path}: {after}")),
        (before, Value::Null) => lines.push(format!("{path}: {before} -> nothing")),
        (before, after) => lines.push(format!("{path}: {before} -> {after}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named_by_its_path() {
        let before = json!({
            "Mode": {"Replicated": {"Replicas": 3}},
            "Env": ["A=1", "B=2"],
            "Same": {"X": [1]},
            "Gone": "x",
            "Order": [1, 2],
        });
        let after = json!({
            "Mode": {"Replicated": {"Replicas": 5}},
            "Env": ["A=1", "B=3"],
            "Same": {"X": [1]},
            "New": {"Y": true},
            "Order": [2, 1],
        });
        let mut lines = changes(&before, &after);
        lines.sort();
        assert_eq!(
            lines,
            [
                "Env: + \"B=3\"",
                "Env: - \"B=2\"",
                "Gone: \"x\" -> nothing",
                "Mode.Replicated.Replicas: 3 -> 5",
                "New: {\"Y\":true}",
                "Order: in another order",
            ]
        );
        assert!(changes(&before, &before).is_empty());
    }
}
