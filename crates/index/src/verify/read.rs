//! Reading a store that may be damaged: one value that doesn't fit its checksum must not hide the rest.

use super::VerifyError;
use crate::keys;
use crate::store::{EnvelopeError, Store, StoreError};
use corpus::{CollectionId, TenantId};

/// Pairs read at a time.
const PAGE: usize = 256;

/// A value, or why it isn't one.
pub(crate) type Value<'p> = Result<&'p [u8], &'p EnvelopeError>;

/// [`pairs`], while verifying.
pub(super) fn each(
    store: &dyn Store,
    prefix: &[u8],
    visit: impl FnMut(&[u8], Value<'_>) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    pairs(store, prefix, visit)
}

/// Calls `visit` with every pair below `prefix` in key order, damaged ones included, page by page.
pub(crate) fn pairs<E: From<StoreError>>(
    store: &dyn Store,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut after, mut limit): (Option<Vec<u8>>, usize) = (None, PAGE);
    loop {
        match store.scan(prefix, after.as_deref(), limit) {
            Ok(page) => {
                page.iter().try_for_each(|(key, value)| visit(key, Ok(value)))?;
                if page.len() < limit {
                    return Ok(());
                }
                after = page.into_iter().last().map(|(key, _)| key);
            }
            // The pairs before the damaged one come one by one, then the damaged one itself.
            Err(StoreError::Corrupt { .. }) if limit > 1 => limit = 1,
            Err(StoreError::Corrupt { key, reason }) => {
                visit(&key, Err(&reason))?;
                (after, limit) = (Some(key), PAGE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A value, or why it isn't one; `None` if there is none.
pub(super) type Found = Option<Result<Vec<u8>, EnvelopeError>>;

/// The value of a key.
pub(super) fn get(store: &dyn Store, key: &[u8]) -> Result<Found, StoreError> {
    match store.get(key) {
        Ok(value) => Ok(value.map(Ok)),
        Err(StoreError::Corrupt { reason, .. }) => Ok(Some(Err(reason))),
        Err(error) => Err(error),
    }
}

/// The values of keys.
pub(super) fn multi_get(store: &dyn Store, keys: &[Vec<u8>]) -> Result<Vec<Found>, StoreError> {
    match store.multi_get(keys) {
        Ok(values) => Ok(values.into_iter().map(|value| value.map(Ok)).collect()),
        Err(StoreError::Corrupt { .. }) => keys.iter().map(|key| get(store, key)).collect(),
        Err(error) => Err(error),
    }
}

/// The record under a key, if it is there, whole, and one.
pub(super) fn record<T: serde::de::DeserializeOwned>(store: &dyn Store, key: &[u8]) -> Result<Option<T>, StoreError> {
    let value = get(store, key)?.and_then(Result::ok);
    Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
}

/// The tenant and the collection that a key names first.
pub(super) fn scope(key: &[u8]) -> Option<(TenantId, CollectionId)> {
    let parts = keys::text_parts(key);
    Some((parts.first()?.parse().ok()?, parts.get(1)?.parse().ok()?))
}

/// The `n`th part of a key, parsed.
pub(super) fn part<T: std::str::FromStr>(key: &[u8], n: usize) -> Option<T> {
    keys::text_parts(key).get(n)?.parse().ok()
}
