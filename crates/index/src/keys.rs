//! The keys of the store. One letter for the kind, then the tenant, then what the kind needs,
//! parts separated by a zero byte; numbers are big-endian so that keys sort by them. No part can
//! hold a zero byte, so a prefix of one tenant or collection never reaches into another's.

use crate::blobs::BlobId;
use crate::records::Parent;
use corpus::{CollectionId, DocumentId, JobId, KeyId, Row, TenantId};

const SEPARATOR: u8 = 0;

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![kind];
    for part in parts {
        key.push(SEPARATOR);
        key.extend_from_slice(part);
    }
    key
}

fn prefix(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut prefix = key(kind, parts);
    prefix.push(SEPARATOR);
    prefix
}

macro_rules! parts {
    ($($part:expr),*) => { &[$($part.as_str().as_bytes()),*] };
}

/// What a collection is: [`crate::records::CollectionRecord`].
pub(crate) fn collection(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    key(b'C', parts!(tenant, collection))
}

pub(crate) fn collections(tenant: &TenantId) -> Vec<u8> {
    prefix(b'C', parts!(tenant))
}

/// Name of a collection → its id.
pub(crate) fn collection_name(tenant: &TenantId, name: &str) -> Vec<u8> {
    key(b'N', &[tenant.as_str().as_bytes(), name.as_bytes()])
}

/// Counters of a collection, rewritten by every change: [`crate::records::CollectionState`].
pub(crate) fn state(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    key(b'S', parts!(tenant, collection))
}

pub(crate) fn document(tenant: &TenantId, collection: &CollectionId, document: &DocumentId) -> Vec<u8> {
    key(b'D', parts!(tenant, collection, document))
}

pub(crate) fn documents(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'D', parts!(tenant, collection))
}

/// The caller's own id → document id.
pub(crate) fn external_id(tenant: &TenantId, collection: &CollectionId, external: &str) -> Vec<u8> {
    key(b'E', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), external.as_bytes()])
}

/// Bytes of an upload without an external id → document id, so that the same bytes are one document.
pub(crate) fn content(tenant: &TenantId, collection: &CollectionId, original: &BlobId) -> Vec<u8> {
    key(b'H', parts!(tenant, collection, original))
}

/// A document that is inside another one, below the upload that both go back to → its id. The name
/// stands as its hash, which is short and holds no zero byte.
pub(crate) fn child(tenant: &TenantId, collection: &CollectionId, parent: &Parent) -> Vec<u8> {
    let name = BlobId::of(parent.name.as_bytes());
    let mut key = prefix(b'F', parts!(tenant, collection, parent.root, parent.document, name));
    key.extend_from_slice(&parent.ordinal.to_be_bytes());
    key
}

/// All that goes back to one upload.
pub(crate) fn family(tenant: &TenantId, collection: &CollectionId, root: &DocumentId) -> Vec<u8> {
    prefix(b'F', parts!(tenant, collection, root))
}

/// What is right inside one document.
pub(crate) fn children(tenant: &TenantId, collection: &CollectionId, root: &DocumentId, document: &DocumentId) -> Vec<u8> {
    prefix(b'F', parts!(tenant, collection, root, document))
}

/// The document around the one that a [`child`] key names.
pub(crate) fn parent_of(child_key: &[u8]) -> Option<DocumentId> {
    text_parts(child_key).get(3)?.parse().ok()
}

/// A chunk: [`corpus::Chunk`].
pub(crate) fn chunk(tenant: &TenantId, collection: &CollectionId, row: Row) -> Vec<u8> {
    key(b'K', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), &row.to_be_bytes()])
}

pub(crate) fn chunks(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'K', parts!(tenant, collection))
}

/// The chunk's vector: `f32` little-endian.
pub(crate) fn vector(tenant: &TenantId, collection: &CollectionId, row: Row) -> Vec<u8> {
    key(b'V', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), &row.to_be_bytes()])
}

pub(crate) fn vectors(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'V', parts!(tenant, collection))
}

/// The row at the end of a chunk or vector key.
pub(crate) fn row_of(key: &[u8]) -> Option<Row> {
    Some(Row::from_be_bytes(*key.last_chunk::<4>()?))
}

