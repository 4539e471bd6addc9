//! From the names in a request to records: the one way, so that what a caller may not use or read is
//! not found, in the same words and after the same look-ups as what never was. A test sees to it that
//! no handler asks the catalog on its own.

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use corpus::{CollectionId, DocumentId, EvaluationId, JobId, Principals};
use index::batches::{BatchAsker, BatchRecord};
use index::evaluations::EvaluationRecord;
use index::records::{CollectionRecord, DeletionReceipt, DocumentRecord, JobRecord};
use index::{CatalogError, Page};
use std::cell::RefCell;
use std::collections::HashMap;

/// Records read at a time behind the first page, where a caller may not read all of them.
const SCAN_PAGE: usize = 256;

/// The collection with this id or name.
pub(crate) fn collection(app: &App, caller: &Caller, name: &str) -> Result<CollectionRecord, ApiError> {
    let record = app.catalog.collection(&caller.tenant, name)?;
    if caller.may_use(&record) { Ok(record) } else { Err(ApiError::not_found("collection", name)) }
}

/// As [`collection`]; `None` where there is none that the caller could not make.
pub(crate) fn collection_or_room(app: &App, caller: &Caller, name: &str) -> Result<Option<CollectionRecord>, ApiError> {
    match app.catalog.collection(&caller.tenant, name) {
        Err(CatalogError::NotFound { .. }) if caller.may_use_name(name) => Ok(None),
        Ok(record) if !caller.may_use(&record) => Err(ApiError::not_found("collection", name)),
        found => Ok(Some(found?)),
    }
}

/// The document with this id or external id.
pub(crate) fn document(
    app: &App,
    caller: &Caller,
    collection: &str,
    document: &str,
) -> Result<(CollectionRecord, DocumentRecord), ApiError> {
    let collection = self::collection(app, caller, collection)?;
    let record = app.catalog.document(&collection, document)?;
    if record.may_be_read_by(&caller.principals) { Ok((collection, record)) } else { Err(ApiError::not_found("document", document)) }
}

/// The job with this id. One whose document is gone, or may not be read, is only for callers who may
/// read everything.
pub(crate) fn job(app: &App, caller: &Caller, id: &JobId) -> Result<JobRecord, ApiError> {
    let job = app.catalog.job(&caller.tenant, id)?;
    if caller.is_unbounded() {
        return Ok(job);
    }
    match document(app, caller, job.collection.as_str(), job.document.as_str()) {
        Ok(_) => Ok(job),
        Err(error) if error.code == "not_found" => Err(ApiError::not_found("job", id.as_str())),
        Err(error) => Err(error),
    }
}

/// The batch with this id: for who asked for it and may still use its collection, and for who manages the tenant.
pub(crate) fn batch(app: &App, caller: &Caller, id: &JobId) -> Result<BatchRecord, ApiError> {
    let record = app.catalog.batch(&caller.tenant, id)?;
    let of_usable = match record.work.collection() {
        Some(collection) => match self::collection(app, caller, collection.as_str()) {
            Err(error) if error.code == "not_found" => false,
            found => found.map(|_| true)?,
        },
        None => true,
    };
    if of_usable && caller.may_see(&record.asker) { Ok(record) } else { Err(ApiError::not_found("job", id.as_str())) }
}

/// The evaluation with this id: for who asked for it and may still use its collection, and for who manages the tenant.
pub(crate) fn evaluation(app: &App, caller: &Caller, id: &str) -> Result<EvaluationRecord, ApiError> {
    let not_found = || ApiError::not_found("evaluation", id);
    let parsed: EvaluationId = id.parse().map_err(|_| not_found())?;
    let record = app.catalog.evaluation(&caller.tenant, &parsed)?;
    if may_see_evaluation(app, caller, &record) { Ok(record) } else { Err(not_found()) }
}

/// Whether an evaluation of its tenant is there for the caller: its results tell of its collection.
pub(crate) fn may_see_evaluation(app: &App, caller: &Caller, record: &EvaluationRecord) -> bool {
    caller.may_see(&record.asker) && collection(app, caller, record.collection.as_str()).is_ok()
}

/// A job of either kind.
pub(crate) enum Job {
    /// Of a document.
    Ingest(JobRecord),
    Batch(BatchRecord),
}

