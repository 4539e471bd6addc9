//! Uploads: `POST …/documents` (files as multipart, or one document as JSON) and
//! `PUT …/documents/{external_id}` (a new version of one).

use super::collections::{find_or_default, hex};
use super::documents::view;
use super::extract::{Body, IdempotencyKey, Params};
use super::receive::Receipt;
use super::wait;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{StatusCode, header};
use corpus::{Acl, Metadata, TenantId};
use index::records::CollectionRecord;
use index::{Admitted, Once, Upload};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Longest name of a document.
const NAME_BYTES_MAX: usize = 1024;

/// Parts of a form beside its files.
const FIELDS_MAX: usize = 16;

/// Longest field of a form that is not a file, in bytes.
const FIELD_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadParams {
    /// Answer when the documents are searchable (or failed) and not before.
    #[serde(default)]
    wait: bool,
}

/// One document as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentBody {
    text: Option<String>,
    url: Option<String>,
    name: Option<String>,
    metadata: Option<Metadata>,
    external_id: Option<String>,
    acl: Option<Acl>,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Params(params): Params<UploadParams>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let held = receipt(&request)?;
    let uploads = read_uploads(&app, request).await?;
    take_in(app, caller, collection, Received { uploads, key, held }, params).await
}

pub(crate) async fn replace(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, external_id)): Path<(String, String)>,
    Params(params): Params<UploadParams>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let held = receipt(&request)?;
    let mut uploads = read_uploads(&app, request).await?;
    let [upload] = uploads.as_mut_slice() else {
        return Err(ApiError::bad_request("one_file_expected", "PUT takes exactly one file"));
    };
    if upload.external_id.as_ref().is_some_and(|given| *given != external_id) {
        return Err(ApiError::bad_request("bad_external_id", "external_id in the body differs from the one in the path"));
    }
    upload.external_id = Some(external_id);
    take_in(app, caller, collection, Received { uploads, key: None, held }, params).await
}

/// What came in, with its share of the budget for bodies.
struct Received {
    uploads: Vec<Upload>,
    /// The idempotency key.
    key: Option<String>,
    held: Receipt,
}

fn receipt(request: &Request) -> Result<Receipt, ApiError> {
    request.extensions().get().cloned().ok_or_else(|| ApiError::internal("the request was not received by its layer"))
}

/// Durable first; then the answer, at once or when the documents are through.
async fn take_in(
    app: AppState,
    caller: Caller,
    collection: String,
    received: Received,
    params: UploadParams,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let tenant = caller.tenant.clone();
    let admitted = app.blocking(move |app| {
        let Received { uploads, key, held } = received;
        let once = caller.once(key, fingerprint(&collection, &uploads));
        let admitted = admit(app, &caller, &collection, uploads, once.as_ref());
        // On disk or refused: whoever waits for the documents holds no bytes.
        held.release();
        admitted
    });
    let (collection, admitted) = admitted.await?;
    let has_ended = params.wait && wait::until_searchable(&app, &tenant, &collection, &admitted).await?;
    let body = app.blocking(move |app| answer(app, &collection, &admitted, params.wait)).await?;
    Ok((if has_ended { StatusCode::OK } else { StatusCode::ACCEPTED }, Json(body)))
}

fn admit(
    app: &App,
    caller: &Caller,
    collection: &str,
    uploads: Vec<Upload>,
    once: Option<&Once>,
) -> Result<(CollectionRecord, Vec<Admitted>), ApiError> {
    if !app.ingest.has_room_for(uploads.len()) {
        let retry_after = Duration::from_secs(5);
        return Err(ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "queue_full", "too many documents wait to be processed", retry_after));
    }
    let collection = find_or_default(app, caller, collection)?;
    collection.model.check(app.embedder.model())?;
    let admitted = app.catalog.admit(&collection, &caller.principals, uploads, once)?;
    // Known ones too: a job that has ended is dropped at once.
    for one in &admitted {
        enqueue(app, &caller.tenant, one);
    }
    Ok((collection, admitted))
}

fn enqueue(app: &App, tenant: &TenantId, admitted: &Admitted) {
    if let Some(job) = &admitted.job {
        app.ingest.enqueue(tenant, job);
    }
}

/// `{documents: [{id, status, job_id, …}]}`; whole documents for those who waited.
fn answer(app: &App, collection: &CollectionRecord, admitted: &[Admitted], is_whole: bool) -> Result<Value, ApiError> {
    let one = |one: &Admitted| {
        let record = app.catalog.document(collection, one.document.as_str())?;
        let mut document = view(app, collection, &record)?;
        if let Some(fields) = document.as_object_mut() {
            if !is_whole {
                fields.retain(|field, _| ["id", "status", "job_id", "name", "external_id", "code", "reason"].contains(&field.as_str()));
            }
            fields.insert("duplicate".into(), json!(one.is_known));
        }
        Ok::<_, ApiError>(document)
    };
    let documents = admitted.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "documents": documents }))
}

