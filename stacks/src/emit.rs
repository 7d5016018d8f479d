//! to be written
pub(crate) fn document(value: &serde_yaml::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default()
}