/// The job or batch with this id.
pub(crate) fn any_job(app: &App, caller: &Caller, id: &JobId) -> Result<Job, ApiError> {
    match batch(app, caller, id) {
        Err(error) if error.code == "not_found" => Ok(Job::Ingest(job(app, caller, id)?)),
        found => Ok(Job::Batch(found?)),
    }
}

/// The receipt with this id. Only callers who may read everything: what a deleted document allowed is gone with it.
pub(crate) fn deletion(app: &App, caller: &Caller, id: &str) -> Result<DeletionReceipt, ApiError> {
    let not_found = || ApiError::not_found("deletion", id);
    let receipt = app.catalog.deletion(&caller.tenant, &id.parse().map_err(|_| not_found())?)?;
    if caller.is_unbounded() { Ok(receipt) } else { Err(not_found()) }
}

/// Whether the caller may see what somebody asked of a collection: its own, with bounds no narrower than then; all of the
/// tenant if it manages that; and in either case only of collections that it may still use. Each is looked for once.
pub(crate) fn recall<'c>(app: &'c App, caller: &'c Caller) -> impl Fn(&CollectionId, &BatchAsker) -> bool + 'c {
    let usable: RefCell<HashMap<CollectionId, bool>> = RefCell::default();
    move |id, asker| {
        caller.may_see(asker) && *usable.borrow_mut().entry(id.clone()).or_insert_with(|| collection(app, caller, id.as_str()).is_ok())
    }
}

/// Whether the caller may read a document of a collection today; one that is gone only whoever may read everything. Each is
/// looked for once.
pub(crate) fn reading<'c>(app: &'c App, caller: &'c Caller, collection: &'c CollectionId) -> impl Fn(&DocumentId) -> bool + 'c {
    let readable: RefCell<HashMap<DocumentId, bool>> = RefCell::default();
    move |id| {
        let is_readable = || document(app, caller, collection.as_str(), id.as_str()).is_ok();
        caller.principals == Principals::All || *readable.borrow_mut().entry(id.clone()).or_insert_with(is_readable)
    }
}

/// A whole page of what the caller may see: neither its length nor its cursor tells of anything else.
/// `fetch` gives up to so many items behind an id, and `id` an item's own.
pub(crate) fn page<T, I>(
    limit: usize,
    mut after: Option<I>,
    fetch: impl Fn(Option<&I>, usize) -> Result<Page<T>, CatalogError>,
    id: impl Fn(&T) -> I,
    may_see: impl Fn(&T) -> bool,
) -> Result<(Vec<T>, Option<I>), ApiError> {
    let mut seen = Vec::new();
    // One more than wanted: whether there is a next page is asked of what may be seen.
    let mut wanted = limit.saturating_add(1);
    loop {
        let page = fetch(after.as_ref(), wanted)?;
        after = page.items.last().map(&id).or(after);
        seen.extend(page.items.into_iter().filter(&may_see));
        if seen.len() > limit || !page.has_more {
            break;
        }
        wanted = SCAN_PAGE;
    }
    let has_more = seen.len() > limit;
    seen.truncate(limit);
    let next = seen.last().filter(|_| has_more).map(&id);
    Ok((seen, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(below: u32) -> impl Fn(Option<&u32>, usize) -> Result<Page<u32>, CatalogError> {
        move |after, limit| {
            let first = after.map_or(0, |after| after + 1);
            let items: Vec<u32> = (first..below).take(limit).collect();
            let has_more = items.last().map_or(first < below, |last| last + 1 < below);
            Ok(Page { items, has_more })
        }
    }

    proptest! {
        #[test]
        fn pages_are_as_if_the_rest_never_was(below in 0u32..1500, limit in 1usize..60, each in 1u32..400) {
            let may_see = |number: &u32| number.is_multiple_of(each);
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let (items, next) = page(limit, after, numbers(below), |number| *number, may_see).unwrap();
                // Full, unless it is the last one; and the last one has no cursor.
                prop_assert!(items.len() == limit || next.is_none());
                prop_assert_eq!(next, items.last().copied().filter(|_| next.is_some()));
                all.extend(items);
                after = next;
                if after.is_none() { break }
            }
            prop_assert_eq!(all, (0..below).filter(may_see).collect::<Vec<_>>());
        }
    }
}
