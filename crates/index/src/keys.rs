//! The keys of the store. One letter for the kind, then the tenant, then what the kind needs,
//! parts separated by a zero byte; numbers are big-endian so that keys sort by them. No part can
//! hold a zero byte, so a prefix of one tenant or collection never reaches into another's.

use crate::blobs::BlobId;
use crate::records::Parent;
use corpus::{CollectionId, DeletionId, DocumentId, EvaluationId, JobId, KeyId, Row, TenantId, TraceId};

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

/// What of a chunk doesn't move: [`crate::records::ChunkRecord`].
pub(crate) fn chunk(tenant: &TenantId, collection: &CollectionId, row: Row) -> Vec<u8> {
    key(b'K', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), &row.to_be_bytes()])
}

pub(crate) fn chunks(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'K', parts!(tenant, collection))
}

/// A page of the places of one version's chunks: an array of [`crate::records::Place`].
pub(crate) fn place_page(tenant: &TenantId, collection: &CollectionId, document: &DocumentId, version: u32, page: u32) -> Vec<u8> {
    let mut key = places(tenant, collection, document, version);
    key.extend_from_slice(&page.to_be_bytes());
    key
}

/// All pages of one version. The version is four bytes, so that no version's prefix reaches into another's.
pub(crate) fn places(tenant: &TenantId, collection: &CollectionId, document: &DocumentId, version: u32) -> Vec<u8> {
    let parts: &[&[u8]] =
        &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), document.as_str().as_bytes(), &version.to_be_bytes()];
    prefix(b'P', parts)
}

/// Document and version of a [`place_page`] key, behind the prefix of its collection.
pub(crate) fn version_of_places(key: &[u8], prefix: usize) -> Option<(DocumentId, u32)> {
    let rest = key.get(prefix..)?;
    let end = rest.iter().position(|byte| *byte == SEPARATOR)?;
    let document = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
    let version = rest.get(end + 1..)?.first_chunk::<4>()?;
    Some((document, u32::from_be_bytes(*version)))
}

/// The pages of all versions of a document.
pub(crate) fn places_of(tenant: &TenantId, collection: &CollectionId, document: &DocumentId) -> Vec<u8> {
    prefix(b'P', parts!(tenant, collection, document))
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

/// Rows and places that no served version names: [`crate::records::Unserved`]. The job or deletion that they
/// come from tells them apart.
pub(crate) fn unserved(tenant: &TenantId, collection: &CollectionId, origin: &str) -> Vec<u8> {
    key(b'G', &[tenant.as_str().as_bytes(), collection.as_str().as_bytes(), origin.as_bytes()])
}

pub(crate) fn unserved_of(tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(b'G', parts!(tenant, collection))
}

pub(crate) fn all_unserved() -> Vec<u8> {
    prefix(b'G', &[])
}

/// A collection whose record is gone and whose rest is being removed: [`crate::records::CollectionRemoval`].
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

/// A pair of the gateway's ledger; the name is the ledger's own and holds no zero byte.
pub(crate) fn ledger(name: &str) -> Vec<u8> {
    key(b'M', &[name.as_bytes()])
}

/// The name in a [`ledger`] key.
pub(crate) fn ledger_name(key: &[u8]) -> String {
    String::from_utf8_lossy(key.get(2..).unwrap_or_default()).into_owned()
}

/// Kind of what somebody says of an answer: [`crate::feedback::FeedbackRecord`].
pub(crate) const FEEDBACK: u8 = b'Z';

/// The name of the key is ours and holds no zero byte.
pub(crate) fn feedback(tenant: &TenantId, collection: &CollectionId, trace: &TraceId, key_name: &str) -> Vec<u8> {
    let parts = [tenant.as_str(), collection.as_str(), trace.as_str(), key_name];
    key(FEEDBACK, &parts.map(str::as_bytes))
}

pub(crate) fn feedback_of(tenant: &TenantId, collection: &CollectionId, trace: &TraceId) -> Vec<u8> {
    prefix(FEEDBACK, parts!(tenant, collection, trace))
}

pub(crate) fn feedback_of_tenant(tenant: &TenantId) -> Vec<u8> {
    prefix(FEEDBACK, parts!(tenant))
}

/// What a tenant takes: [`crate::TenantUsage`].
pub(crate) fn usage(tenant: &TenantId) -> Vec<u8> {
    key(b'Q', parts!(tenant))
}

/// Documents of all collections of a tenant.
pub(crate) fn tenant_documents(tenant: &TenantId) -> Vec<u8> {
    prefix(b'D', parts!(tenant))
}

pub(crate) fn all_blob_uses(tenant: &TenantId) -> Vec<u8> {
    prefix(b'B', parts!(tenant))
}

/// What a deletion removed: [`crate::records::DeletionReceipt`].
pub(crate) fn deletion(tenant: &TenantId, deletion: &DeletionId) -> Vec<u8> {
    key(b'R', parts!(tenant, deletion))
}

/// A deletion after which nobody has said yet that the caches are purged → the id of its collection.
pub(crate) fn unpurged(tenant: &TenantId, deletion: &DeletionId) -> Vec<u8> {
    key(b'O', parts!(tenant, deletion))
}

pub(crate) fn all_unpurged() -> Vec<u8> {
    prefix(b'O', &[])
}

/// Kind of a batch: [`crate::batches::BatchRecord`].
pub(crate) const BATCH: u8 = b'T';
/// Kind of a piece of an item of a batch: JSON.
pub(crate) const BATCH_ITEM: u8 = b'W';
/// Kind of a piece of what came of an item: JSON.
pub(crate) const BATCH_RESULT: u8 = b'Y';

pub(crate) fn batch(tenant: &TenantId, batch: &JobId) -> Vec<u8> {
    key(BATCH, parts!(tenant, batch))
}

pub(crate) fn batches(tenant: &TenantId) -> Vec<u8> {
    prefix(BATCH, parts!(tenant))
}

/// One kind of what belongs to a batch.
pub(crate) fn below_batch(kind: u8, tenant: &TenantId, batch: &JobId) -> Vec<u8> {
    prefix(kind, parts!(tenant, batch))
}

/// All pieces of one item or result.
pub(crate) fn batch_pieces(kind: u8, tenant: &TenantId, batch: &JobId, index: u32) -> Vec<u8> {
    let mut pieces = below_batch(kind, tenant, batch);
    pieces.extend_from_slice(&index.to_be_bytes());
    pieces
}

/// One of them. Both numbers are four bytes at the end, so that pieces sort by item and then by part.
pub(crate) fn batch_piece(kind: u8, tenant: &TenantId, batch: &JobId, index: u32, part: u32) -> Vec<u8> {
    let mut piece = batch_pieces(kind, tenant, batch, index);
    piece.extend_from_slice(&part.to_be_bytes());
    piece
}

/// The item that a piece belongs to.
pub(crate) fn index_of_piece(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.last_chunk::<8>()?.first_chunk::<4>()?))
}

