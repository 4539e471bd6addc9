//! What callers say about a document: flat, small, filterable.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Keys a document may carry.
const KEYS_MAX: usize = 64;
/// Bytes of one key.
const KEY_BYTES_MAX: usize = 64;
/// Bytes of all keys and values as JSON.
const BYTES_MAX: usize = 16 * 1024;

/// Metadata of a document or collection: up to 64 keys; each value is a string, a
/// number, a boolean or a list of those.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Metadata(Map<String, Value>);

/// Why a JSON object can't be metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Too many keys.
    #[error("metadata has {0} keys; at most {KEYS_MAX} are kept")]
    TooManyKeys(usize),
    /// An empty key or one that is too long.
    #[error("metadata key {0:?} must have 1 to {KEY_BYTES_MAX} bytes")]
    Key(String),
    /// Null, an object, or a list of such.
    #[error("metadata value of {0:?} must be a string, number, boolean or a list of those")]
    Value(String),
    /// Too many bytes.
    #[error("metadata has {0} bytes; at most {BYTES_MAX} are kept")]
    TooLarge(usize),
}

impl Metadata {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys with their values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl TryFrom<Map<String, Value>> for Metadata {
    type Error = MetadataError;

    fn try_from(map: Map<String, Value>) -> Result<Self, MetadataError> {
        if map.len() > KEYS_MAX {
            return Err(MetadataError::TooManyKeys(map.len()));
        }
        for (key, value) in &map {
            if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
                return Err(MetadataError::Key(key.clone()));
            }
            let is_kept = match value {
                Value::Array(items) => items.iter().all(is_scalar),
                other => is_scalar(other),
            };
            if !is_kept {
                return Err(MetadataError::Value(key.clone()));
            }
        }
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
        if bytes > BYTES_MAX { Err(MetadataError::TooLarge(bytes)) } else { Ok(Self(map)) }
    }
}

impl From<Metadata> for Map<String, Value> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Metadata, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn scalars_and_lists_of_scalars_are_kept() {
        assert!(parse(json!({"year": 2024, "draft": false, "tags": ["a", "b"], "name": "x"})).is_ok());
    }

    #[test]
    fn anything_deeper_is_refused_by_name() {
        for bad in [json!({"a": null}), json!({"a": {"b": 1}}), json!({"a": [[1]]}), json!({"": 1})] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
        assert!(parse(json!({"long": "x".repeat(BYTES_MAX)})).is_err());
    }
}
