//! What a document holds: `…/text`, `…/content`, `…/chunks`.

use super::extract::{PageParams, Params};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use corpus::SpanIndex;
use index::CatalogError;
use index::blobs::BlobError;
use index::records::{CollectionRecord, DocumentRecord, ServedVersion};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeParams {
    byte_start: Option<usize>,
    byte_end: Option<usize>,
    char_start: Option<usize>,
    char_end: Option<usize>,
}

pub(crate) async fn text(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, document)): Path<(String, String)>,
    Params(range): Params<RangeParams>,
) -> Result<impl IntoResponse, ApiError> {
    let text = app.blocking(move |app| {
        let text = fresh(app, &caller, &collection, &document, |collection, record| Ok(app.catalog.text(collection, served(record)?)?))?;
        range.of(&text).map(str::to_owned)
    });
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.await?))
}

/// What stands below a document's record. A version that was replaced after its record was read takes its files
/// and places with it: then the new version is read.
fn fresh<T>(
    app: &App,
    caller: &Caller,
    collection: &str,
    document: &str,
    read: impl Fn(&CollectionRecord, &DocumentRecord) -> Result<T, Unreadable>,
) -> Result<T, ApiError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (collection, record) = find::document(app, caller, collection, document)?;
        match read(&collection, &record) {
            Err(Unreadable::Catalog(error)) if has_moved_on(&error) && attempts < READ_ATTEMPTS => {}
            outcome => return outcome.map_err(ApiError::from),
        }
    }
}

/// Looks at a document that is replaced all the while.
const READ_ATTEMPTS: usize = 3;

fn has_moved_on(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Superseded | CatalogError::Blob(BlobError::Missing { .. }))
}

/// Why something below a record can't be read.
enum Unreadable {
    Catalog(CatalogError),
    Answer(ApiError),
}

impl From<CatalogError> for Unreadable {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl From<ApiError> for Unreadable {
    fn from(error: ApiError) -> Self {
        Self::Answer(error)
    }
}

impl From<Unreadable> for ApiError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Catalog(error) => error.into(),
            Unreadable::Answer(error) => error,
        }
    }
}

impl RangeParams {
    /// The asked-for piece: bytes or characters, open ends allowed.
    fn of<'t>(&self, text: &'t str) -> Result<&'t str, ApiError> {
        let bytes = match (self.byte_start.or(self.byte_end), self.char_start.or(self.char_end)) {
            (Some(_), Some(_)) => return Err(ApiError::bad_request("bad_range", "give the range in bytes or in characters, not both")),
            (_, None) => Some(self.byte_start.unwrap_or(0)..self.byte_end.unwrap_or(text.len())),
            (None, Some(_)) => {
                let end = self.char_end.unwrap_or_else(|| text.chars().count());
                SpanIndex::new(text).byte_range(self.char_start.unwrap_or(0)..end)
            }
        };
        bytes.and_then(|bytes| text.get(bytes)).ok_or_else(|| {
            let detail =
                format!("the range must lie in the text's {} bytes, start before its end, and stand on character boundaries", text.len());
            ApiError::bad_request("bad_range", detail)
        })
    }
}

pub(crate) async fn original(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, document)): Path<(String, String)>,
) -> Result<impl IntoResponse, ApiError> {
    let (record, bytes) = app
        .blocking(move |app| {
            fresh(app, &caller, &collection, &document, |collection, record| {
                Ok((record.clone(), app.catalog.original(collection, record)?))
            })
        })
        .await?;
    let media_type = record.served.as_ref().map_or("application/octet-stream", |served| served.media_type.as_str()).to_owned();
    Ok((headers_of_download(media_type, &record.attributes.name), bytes))
}

/// A browser must save an uploaded file, never run it.
fn headers_of_download(media_type: String, name: &str) -> [(HeaderName, String); 3] {
    let encoded: String = name
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect();
    [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{encoded}")),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".into()),
    ]
}

pub(crate) async fn chunks(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, document)): Path<(String, String)>,
    Params(page): Params<PageParams>,
) -> Result<Json<Value>, ApiError> {
    let (limit, from) = (page.limit()?, page.after::<usize>()?.unwrap_or(0));
    let listed = app.blocking(move |app| {
        fresh(app, &caller, &collection, &document, |collection, record| chunk_page(app, collection, record, from, limit))
    });
    Ok(Json(listed.await?))
}

fn chunk_page(app: &App, collection: &CollectionRecord, record: &DocumentRecord, from: usize, limit: usize) -> Result<Value, Unreadable> {
    let page = app.catalog.chunks(collection, record, served(record)?, from, limit)?;
    let next = page.has_more.then(|| (from + limit).to_string());
    let chunk = |chunk: &corpus::Chunk| {
        json!({
            "id": chunk.id, "document_id": chunk.document_id, "version": chunk.version, "ordinal": chunk.ordinal,
            "text": chunk.draft.text, "span": chunk.draft.span, "heading_path": chunk.draft.heading_path,
            "page": chunk.draft.page, "tokens": chunk.draft.tokens,
        })
    };
    Ok(json!({ "data": page.items.iter().map(chunk).collect::<Vec<_>>(), "next_cursor": next }))
}

fn served(record: &DocumentRecord) -> Result<&ServedVersion, ApiError> {
    record.served.as_ref().ok_or_else(|| {
        let detail = "no version of this document is ready; its status says why";
        ApiError::new(StatusCode::CONFLICT, "not_ready", detail)
    })
}
