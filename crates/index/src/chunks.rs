//! Reads and writes chunks. What stays when the text around a chunk changes lies below its row; where it
//! stands lies with the version, so that a new version rewrites no chunk that it leaves alone.

use crate::keys;
use crate::records::{ChunkRecord, Place};
use crate::store::{Batch, Store, StoreError};
use corpus::{Chunk, ChunkDraft, ChunkId, CollectionId, DocumentId, Embedding, Row, TenantId};
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use std::collections::BTreeMap;

/// Places in one value: a hit costs the reading of one such page.
pub(crate) const PLACES_PER_PAGE: usize = 64;

/// Why chunks can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored record can't be read or written.
    #[error("a stored record can't be read or written: {0}")]
    Record(#[from] serde_json::Error),
}

/// A chunk of a version, by its row and its number in the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) row: Row,
    pub(crate) document: &'a DocumentId,
    pub(crate) version: u32,
    pub(crate) ordinal: usize,
}

impl Wanted<'_> {
    fn page_key(&self, tenant: &TenantId, collection: &CollectionId) -> Vec<u8> {
        keys::place_page(tenant, collection, self.document, self.version, number(self.ordinal / PLACES_PER_PAGE))
    }
}

/// Chunks in the order asked, all from the same moment; `None` where the row or the version is gone.
pub(crate) fn read(
    store: &dyn Store,
    tenant: &TenantId,
    collection: &CollectionId,
    wanted: &[Wanted<'_>],
) -> Result<Vec<Option<Chunk>>, ChunkError> {
    let mut page_keys: Vec<_> = wanted.iter().map(|one| one.page_key(tenant, collection)).collect();
    page_keys.sort();
    page_keys.dedup();
    let rows = wanted.iter().map(|one| keys::chunk(tenant, collection, one.row));
    let keys: Vec<_> = rows.chain(page_keys.iter().cloned()).collect();
    let mut values = store.multi_get(&keys)?;
    let page_values = values.split_off(wanted.len().min(values.len()));
    let pages: BTreeMap<Vec<u8>, Vec<u8>> = page_keys.into_iter().zip(page_values).filter_map(|(key, value)| Some((key, value?))).collect();
    let chunk = |(one, value): (&Wanted<'_>, Option<Vec<u8>>)| {
        let Some((value, page)) = value.zip(pages.get(&one.page_key(tenant, collection))) else { return Ok(None) };
        let Some(place) = place_at(page, one.ordinal % PLACES_PER_PAGE)? else { return Ok(None) };
        Ok(Some(assemble(one, serde_json::from_slice(&value)?, &place)))
    };
    wanted.iter().zip(values).map(chunk).collect()
}

/// One place of a page; the others are passed over, which costs a fraction of reading them.
fn place_at(page: &[u8], index: usize) -> Result<Option<Place>, serde_json::Error> {
    struct At(usize);

    impl<'de> Visitor<'de> for At {
        type Value = Option<Place>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("places")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut places: A) -> Result<Option<Place>, A::Error> {
            for _ in 0..self.0 {
                if places.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            let place = places.next_element()?;
            while places.next_element::<IgnoredAny>()?.is_some() {}
            Ok(place)
        }
    }

    let mut page = serde_json::Deserializer::from_slice(page);
    let place = page.deserialize_seq(At(index))?;
    page.end()?;
    Ok(place)
}

fn assemble(wanted: &Wanted<'_>, record: ChunkRecord, place: &Place) -> Chunk {
    Chunk {
        id: ChunkId::new(&record.document, wanted.row),
        document_id: record.document,
        version: wanted.version,
        ordinal: number(wanted.ordinal),
        draft: ChunkDraft {
            span: place.span,
            text: record.text,
            heading_path: record.heading_path,
            page: place.page,
            tokens: record.tokens,
        },
    }
}

/// Puts a chunk that is new, and its vector, below its row.
pub(crate) fn put(
    batch: &mut Batch,
    tenant: &TenantId,
    collection: &CollectionId,
    document: &DocumentId,
    row: Row,
    (draft, embedding): &(ChunkDraft, Embedding),
) -> Result<(), ChunkError> {
    let ChunkDraft { text, heading_path, tokens, .. } = draft.clone();
    let record = ChunkRecord { document: document.clone(), text, heading_path, tokens };
    batch.put(keys::chunk(tenant, collection, row), serde_json::to_vec(&record)?);
    let vector: Vec<u8> = embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
    batch.put(keys::vector(tenant, collection, row), vector);
    Ok(())
}

/// The pages of places of a version's chunks, in document order.
pub(crate) fn place_pages(
    tenant: &TenantId,
    collection: &CollectionId,
    document: &DocumentId,
    version: u32,
    chunks: &[(ChunkDraft, Embedding)],
) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), ChunkError>> {
    chunks.chunks(PLACES_PER_PAGE).enumerate().map(move |(page, some)| {
        let places: Vec<Place> = some.iter().map(|(draft, _)| Place { span: draft.span, page: draft.page }).collect();
        let key = keys::place_page(tenant, collection, document, version, number(page));
        Ok::<_, ChunkError>((key, serde_json::to_vec(&places)?))
    })
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VALUE_BYTES_MAX;
    use corpus::Span;

    #[test]
    fn a_full_page_of_the_largest_places_is_a_value() {
        let span = Span { byte_start: usize::MAX, byte_end: usize::MAX, char_start: usize::MAX, char_end: usize::MAX };
        let page = vec![Place { span, page: Some(u32::MAX) }; PLACES_PER_PAGE];
        let value = serde_json::to_vec(&page).unwrap();
        assert!(value.len() < VALUE_BYTES_MAX / 10, "{}", value.len());
        assert_eq!(serde_json::from_slice::<Vec<Place>>(&value).unwrap(), page);
    }

    #[test]
    fn one_place_is_read_out_of_a_page_that_is_whole() {
        let at = |number: usize| Span { byte_start: number, byte_end: number + 9, char_start: number, char_end: number + 8 };
        let page: Vec<Place> = (0..5).map(|number| Place { span: at(number), page: (number > 2).then_some(7) }).collect();
        let value = serde_json::to_vec(&page).unwrap();
        for index in 0..7 {
            assert_eq!(place_at(&value, index).unwrap(), page.get(index).copied());
        }
        for end in 0..value.len() {
            assert!(place_at(&value[..end], 0).is_err(), "{end} bytes");
        }
        assert!(place_at(b"{}", 0).is_err() && place_at(b"[[0,1,0,1,null]]x", 0).is_err());
    }
}
