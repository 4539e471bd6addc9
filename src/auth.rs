//! API keys: who asks, and what of the tenant's documents they may read.

use crate::config::KeyConfig;
use corpus::{Principals, TenantId};
use sha2::{Digest, Sha256};

/// Shortest key in bytes.
const KEY_BYTES_MIN: usize = 16;

/// The keys that the server knows, as hashes.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    sha256: [u8; 32],
    caller: Caller,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) principals: Principals,
}

impl Caller {
    /// Everybody, on a server without keys.
    fn anybody() -> Self {
        Self { tenant: TenantId::default(), principals: Principals::All }
    }
}

impl Keys {
    /// Hashes from the configuration and one plain key from the environment; or every error, with its path.
    pub(crate) fn new(configured: &[KeyConfig], plain: Option<&str>) -> Result<Self, Vec<String>> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for (at, key) in configured.iter().enumerate() {
            let principals = key.principals.clone().map_or(Principals::All, |names| Principals::Only(names.into_iter().collect()));
            match parse_hex(&key.sha256) {
                Some(sha256) => keys.push(Key { sha256, caller: Caller { tenant: key.tenant.clone(), principals } }),
                None => errors.push(format!("auth.keys[{at}].sha256: must be 64 hexadecimal digits")),
            }
        }
        match plain {
            Some(key) if key.len() < KEY_BYTES_MIN => errors.push(format!("RAGSTONE_API_KEY: must have at least {KEY_BYTES_MIN} bytes")),
            Some(key) => keys.push(Key { sha256: Sha256::digest(key).into(), caller: Caller::anybody() }),
            None => {}
        }
        if errors.is_empty() { Ok(Self(keys)) } else { Err(errors) }
    }

    /// Whether anybody may come in.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller of a request with this `Authorization` header; `None` if it names no known key.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Option<Caller> {
        if self.is_empty() {
            return Some(Caller::anybody());
        }
        let (scheme, token) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let given: [u8; 32] = Sha256::digest(token.trim()).into();
        // Hashes are compared, all of them, so that time tells nothing about a key.
        self.0.iter().fold(None, |found, key| if is_same(&key.sha256, &given) { Some(key.caller.clone()) } else { found })
    }
}

fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
    (text.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &str) -> String {
        Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_key_opens_its_tenant_and_no_other() {
        let configured = [KeyConfig { sha256: hex("one"), tenant: "a".parse().unwrap(), principals: Some(vec!["ann".into()]) }];
        let keys = Keys::new(&configured, Some("a-plain-key-of-enough-bytes")).unwrap();
        assert_eq!(keys.caller(Some("Bearer one")).unwrap().tenant.as_str(), "a");
        assert_eq!(keys.caller(Some("bearer a-plain-key-of-enough-bytes")).unwrap().tenant, TenantId::default());
        for stranger in [None, Some("Bearer two"), Some("Basic one"), Some("one"), Some("")] {
            assert!(keys.caller(stranger).is_none(), "{stranger:?}");
        }
    }

    #[test]
    fn without_keys_everybody_is_the_default_tenant() {
        assert_eq!(Keys::new(&[], None).unwrap().caller(None).unwrap().tenant, TenantId::default());
    }

    #[test]
    fn bad_keys_are_named() {
        let configured = [KeyConfig { sha256: "zz".into(), tenant: TenantId::default(), principals: None }];
        assert_eq!(Keys::new(&configured, Some("short")).err().map(|errors| errors.len()), Some(2));
    }
}
