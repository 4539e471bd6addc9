//! `/v1/backups`: backups of the whole server, one at a time, as files in `<data_dir>/backups/`.
//! Beside each lies a note (JSON) that says what is in it; without one a file is not listed.

use super::collections::rfc3339;
use super::extract::{Body, IdempotencyKey, request_hash};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use corpus::TraceId;
use futures::stream::try_unfold;
use index::backup::{BackupError, BackupOptions, BackupSummary};
use index::store::atomic_file;
use index::{CatalogError, Once};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;

/// Backups that are kept; another is refused until one is deleted.
const KEPT_MAX: usize = 100;
/// Failures that are remembered; the oldest goes first.
const FAILURES_MAX: usize = 100;
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a download that are read at a time.
const PAGE_BYTES: usize = 256 * 1024;

/// The folder of backups, and those that it does not hold: the one that runs and those that failed.
pub(crate) struct Backups {
    folder: PathBuf,
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    running: Option<Run>,
    failed: VecDeque<(Run, String)>,
}

#[derive(Clone)]
struct Run {
    id: String,
    created_at: OffsetDateTime,
    once: Option<Once>,
}

/// The note beside a backup.
#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// The idempotency key that it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once: Option<Once>,
    summary: BackupSummary,
}

/// What a request for a backup leads to.
enum Begun {
    New(Run),
    /// It was asked for before: the backup's id.
    Before(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    name: Option<String>,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreateBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let once = caller.once(key, request_hash("/v1/backups", &body));
    let begun = app.blocking(|app| match app.backups.begin(body.name, once)? {
        Begun::New(run) => Ok((view(&run, "running", None, None), true)),
        Begun::Before(id) => Ok((app.backups.view(&id)?, false)),
    });
    let (view, is_new) = begun.await?;
    if !is_new {
        return Ok((StatusCode::ACCEPTED, Json(view)));
    }
    tokio::spawn(async move {
        let made = app.blocking(|app| {
            let options = BackupOptions { reserve_bytes: app.config.index.disk_reserve_bytes, should_stop: &|| app.is_stopping() };
            app.backups.run(|path| app.catalog.backup(path, &options));
            Ok(())
        });
        if let Err(error) = made.await {
            app.backups.end(Err(error.detail));
        }
    });
    Ok((StatusCode::ACCEPTED, Json(view)))
}

pub(crate) async fn list(State(app): State<AppState>) -> Result<Json<Value>, ApiError> {
    let data = app.blocking(|app| app.backups.list()).await?;
    Ok(Json(json!({ "data": data, "next_cursor": null })))
}

pub(crate) async fn get(State(app): State<AppState>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.blocking(move |app| app.backups.view(&id)).await?))
}