/// Kind of an evaluation: [`crate::evaluations::EvaluationRecord`].
pub(crate) const EVALUATION: u8 = b'e';
/// Kind of what came of one of its cases: JSON.
pub(crate) const EVALUATION_RESULT: u8 = b'r';

pub(crate) fn evaluation(tenant: &TenantId, evaluation: &EvaluationId) -> Vec<u8> {
    key(EVALUATION, parts!(tenant, evaluation))
}

pub(crate) fn evaluations(tenant: &TenantId) -> Vec<u8> {
    prefix(EVALUATION, parts!(tenant))
}

pub(crate) fn evaluation_results(tenant: &TenantId, evaluation: &EvaluationId) -> Vec<u8> {
    prefix(EVALUATION_RESULT, parts!(tenant, evaluation))
}

pub(crate) fn evaluation_result(tenant: &TenantId, evaluation: &EvaluationId, index: u32) -> Vec<u8> {
    let mut key = evaluation_results(tenant, evaluation);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The case at the end of an [`evaluation_result`] key.
pub(crate) fn case_of_result(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.last_chunk::<4>()?))
}

/// Everything of one kind, of all tenants.
pub(crate) fn all_of(kind: u8) -> Vec<u8> {
    prefix(kind, &[])
}

/// What an idempotency key was answered with.
pub(crate) fn idempotency(tenant: &TenantId, key_of_caller: &str) -> Vec<u8> {
    key(b'I', &[tenant.as_str().as_bytes(), key_of_caller.as_bytes()])
}

/// One kind of key below one collection.
pub(crate) fn below(kind: u8, tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
    prefix(kind, parts!(tenant, collection))
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
    fn places_of_one_version_are_not_another_versions() {
        let (tenant, collection, document) = (TenantId::default(), CollectionId::generate(), DocumentId::generate());
        let prefix = places(&tenant, &collection, &document, 1);
        assert!(place_page(&tenant, &collection, &document, 1, 0x0100_0000).starts_with(&prefix));
        assert!((2..70_000).all(|version| !place_page(&tenant, &collection, &document, version, 1).starts_with(&prefix)));
        assert!(prefix.starts_with(&places_of(&tenant, &collection, &document)));
        let page = place_page(&tenant, &collection, &document, 7, 0);
        assert_eq!(version_of_places(&page, below(b'P', &tenant, &collection).len()), Some((document, 7)));
    }

    #[test]
    fn a_tenant_is_no_prefix_of_another() {
        let id = CollectionId::generate();
        let long: TenantId = "ab".parse().unwrap();
        let short: TenantId = "a".parse().unwrap();
        assert!(!collection(&long, &id).starts_with(&collections(&short)));
    }
}
