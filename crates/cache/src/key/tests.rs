//! Different conditions, different keys.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Everything that goes into a key, as plain values to be compared.
#[derive(Debug, Clone, PartialEq)]
struct All {
    tenant: String,
    collection: Option<u8>,
    generation: u64,
    access: Option<BTreeSet<String>>,
    model: String,
    prompt: String,
    parameters: Vec<(String, String)>,
    kind: &'static str,
    asked: Vec<String>,
}

impl All {
    fn key(&self) -> Key {
        let tenant: TenantId = self.tenant.parse().unwrap();
        let scope = match self.collection {
            None => Scope::Tenant(tenant),
            Some(n) => Scope::Collection { tenant, collection: collection(n), generation: self.generation },
        };
        let access = self.access.clone().map_or(Principals::All, Principals::Only);
        let parameters: Vec<_> = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let conditions = Conditions { scope, access: &access, model: &self.model, prompt: &self.prompt, parameters: &parameters };
        let asked: Vec<&[u8]> = self.asked.iter().map(String::as_bytes).collect();
        Partition::of(&conditions).key(self.kind, &asked)
    }

    /// The same for all that mean the same.
    fn meaning(&self) -> Self {
        let mut meaning = self.clone();
        meaning.parameters.sort();
        if meaning.collection.is_none() {
            meaning.generation = 0;
        }
        meaning
    }
}

fn collection(n: u8) -> CollectionId {
    format!("col_{:026}", u64::from(n)).parse().unwrap()
}

/// Short and alike, so that pairs often agree in all but one part, and boundaries between parts are in doubt.
fn text() -> impl Strategy<Value = String> {
    "[ab/]{0,2}"
}

fn all() -> impl Strategy<Value = All> {
    let owner = ("[ab]{1,2}", proptest::option::of(0_u8..2), 0_u64..2, proptest::option::of(proptest::collection::btree_set(text(), 0..3)));
    let how = (text(), text(), proptest::collection::vec((text(), text()), 0..3));
    let what = (prop_oneof![Just("answer"), Just("ans"), Just("embedding")], proptest::collection::vec(text(), 0..3));
    (owner, how, what).prop_map(|((tenant, collection, generation, access), (model, prompt, parameters), (kind, asked))| All {
        tenant,
        collection,
        generation,
        access,
        model,
        prompt,
        parameters,
        kind,
        asked,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn keys_are_equal_exactly_if_all_parts_are(a in all(), b in all()) {
        prop_assert_eq!(a.key().digest() == b.key().digest(), a.meaning() == b.meaning());
        prop_assert_eq!(a.key().path() == b.key().path(), a.meaning() == b.meaning());
    }

    #[test]
    fn one_part_changed_changes_the_key(mut one in all(), part in 0..9_usize) {
        let before = one.clone();
        match part {
            0 => one.tenant.push('x'),
            1 => one.collection = one.collection.map_or(Some(0), |n| Some(n + 1)),
            2 => { one.collection = Some(7); one.generation += 1; }
            3 => one.access = one.access.map_or(Some(BTreeSet::new()), |_| None),
            4 => one.model.push('x'),
            5 => one.prompt.push('x'),
            6 => one.parameters.push((String::new(), String::new())),
            7 => one.kind = if one.kind == "answer" { "embedding" } else { "answer" },
            _ => one.asked.push(String::new()),
        }
        prop_assert_ne!(before.key().digest(), one.key().digest());
    }
}

#[test]
fn a_path_says_whose_it_is() {
    let tenant: TenantId = "acme".parse().unwrap();
    let scope = Scope::Collection { tenant: tenant.clone(), collection: collection(1), generation: 3 };
    let partition = |scope| Partition::of(&Conditions { scope, access: &Principals::All, model: "m", prompt: "", parameters: &[] });
    let key = partition(scope).key("answer", &[b"why?"]);
    let place = Place::of(key.path()).unwrap();
    assert_eq!((place.tenant, place.collection, place.kind), (Some("acme"), Some(collection(1).as_str()), "answer"));
    assert_eq!(place.digest, hex(&key.digest()));
    assert!(Selection::Under(Prefix::of_tenant(&tenant)).has(key.path()));
    assert!(Selection::Under(Prefix::of_collection(&tenant, &collection(1))).has(key.path()));
    assert!(!Selection::Under(Prefix::of_collection(&tenant, &collection(2))).has(key.path()));
    assert!(!Prefix::of_server().has(key.path()));
    // A tenant whose name begins like another's is not that tenant.
    assert!(!Selection::Under(Prefix::of_tenant(&"acm".parse().unwrap())).has(key.path()));
    let server = partition(Scope::Server).key("embedding", &[b"text"]);
    assert_eq!(Place::of(server.path()).unwrap().tenant, None);
}

#[test]
fn only_paths_of_keys_are_places() {
    for path in ["", "a/b/c", "a/b/c/d", "a/b/c/00/e", &format!("a/b/c/{}/e", "0".repeat(64))] {
        assert_eq!(Place::of(path), None, "{path}");
    }
}
