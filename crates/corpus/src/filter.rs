//! The one filter language, in the shape OpenAI's vector stores use:
//! `{type: "eq|ne|gt|gte|lt|lte|in|nin", key, value}` or `{type: "and|or", filters: […]}`.
//!
//! A comparison looks at one metadata key. A list in the metadata matches if any of its items
//! does. A missing key, or a value of another type, matches only `ne` and `nin`.

use crate::Metadata;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::cmp::Ordering;

/// Deepest nesting of `and` and `or`.
const DEPTH_MAX: usize = 8;
/// Comparisons in one filter, and values in one `in`.
const TERMS_MAX: usize = 256;

/// A condition over document metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[expect(missing_docs, reason = "key, value and filters are said at each variant")]
pub enum Filter {
    /// Equal.
    Eq { key: String, value: Value },
    /// Not equal, or no such key.
    Ne { key: String, value: Value },
    /// Greater: numbers by value, strings by code point (so RFC 3339 times sort).
    Gt { key: String, value: Value },
    /// Greater or equal.
    Gte { key: String, value: Value },
    /// Less.
    Lt { key: String, value: Value },
    /// Less or equal.
    Lte { key: String, value: Value },
    /// Equal to one of the values.
    In { key: String, value: Vec<Value> },
    /// Equal to none of the values, or no such key.
    Nin { key: String, value: Vec<Value> },
    /// All of them; an empty list matches everything.
    And { filters: Vec<Filter> },
    /// Any of them; an empty list matches nothing.
    Or { filters: Vec<Filter> },
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    /// By itself serde would take a number for the type, and a list for an object.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.get("type").is_some_and(Value::is_string) {
            return Err(D::Error::custom("a filter is an object whose `type` is a string"));
        }
        Self::deserialize(value).map_err(D::Error::custom)
    }
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nested too deep.
    #[error("the filter is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Too many comparisons or values.
    #[error("the filter has more than {TERMS_MAX} comparisons or values")]
    TooLarge,
    /// A value that can't be compared.
    #[error("the value for {key:?} must be {expected}")]
    Value {
        /// The key compared.
        key: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Filter {
    /// Checks size, depth and types. Call it once at the door.
    ///
    /// # Errors
    /// The first [`FilterError`] met.
    pub fn validate(&self) -> Result<(), FilterError> {
        let mut terms = 0;
        self.validate_at(0, &mut terms)
    }

    fn validate_at(&self, depth: usize, terms: &mut usize) -> Result<(), FilterError> {
        if depth > DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        let wrong = |key: &str, expected| Err(FilterError::Value { key: key.to_owned(), expected });
        match self {
            Self::And { filters } | Self::Or { filters } => {
                filters.iter().try_for_each(|filter| filter.validate_at(depth + 1, terms))?;
            }
            Self::Eq { key, value } | Self::Ne { key, value } => {
                *terms += 1;
                if !matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)) {
                    return wrong(key, "a string, number or boolean");
                }
            }
            Self::Gt { key, value } | Self::Gte { key, value } | Self::Lt { key, value } | Self::Lte { key, value } => {
                *terms += 1;
                if !matches!(value, Value::String(_) | Value::Number(_)) {
                    return wrong(key, "a string or number");
                }
            }
            Self::In { key, value } | Self::Nin { key, value } => {
                *terms += value.len().max(1);
                if !value.iter().all(|v| matches!(v, Value::String(_) | Value::Number(_) | Value::Bool(_))) {
                    return wrong(key, "a list of strings, numbers or booleans");
                }
            }
        }
        if *terms > TERMS_MAX { Err(FilterError::TooLarge) } else { Ok(()) }
    }

    /// Whether a document with this metadata passes.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        let any = |key: &str, test: &dyn Fn(&Value) -> bool| match metadata.get(key) {
            None => false,
            Some(Value::Array(items)) => items.iter().any(test),
            Some(value) => test(value),
        };
        let ordered = |key: &str, value: &Value, accept: fn(Ordering) -> bool| any(key, &|v| compare(v, value).is_some_and(accept));
        match self {
            Self::Eq { key, value } => any(key, &|v| is_equal(v, value)),
            Self::Ne { key, value } => !any(key, &|v| is_equal(v, value)),
            Self::Gt { key, value } => ordered(key, value, Ordering::is_gt),
            Self::Gte { key, value } => ordered(key, value, Ordering::is_ge),
            Self::Lt { key, value } => ordered(key, value, Ordering::is_lt),
            Self::Lte { key, value } => ordered(key, value, Ordering::is_le),
            Self::In { key, value } => any(key, &|v| value.iter().any(|w| is_equal(v, w))),
            Self::Nin { key, value } => !any(key, &|v| value.iter().any(|w| is_equal(v, w))),
            Self::And { filters } => filters.iter().all(|filter| filter.matches(metadata)),
            Self::Or { filters } => filters.iter().any(|filter| filter.matches(metadata)),
        }
    }
}

fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => compare(a, b) == Some(Ordering::Equal),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(filter: Value, metadata: Value) -> bool {
        let filter: Filter = serde_json::from_value(filter).unwrap();
        filter.validate().unwrap();
        filter.matches(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn only_objects_with_a_named_type_are_filters() {
        for bad in [r#"{"type":0,"key":"a","value":1}"#, r#"["eq","a",1]"#, r#"{"type":"or","filters":[{"type":1,"key":"a","value":1}]}"#] {
            assert!(serde_json::from_str::<Filter>(bad).is_err(), "{bad}");
        }
        let good = r#"{"type":"or","filters":[{"type":"eq","key":"a","value":1}]}"#;
        let filter: Filter = serde_json::from_str(good).unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), good);
    }

    #[test]
    fn comparisons_follow_the_type() {
        assert!(matches(json!({"type": "eq", "key": "n", "value": 1}), json!({"n": 1.0})));
        assert!(matches(json!({"type": "gt", "key": "t", "value": "2024-01-01"}), json!({"t": "2024-06-01"})));
        assert!(!matches(json!({"type": "gt", "key": "n", "value": 5}), json!({"n": "9"})));
        assert!(!matches(json!({"type": "eq", "key": "n", "value": 1}), json!({})));
        assert!(matches(json!({"type": "ne", "key": "n", "value": 1}), json!({})));
        assert!(matches(json!({"type": "in", "key": "tag", "value": ["x", "b"]}), json!({"tag": ["a", "b"]})));
        assert!(matches(json!({"type": "nin", "key": "tag", "value": ["x"]}), json!({"tag": ["a", "b"]})));
    }

    #[test]
    fn and_or_nest() {
        let filter = json!({"type": "and", "filters": [
            {"type": "eq", "key": "lang", "value": "en"},
            {"type": "or", "filters": [{"type": "lt", "key": "year", "value": 2000}, {"type": "eq", "key": "classic", "value": true}]},
        ]});
        assert!(matches(filter.clone(), json!({"lang": "en", "year": 1999})));
        assert!(matches(filter.clone(), json!({"lang": "en", "year": 2020, "classic": true})));
        assert!(!matches(filter, json!({"lang": "de", "year": 1999})));
    }

    #[test]
    fn unknown_words_depth_and_types_are_refused() {
        let parse = |value: Value| serde_json::from_value::<Filter>(value);
        assert!(parse(json!({"type": "like", "key": "a", "value": "b"})).is_err());
        assert!(parse(json!({"type": "eq", "key": "a", "value": 1, "extra": 1})).is_err());
        let mut deep = json!({"type": "eq", "key": "a", "value": 1});
        for _ in 0..=DEPTH_MAX {
            deep = json!({"type": "and", "filters": [deep]});
        }
        assert_eq!(parse(deep).unwrap().validate(), Err(FilterError::TooDeep));
        assert!(parse(json!({"type": "gt", "key": "a", "value": true})).unwrap().validate().is_err());
        let many: Vec<u32> = (0..=256).collect();
        assert_eq!(parse(json!({"type": "in", "key": "a", "value": many})).unwrap().validate(), Err(FilterError::TooLarge));
    }
}