pub(crate) async fn content(State(app): State<AppState>, Path(id): Path<String>) -> Result<impl IntoResponse, ApiError> {
    let path = app.blocking(move |app| app.backups.finished(&id)).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = tokio::fs::File::open(path).await.map_err(ApiError::internal)?;
    let length = file.metadata().await.map_err(ApiError::internal)?.len();
    let stream = try_unfold(file, async |mut file| {
        let mut bytes = Vec::with_capacity(PAGE_BYTES);
        let read = (&mut file).take(PAGE_BYTES as u64).read_to_end(&mut bytes).await?;
        Ok::<_, io::Error>((read > 0).then_some((bytes, file)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Bytes::from_stream(stream)))
}

pub(crate) async fn delete(State(app): State<AppState>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let deleted = app.blocking(move |app| {
        app.backups.delete(&id)?;
        Ok(json!({ "id": id, "deleted": true }))
    });
    Ok(Json(deleted.await?))
}

impl Backups {
    /// Over a folder that is made when the first backup is. Sweeps what a crash left half-written.
    pub(crate) fn new(folder: PathBuf) -> Self {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') && (name.ends_with(".partial") || name.ends_with(".commits")) {
                // What can't be removed now is in nobody's way.
                let _ = fs::remove_file(entry.path());
            }
        }
        let backups = Self { folder, runs: Mutex::default() };
        backups.note_what_has_none();
        backups
    }

    fn begin(&self, name: Option<String>, once: Option<Once>) -> Result<Begun, ApiError> {
        let id = name.unwrap_or_else(|| TraceId::generate().as_str().replacen(TraceId::PREFIX, "bak_", 1));
        if !is_name(&id) {
            let detail =
                format!("a backup's name has 1 to {NAME_BYTES_MAX} of a-z, 0-9, '_', '-' and '.' and starts with a letter or digit");
            return Err(ApiError::bad_request("bad_name", detail));
        }
        fs::create_dir_all(&self.folder).map_err(ApiError::internal)?;
        let mut runs = self.lock();
        if let Some(before) = self.begun_before(&runs, once.as_ref())? {
            return Ok(Begun::Before(before));
        }
        if runs.running.is_some() {
            return Err(ApiError::new(StatusCode::CONFLICT, "backup_running", "a backup is being made; one is made at a time"));
        }
        if self.path(&id).exists() {
            return Err(ApiError::new(StatusCode::CONFLICT, "name_taken", format!("there is a backup named {id:?} already")));
        }
        if self.ids()?.len() >= KEPT_MAX {
            let detail = format!("there are {KEPT_MAX} backups already; delete one first");
            return Err(ApiError::new(StatusCode::CONFLICT, "too_many_backups", detail));
        }
        runs.failed.retain(|(run, _)| run.id != id);
        let run = Run { id, created_at: OffsetDateTime::now_utc(), once };
        runs.running = Some(run.clone());
        Ok(Begun::New(run))
    }

    /// The backup that was asked for under the same idempotency key.
    fn begun_before(&self, runs: &Runs, once: Option<&Once>) -> Result<Option<String>, ApiError> {
        let Some(once) = once else { return Ok(None) };
        let live = runs.running.iter().chain(runs.failed.iter().map(|(run, _)| run)).map(|run| (run.id.clone(), run.once.clone()));
        let noted = self.ids()?.into_iter().filter_map(|id| self.read_note(&id).ok()?.map(|note| (id, note.once)));
        let mut same_key = live.chain(noted).filter_map(|(id, before)| Some((id, before.filter(|before| before.key == once.key)?)));
        match same_key.next() {
            Some((_, before)) if before.request != once.request => Err(CatalogError::IdempotencyConflict.into()),
            before => Ok(before.map(|(id, _)| id)),
        }
    }

    fn run(&self, back_up: impl FnOnce(&std::path::Path) -> Result<BackupSummary, BackupError>) {
        let Some(run) = self.lock().running.clone() else { return };
        let made = back_up(&self.path(&run.id)).map_err(|error| error.to_string()).and_then(|summary| {
            let note = Note { created_at: run.created_at, once: run.once.clone(), summary };
            self.write_note(&run.id, &note).map_err(|error| error.to_string())
        });
        self.end(made);
    }

    fn write_note(&self, id: &str, note: &Note) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(note).map_err(io::Error::other)?;
        atomic_file::replace(&self.note(id), &self.folder.join(format!(".{id}.json.partial")), &bytes)
    }

    /// A kill between a backup and its note leaves the backup without: what is whole gets one.
    fn note_what_has_none(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".backup").filter(|id| is_name(id) && !self.note(id).exists()) else { continue };
            let noted = index::backup::check(&entry.path()).map_err(|error| error.to_string()).and_then(|summary| {
                let made_at = entry.metadata().and_then(|metadata| metadata.modified());
                let created_at = made_at.map_or_else(|_| OffsetDateTime::now_utc(), OffsetDateTime::from);
                self.write_note(id, &Note { created_at, once: None, summary }).map_err(|error| error.to_string())
            });
            match noted {
                Ok(()) => tracing::info!(backup = id, "a backup that had no note has one now"),
                Err(reason) => tracing::warn!(file = name, reason, "not a backup that could be restored"),
            }
        }
    }

    fn end(&self, made: Result<(), String>) {
        let mut runs = self.lock();
        let Some(run) = runs.running.take() else { return };
        match made {
            Ok(()) => tracing::info!(backup = run.id, "backup made"),
            Err(reason) => {
                tracing::error!(backup = run.id, reason, "no backup was made");
                runs.failed.push_back((run, reason));
                if runs.failed.len() > FAILURES_MAX {
                    runs.failed.pop_front();
                }
            }
        }
    }

    fn view(&self, id: &str) -> Result<Value, ApiError> {
        let runs = self.lock();
        if let Some(run) = runs.running.iter().find(|run| run.id == id) {
            return Ok(view(run, "running", None, None));
        }
        if let Some((run, reason)) = runs.failed.iter().find(|(run, _)| run.id == id) {
            return Ok(view(run, "failed", None, Some(reason)));
        }
        self.noted(id)?.ok_or_else(|| ApiError::not_found("backup", id))
    }

    fn noted(&self, id: &str) -> Result<Option<Value>, ApiError> {
        let Some(note) = self.read_note(id)? else { return Ok(None) };
        let run = Run { id: id.to_owned(), created_at: note.created_at, once: note.once };
        Ok(Some(view(&run, "succeeded", Some(&note.summary), None)))
    }

    fn read_note(&self, id: &str) -> Result<Option<Note>, ApiError> {
        if !is_name(id) {
            return Ok(None);
        }
        let bytes = match fs::read(self.note(id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(ApiError::internal)?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(ApiError::internal)
    }

    fn list(&self) -> Result<Vec<Value>, ApiError> {
        let mut ids = self.ids()?;
        {
            let runs = self.lock();
            ids.extend(runs.running.iter().chain(runs.failed.iter().map(|(run, _)| run)).map(|run| run.id.clone()));
        }
        ids.sort();
        ids.dedup();
        ids.iter().map(|id| self.view(id)).collect()
    }

    fn ids(&self) -> Result<Vec<String>, ApiError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(ApiError::internal)?,
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).filter(|id| is_name(id)).collect())
    }

    fn finished(&self, id: &str) -> Result<PathBuf, ApiError> {
        let is_made = self.view(id)?.get("status") == Some(&json!("succeeded"));
        if is_made {
            Ok(self.path(id))
        } else {
            Err(ApiError::new(StatusCode::CONFLICT, "not_ready", "this backup is not made; its status says why"))
        }
    }

    fn delete(&self, id: &str) -> Result<(), ApiError> {
        self.view(id)?;
        let mut runs = self.lock();
        if runs.running.as_ref().is_some_and(|run| run.id == id) {
            return Err(ApiError::new(StatusCode::CONFLICT, "backup_running", "this backup is being made; delete it when it has ended"));
        }
        runs.failed.retain(|(run, _)| run.id != id);
        [self.path(id), self.note(id)].iter().try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(ApiError::internal(error)),
            _ => Ok(()),
        })
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.backup"))
    }

    fn note(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name is part of a path.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    starts_well && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain)
}

fn view(run: &Run, status: &str, summary: Option<&BackupSummary>, reason: Option<&str>) -> Value {
    json!({
        "id": run.id, "status": status, "created_at": rfc3339(run.created_at), "reason": reason,
        "bytes": summary.map(|summary| summary.bytes), "sha256": summary.map(|summary| &summary.sha256),
        "seq": summary.map(|summary| summary.seq), "records": summary.map(|summary| summary.pairs),
        "files": summary.map(|summary| summary.blobs),
    })
}