async fn read_uploads(app: &AppState, request: Request) -> Result<Vec<Upload>, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let uploads = if content_type.starts_with("multipart/form-data") {
        let multipart = Multipart::from_request(request, app).await;
        let multipart = multipart.map_err(|rejection| ApiError::bad_request("bad_multipart", rejection.body_text()))?;
        Form::read(multipart, app.config.server.upload_files_max).await?.into_uploads()?
    } else {
        let Body(body) = Body::<DocumentBody>::from_request(request, app).await?;
        vec![body.into_upload()?]
    };
    if let Some(long) = uploads.iter().find(|upload| upload.name.len() > NAME_BYTES_MAX) {
        return Err(ApiError::bad_request("bad_name", format!("a name has {} bytes; at most {NAME_BYTES_MAX} are kept", long.name.len())));
    }
    match uploads.iter().find(|upload| upload.bytes.is_empty()) {
        Some(empty) => Err(ApiError::bad_request("empty_file", format!("{:?} has no bytes", empty.name))),
        None => Ok(uploads),
    }
}

impl DocumentBody {
    fn into_upload(self) -> Result<Upload, ApiError> {
        let text = match (self.text, self.url) {
            (Some(text), None) => text,
            (None, Some(_)) => {
                let detail = "fetching documents by URL is off on this server; send the file or its text";
                return Err(ApiError::bad_request("url_ingest_disabled", detail));
            }
            _ => return Err(ApiError::bad_request("bad_body", "send either text or url")),
        };
        let name = self.name.or_else(|| self.external_id.clone()).unwrap_or_else(|| "untitled.txt".into());
        let (metadata, acl) = (self.metadata, self.acl);
        Ok(Upload { bytes: text.into_bytes(), name, metadata, acl, external_id: self.external_id })
    }
}

/// The fields of a multipart upload.
#[derive(Default)]
struct Form {
    files: Vec<(String, Vec<u8>)>,
    metadata: Option<Metadata>,
    acl: Option<Acl>,
    external_id: Option<String>,
}

impl Form {
    async fn read(mut multipart: Multipart, files_max: usize) -> Result<Self, ApiError> {
        let mut form = Self::default();
        let mut parts = 0;
        while let Some(field) = multipart.next_field().await.map_err(|error| multipart_error(&error))? {
            parts += 1;
            if parts > files_max + FIELDS_MAX {
                return Err(ApiError::bad_request("too_many_parts", format!("a form takes at most {} parts", files_max + FIELDS_MAX)));
            }
            form.take(field, files_max).await?;
        }
        if form.files.is_empty() {
            return Err(ApiError::bad_request("no_file", "the upload has no field named file"));
        }
        Ok(form)
    }

    async fn take(&mut self, field: Field<'_>, files_max: usize) -> Result<(), ApiError> {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if self.files.len() == files_max => {
                Err(ApiError::bad_request("too_many_files", format!("one upload takes at most {files_max} files")))
            }
            "file" => {
                let file_name = field.file_name().filter(|name| !name.is_empty()).unwrap_or("untitled").to_owned();
                let bytes = field.bytes().await.map_err(|error| multipart_error(&error))?;
                self.files.push((file_name, bytes.to_vec()));
                Ok(())
            }
            "metadata" => parse_field(&name, field).await.map(|value| self.metadata = Some(value)),
            "acl" => parse_field(&name, field).await.map(|value| self.acl = Some(value)),
            "external_id" => {
                self.external_id = Some(text_of(&name, field).await?);
                Ok(())
            }
            _ => Err(ApiError::bad_request("unknown_field", format!("unknown field {name:?}; known: file, metadata, acl, external_id"))),
        }
    }

    fn into_uploads(self) -> Result<Vec<Upload>, ApiError> {
        if self.external_id.is_some() && self.files.len() > 1 {
            return Err(ApiError::bad_request("bad_external_id", "external_id names one document; send one file with it"));
        }
        let Self { files, metadata, acl, external_id } = self;
        let upload = |(name, bytes)| Upload { bytes, name, metadata: metadata.clone(), acl: acl.clone(), external_id: external_id.clone() };
        Ok(files.into_iter().map(upload).collect())
    }
}

async fn parse_field<T: serde::de::DeserializeOwned>(name: &str, field: Field<'_>) -> Result<T, ApiError> {
    let text = text_of(name, field).await?;
    serde_json::from_str(&text).map_err(|error| ApiError::bad_request("bad_field", format!("the field {name} is not valid: {error}")))
}

/// A field that is not a file, in UTF-8.
async fn text_of(name: &str, mut field: Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| multipart_error(&error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > FIELD_BYTES_MAX {
            let detail = format!("the field {name} has more than {FIELD_BYTES_MAX} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "field_too_large", detail));
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("bad_field", format!("the field {name} is not UTF-8")))
}

fn multipart_error(error: &MultipartError) -> ApiError {
    let code = if error.status() == StatusCode::PAYLOAD_TOO_LARGE { "body_too_large" } else { "bad_multipart" };
    ApiError::new(error.status(), code, error.body_text())
}

/// What makes two uploads the same request: the files, not how the form was encoded.
fn fingerprint(collection: &str, uploads: &[Upload]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("POST {collection}"));
    for upload in uploads {
        hash.update(format!("{:?}{:?}{:?}{:?}", upload.name, upload.metadata, upload.acl, upload.external_id));
        hash.update(upload.bytes.len().to_le_bytes());
        hash.update(&upload.bytes);
    }
    hex(&hash.finalize())
}
