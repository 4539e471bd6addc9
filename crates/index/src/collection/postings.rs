//! Metadata postings: for every key and value the rows that carry it, so that a filter costs a
//! few bitmap operations and not a look at every document.
//!
//! Invariant: [`Postings::matching`] gives exactly the rows of the documents for which
//! [`Filter::matches`] is true (property-tested).

use corpus::{Filter, Metadata};
use roaring::RoaringBitmap;
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

#[derive(Default)]
pub(crate) struct Postings {
    keys: HashMap<String, BTreeMap<Scalar, RoaringBitmap>>,
}

impl Postings {
    pub(crate) fn insert(&mut self, metadata: &Metadata, rows: &RoaringBitmap) {
        for (key, value) in metadata.iter() {
            let values = self.keys.entry(key.clone()).or_default();
            for scalar in scalars(value) {
                *values.entry(scalar).or_default() |= rows;
            }
        }
    }

    pub(crate) fn remove(&mut self, metadata: &Metadata, rows: &RoaringBitmap) {
        for (key, value) in metadata.iter() {
            let Some(values) = self.keys.get_mut(key) else { continue };
            for scalar in scalars(value) {
                if let Some(posting) = values.get_mut(&scalar) {
                    *posting -= rows;
                }
            }
            values.retain(|_, posting| !posting.is_empty());
        }
        self.keys.retain(|_, values| !values.is_empty());
    }

    /// The rows of `live` that pass the filter.
    pub(crate) fn matching(&self, filter: &Filter, live: &RoaringBitmap) -> RoaringBitmap {
        match filter {
            Filter::Eq { key, value } => self.equal(key, value),
            Filter::Ne { key, value } => live - self.equal(key, value),
            Filter::In { key, value } => self.any_of(key, value),
            Filter::Nin { key, value } => live - self.any_of(key, value),
            Filter::Gt { key, value } => self.range(key, value, |bound| (Bound::Excluded(bound), Bound::Unbounded)),
            Filter::Gte { key, value } => self.range(key, value, |bound| (Bound::Included(bound), Bound::Unbounded)),
            Filter::Lt { key, value } => self.range(key, value, |bound| (Bound::Unbounded, Bound::Excluded(bound))),
            Filter::Lte { key, value } => self.range(key, value, |bound| (Bound::Unbounded, Bound::Included(bound))),
            Filter::And { filters } => filters.iter().fold(live.clone(), |rows, filter| rows & self.matching(filter, live)),
            Filter::Or { filters } => filters.iter().fold(RoaringBitmap::new(), |rows, filter| rows | self.matching(filter, live)),
        }
    }

    fn equal(&self, key: &str, value: &Value) -> RoaringBitmap {
        let posting = Scalar::of(value).and_then(|scalar| self.keys.get(key)?.get(&scalar));
        posting.cloned().unwrap_or_default()
    }

    fn any_of(&self, key: &str, values: &[Value]) -> RoaringBitmap {
        values.iter().fold(RoaringBitmap::new(), |rows, value| rows | self.equal(key, value))
    }

    fn range(&self, key: &str, value: &Value, bounds: fn(Scalar) -> (Bound<Scalar>, Bound<Scalar>)) -> RoaringBitmap {
        let (Some(values), Some(bound)) = (self.keys.get(key), Scalar::of(value)) else { return RoaringBitmap::new() };
        let is_same_kind = |scalar: &Scalar| std::mem::discriminant(scalar) == std::mem::discriminant(&bound);
        let postings = values.range(bounds(bound.clone())).filter(|(scalar, _)| is_same_kind(scalar));
        postings.fold(RoaringBitmap::new(), |rows, (_, posting)| rows | posting)
    }
}

fn scalars(value: &Value) -> Vec<Scalar> {
    match value {
        Value::Array(items) => items.iter().filter_map(Scalar::of).collect(),
        value => Scalar::of(value).into_iter().collect(),
    }
}

/// A metadata value in the order that filters compare by; kinds never compare equal.
#[derive(Debug, Clone)]
enum Scalar {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Scalar {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(value) => Some(Self::Number(value.clone())),
            Value::String(value) => Some(Self::Text(value.clone())),
            _ => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                // + 0.0 makes -0.0 and 0.0 one value under the total order
                _ => (a.as_f64().unwrap_or_default() + 0.0).total_cmp(&(b.as_f64().unwrap_or_default() + 0.0)),
            },
            _ => self.kind().cmp(&other.kind()),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scalar {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            (-2.0f64..2.0).prop_map(|x| json!((x * 2.0).round() / 2.0)),
            "[ab]{0,2}".prop_map(Value::from),
        ]
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        let value = prop_oneof![3 => scalar(), 1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from)];
        prop::collection::btree_map("[xyz]", value, 0..3).prop_map(|map| serde_json::from_value(json!(map)).unwrap())
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let comparable = prop_oneof![(-3i64..3).prop_map(Value::from), "[ab]{0,2}".prop_map(Value::from)];
        let leaf = prop_oneof![
            ("[xyz]", scalar()).prop_map(|(key, value)| Filter::Eq { key, value }),
            ("[xyz]", scalar()).prop_map(|(key, value)| Filter::Ne { key, value }),
            ("[xyz]", comparable.clone()).prop_map(|(key, value)| Filter::Gt { key, value }),
            ("[xyz]", comparable.clone()).prop_map(|(key, value)| Filter::Gte { key, value }),
            ("[xyz]", comparable.clone()).prop_map(|(key, value)| Filter::Lt { key, value }),
            ("[xyz]", comparable).prop_map(|(key, value)| Filter::Lte { key, value }),
            ("[xyz]", prop::collection::vec(scalar(), 0..3)).prop_map(|(key, value)| Filter::In { key, value }),
            ("[xyz]", prop::collection::vec(scalar(), 0..3)).prop_map(|(key, value)| Filter::Nin { key, value }),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|filters| Filter::And { filters }),
                prop::collection::vec(inner, 0..3).prop_map(|filters| Filter::Or { filters }),
            ]
        })
    }

    proptest! {
        #[test]
        fn postings_agree_with_the_filter_itself(
            documents in prop::collection::vec((metadata(), 0u32..3), 1..12), filter in filter(), gone in any::<prop::sample::Index>(),
        ) {
            let mut postings = Postings::default();
            let mut live = RoaringBitmap::new();
            let rows = |at: usize, count: u32| -> RoaringBitmap { (at as u32 * 10..at as u32 * 10 + count).collect() };
            for (at, (metadata, count)) in documents.iter().enumerate() {
                postings.insert(metadata, &rows(at, *count));
                live |= rows(at, *count);
            }
            let gone = gone.index(documents.len());
            postings.remove(&documents[gone].0, &rows(gone, documents[gone].1));
            live -= rows(gone, documents[gone].1);
            let mut expected = RoaringBitmap::new();
            for (at, (metadata, count)) in documents.iter().enumerate() {
                if at != gone && filter.matches(metadata) {
                    expected |= rows(at, *count);
                }
            }
            prop_assert_eq!(postings.matching(&filter, &live), expected);
        }
    }
}