/// One change of a collection, for the views to replay: [`crate::records::Change`].
pub(crate) fn change(tenant: &TenantId, collection: &CollectionId, seq: u64) -> Vec<u8> {
    key(b'L', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn changes(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'L', parts!(tenant, collection))
}

pub(crate) fn job(tenant: &TenantId, job: &JobId) -> Vec<u8> {
    key(b'J', parts!(tenant, job))
}

/// Jobs that have not ended, in the order they came.
pub(crate) fn unfinished(job: &JobId, tenant: &TenantId) -> Vec<u8> {
    key(b'U', parts!(job, tenant))
}

pub(crate) fn all_unfinished() -> Vec<u8> {
    prefix(b'U', &[])
}

/// Rows that are being staged for a document: [`crate::records::Rows`]. Gone when it is committed.
pub(crate) fn staging(tenant: &TenantId, collection: &CollectionId, job: &JobId) -> Vec<u8> {
    key(b'G', parts!(tenant, collection, job))
}

pub(crate) fn staging_of(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'G', parts!(tenant, collection))
}

pub(crate) fn all_staging() -> Vec<u8> {
    prefix(b'G', &[])
}

/// A collection whose record is gone and whose rest is being removed: its record.
pub(crate) fn deleted(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    key(b'X', parts!(tenant, collection))
}

pub(crate) fn all_deleted() -> Vec<u8> {
    prefix(b'X', &[])
}

/// The text parts of a key behind its kind.
pub(crate) fn text_parts(key: &[u8]) -> Vec<&str> {
    key.split(|byte| *byte == SEPARATOR).skip(1).filter_map(|part| std::str::from_utf8(part).ok()).collect()
}

/// Who uses a blob: one key a document and blob, no value.
pub(crate) fn blob_use(tenant: &TenantId, blob: &BlobId, collection: &CollectionId, document: &DocumentId) -> Vec<u8> {
    key(b'B', parts!(tenant, blob, collection, document))
}

pub(crate) fn blob_uses(tenant: &TenantId, blob: &BlobId) -> Vec<u8> {
    prefix(b'B', parts!(tenant, blob))
}

/// An API key, hashed: [`crate::ApiKeyRecord`].
pub(crate) fn api_key(tenant: &TenantId, id: &KeyId) -> Vec<u8> {
    key(b'A', parts!(tenant, id))
}

pub(crate) fn api_keys(tenant: &TenantId) -> Vec<u8> {
    prefix(b'A', parts!(tenant))
}

pub(crate) fn all_api_keys() -> Vec<u8> {
    prefix(b'A', &[])
}

/// What a tenant takes: [`crate::TenantUsage`].
pub(crate) fn usage(tenant: &TenantId) -> Vec<u8> {
    key(b'Q', parts!(tenant))
}

/// Documents of all collections of a tenant.
pub(crate) fn tenant_documents(tenant: &TenantId) -> Vec<u8> {
    prefix(b'D', parts!(tenant))
}

/// What an idempotency key was answered with.
pub(crate) fn idempotency(tenant: &TenantId, key_of_caller: &str) -> Vec<u8> {
    key(b'I', &[tenant.as_str().as_bytes(), key_of_caller.as_bytes()])
}

/// The start of a collection's keys of one kind.
pub(crate) fn below(kind: u8, tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    key(kind, parts!(tenant, collection))
}

/// All kinds of keys below one collection, for deleting it.
pub(crate) fn everything_below(tenant: &TenantId, collection: &CollectionId) -> Vec<Vec<u8>> {
    [b'D', b'E', b'F', b'H', b'K', b'V', b'L', b'G'].iter().map(|kind| prefix(*kind, parts!(tenant, collection))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sort_as_numbers_and_read_back() {
        let (tenant, collection) = (TenantId::default(), CollectionId::generate());
        let keys: Vec<_> = [1, 255, 256, 70_000].iter().map(|row| vector(&tenant, &collection, *row)).collect();
        assert!(keys.is_sorted());
        assert_eq!(row_of(&keys[3]), Some(70_000));
        assert!(keys.iter().all(|key| key.starts_with(&vectors(&tenant, &collection))));
    }

    #[test]
    fn a_child_is_found_below_its_upload_and_knows_its_parent() {
        let (tenant, collection) = (TenantId::default(), CollectionId::generate());
        let (root, document) = (DocumentId::generate(), DocumentId::generate());
        let parent = Parent { document: document.clone(), root: root.clone(), depth: 2, name: "a\0b/../c".into(), ordinal: 0 };
        let key = child(&tenant, &collection, &parent);
        assert!(key.starts_with(&family(&tenant, &collection, &root)));
        assert_eq!(parent_of(&key), Some(document));
        let other = Parent { ordinal: 1, ..parent };
        assert_ne!(child(&tenant, &collection, &other), key);
    }

    #[test]
    fn a_tenant_is_no_prefix_of_another() {
        let id = CollectionId::generate();
        let long: TenantId = "ab".parse().unwrap();
        let short: TenantId = "a".parse().unwrap();
        assert!(!collection(&long, &id).starts_with(&collections(&short)));
    }
}
