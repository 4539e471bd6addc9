//! One sound data directory, then every kind of damage: each is found under its code, and a repair
//! either puts it right or leaves it reported.

use super::*;
use crate::keys;
use crate::records::{Chunking, CollectionRecord, DocumentRecord, DocumentState};
use crate::store::{Batch, Store};
use crate::text::{TextChange, TextIndex};
use crate::vector::VectorParams;
use crate::{Catalog, CatalogParams, NewCollection, Processed, Upload};
use corpus::{ChunkDraft, Embedding, EmbeddingModel, JobId, Metadata, Principals, Span};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) fn open_catalog(data: &Path) -> Catalog {
    open_catalog_with(data, VectorParams::default())
}

fn open_catalog_with(data: &Path, vector: VectorParams) -> Catalog {
    let store = SledStore::open(store_folder(data), &SledOptions { cache_bytes: 1 << 20, reserve_bytes: 0 }).unwrap();
    let params = CatalogParams { views: view_folder(data), vector, collections_open_max: 4 };
    Catalog::new(Arc::new(store), Blobs::open(blob_folder(data)).unwrap(), params)
}

pub(crate) fn new_collection(catalog: &Catalog, name: &str) -> CollectionRecord {
    let model = EmbeddingModel {
        name: "m".into(),
        revision: "1".into(),
        dimension: 2,
        max_tokens: 64,
        languages: vec![],
        precision: corpus::Precision::F32,
    };
    let chunking = Chunking { strategy: "auto".into(), max_tokens: 64, overlap_tokens: 0 };
    let new = NewCollection { name: name.into(), model, chunking, metadata: Metadata::default() };
    catalog.create_collection(&TenantId::default(), new, None).unwrap()
}

/// A text of `words` words, one chunk a word.
pub(crate) fn processed(text: &str) -> Processed {
    let mut chunks = Vec::new();
    let mut start = 0;
    for word in text.split_inclusive(' ') {
        let span = Span::of(text, start..start + word.len()).unwrap();
        start += word.len();
        let draft = ChunkDraft { span, text: word.into(), heading_path: vec![], page: None, tokens: 3 };
        chunks.push((draft, Embedding::normalised(vec![1.0, start as f32], 2).unwrap()));
    }
    Processed {
        text: text.into(),
        media_type: "text/plain".into(),
        title: None,
        pages: None,
        warnings: vec![],
        chunks,
        embedded: 0,
        precision: corpus::Precision::F32,
    }
}

/// Takes a document in and commits it; its record.
pub(crate) fn add(catalog: &Catalog, at: &CollectionRecord, external: Option<&str>, text: &str) -> DocumentRecord {
    let bytes = format!("original of {text}").into_bytes();
    let upload = Upload { bytes, name: "d".into(), external_id: external.map(str::to_owned), ..Upload::default() };
    let admitted = catalog.admit(at, &Principals::All, vec![upload], None).unwrap().remove(0);
    let job = catalog.job(&at.tenant, &admitted.job.unwrap()).unwrap();
    let seq = catalog.commit_document(&job, processed(text)).unwrap();
    assert!(catalog.open_collection(at).unwrap().wait_applied(seq, Duration::from_secs(30)).unwrap());
    catalog.document(at, admitted.document.as_str()).unwrap()
}

pub(super) struct Fixture {
    pub(super) data: TempDir,
    pub(super) at: CollectionRecord,
    named: DocumentRecord,
    plain: DocumentRecord,
}

/// Two served documents (one of them in its second version), one queued, one deleted.
pub(super) fn fixture() -> Fixture {
    let data = tempfile::tempdir().unwrap();
    let catalog = open_catalog(data.path());
    let at = new_collection(&catalog, "c");
    add(&catalog, &at, Some("named"), "first version ");
    let named = add(&catalog, &at, Some("named"), "second version of it ");
    let plain = add(&catalog, &at, None, "déjà vu ");
    add(&catalog, &at, Some("gone"), "soon gone ");
    catalog.delete_document(&at, "gone").unwrap();
    let upload = Upload { bytes: b"queued".to_vec(), name: "q".into(), external_id: Some("queued".into()), ..Upload::default() };
    catalog.admit(&at, &Principals::All, vec![upload], None).unwrap();
    new_collection(&catalog, "empty");
    Fixture { data, at, named, plain }
}

impl Fixture {
    pub(super) fn change(&self, change: impl FnOnce(&mut Batch, &SledStore)) {
        let directory = DataDirectory::open(self.data.path()).unwrap();
        let mut batch = Batch::default();
        change(&mut batch, &directory.store);
        let seq = directory.store.commit(batch).unwrap();
        directory.store.durable(seq).unwrap();
    }

    /// Flips a bit of a stored value, below its checksum.
    pub(super) fn damage(&self, key: &[u8]) {
        let directory = DataDirectory::open(self.data.path()).unwrap();
        let tree = directory.store.tree();
        let stored = [&[1], key].concat();
        let mut value = tree.0.get(&stored).unwrap().expect("a value to damage").to_vec();
        *value.last_mut().unwrap() ^= 1;
        tree.0.insert(stored, value).unwrap();
    }

    fn blob(&self, blob: &crate::blobs::BlobId) -> PathBuf {
        self.data.path().join("blobs/default").join(&blob.as_str()[..2]).join(blob.as_str())
    }

    pub(super) fn codes(&self) -> Vec<&'static str> {
        let report = verify(self.data.path()).unwrap();
        report.findings.iter().map(|finding| finding.code).collect()
    }

    /// Expects these findings, then a repair that leaves nothing but notes.
    pub(super) fn is_repaired(&self, expected: &[&str]) {
        let found = self.codes();
        assert!(expected.iter().all(|code| found.contains(code)), "expected {expected:?}, found {found:?}");
        let mut rounds = 0;
        let report = repair(self.data.path(), |report| {
            rounds += 1;
            report.findings.iter().any(|finding| finding.fix.is_some())
        });
        let report = report.unwrap();
        assert!(report.is_sound() && rounds > 0, "{report:#?}");
        let documents = report.documents;
        assert!(verify(self.data.path()).unwrap().is_sound());
        // And a catalog opens on it.
        let catalog = open_catalog(self.data.path());
        assert_eq!(catalog.collection_state(&self.at).unwrap().documents, documents);
        catalog.open_collection(&self.at).unwrap();
    }
}

#[test]
fn a_sound_directory_has_no_findings() {
    let fixture = fixture();
    let report = verify(fixture.data.path()).unwrap();
    assert_eq!(report.findings, [], "{report:#?}");
    assert_eq!((report.collections, report.documents, report.chunks, report.jobs), (2, 3, 6, 5));
    assert_eq!(report.blobs, 3, "originals; texts are read with their chunks");
    let mut asked = false;
    assert_eq!(
        repair(fixture.data.path(), |_| {
            asked = true;
            true
        })
        .unwrap(),
        report
    );
    assert!(!asked, "nothing to repair, nothing asked");
}

#[test]
fn what_is_no_data_directory_or_in_use_is_said() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(verify(empty.path()), Err(VerifyError::Absent(_))));
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made");
    let fixture = fixture();
    let catalog = open_catalog(fixture.data.path());
    assert!(matches!(verify(fixture.data.path()), Err(VerifyError::InUse(_))));
    drop(catalog);
    let db = fixture.data.path().join("store/sled/db");
    std::fs::File::options().write(true).open(db).unwrap().set_len(100).unwrap();
    let report = verify(fixture.data.path()).unwrap();
    assert_eq!((report.errors, report.findings[0].code), (1, "store_unreadable"));
}

#[test]
fn a_damaged_chunk_or_vector_or_text_is_made_again_from_the_original() {
    let rows = |record: &DocumentRecord| record.served.as_ref().unwrap().rows.iter().collect::<Vec<_>>();
    let fixture = fixture();
    fixture.damage(&keys::chunk(&fixture.at.tenant, &fixture.at.id, rows(&fixture.named)[1]));
    fixture.damage(&keys::vector(&fixture.at.tenant, &fixture.at.id, rows(&fixture.plain)[0]));
    fixture.is_repaired(&["chunk_damaged", "vector_damaged"]);
    let catalog = open_catalog(fixture.data.path());
    for id in [&fixture.named.id, &fixture.plain.id] {
        let record = catalog.document(&fixture.at, id.as_str()).unwrap();
        assert_eq!((record.state.clone(), record.served), (DocumentState::Queued, None));
        let job = catalog.job(&fixture.at.tenant, &record.pending.unwrap().job).unwrap();
        catalog.commit_document(&job, processed("once more ")).unwrap();
    }
    drop(catalog);
    assert!(fixture.codes().is_empty());

    let fixture = self::fixture();
    std::fs::write(fixture.blob(&fixture.named.served.as_ref().unwrap().text), "changed").unwrap();
    fixture.is_repaired(&["text_damaged"]);
}

#[test]
fn wrong_chunks_and_vectors_are_found_though_their_checksums_fit() {
    let fixture = fixture();
    let rows: Vec<_> = fixture.named.served.as_ref().unwrap().rows.iter().collect();
    let (tenant, id) = (&fixture.at.tenant, &fixture.at.id);
    fixture.change(|batch, store| {
        let mut chunk: crate::records::ChunkRecord =
            serde_json::from_slice(&store.get(&keys::chunk(tenant, id, rows[0])).unwrap().unwrap()).unwrap();
        chunk.text.push('x');
        batch.put(keys::chunk(tenant, id, rows[0]), serde_json::to_vec(&chunk).unwrap());
        let strange = fixture.plain.served.as_ref().unwrap().rows.iter().next().unwrap();
        let other = store.get(&keys::chunk(tenant, id, strange)).unwrap().unwrap();
        batch.put(keys::chunk(tenant, id, rows[1]), other);
        batch.delete(keys::chunk(tenant, id, rows[3]));
        batch.put(keys::vector(tenant, id, rows[0]), [f32::NAN, 1.0].map(f32::to_le_bytes).concat());
        batch.put(keys::vector(tenant, id, rows[1]), [0.5_f32, 0.5].map(f32::to_le_bytes).concat());
        batch.put(keys::vector(tenant, id, rows[2]), [1.0_f32].map(f32::to_le_bytes).concat());
        batch.delete(keys::vector(tenant, id, rows[3]));
    });
    let found = fixture.codes();
    for code in ["span_wrong", "chunk_foreign", "chunk_missing", "vector_missing"] {
        assert!(found.contains(&code), "{code}: {found:?}");
    }
    assert_eq!(found.iter().filter(|code| **code == "vector_damaged").count(), 3);
    fixture.is_repaired(&[]);
}

#[test]
fn a_document_that_can_not_be_made_again_fails_and_nothing_of_it_is_deleted() {
    let fixture = fixture();
    let served = fixture.plain.served.clone().unwrap();
    fixture.damage(&keys::chunk(&fixture.at.tenant, &fixture.at.id, served.rows.iter().next().unwrap()));
    std::fs::write(fixture.blob(&served.original), "changed").unwrap();
    let report = repair(fixture.data.path(), |_| true).unwrap();
    let codes: Vec<_> = report.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["view_missing", "file_damaged"], "the loss stays reported");
    let aside = fixture.data.path().join("aside").join(format!("default-{}", served.text));
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "déjà vu ");
    assert!(fixture.blob(&served.original).exists());
    let catalog = open_catalog(fixture.data.path());
    let record = catalog.document(&fixture.at, fixture.plain.id.as_str()).unwrap();
    assert!(matches!(record.state, DocumentState::Failed { code, .. } if code == "damaged"));
}

#[test]
fn files_that_are_lost_or_not_used_are_told_apart() {
    let fixture = fixture();
    let blobs = Blobs::open(blob_folder(fixture.data.path())).unwrap();
    blobs.put(&TenantId::default(), b"nobody's").unwrap();
    std::fs::write(fixture.data.path().join("blobs/.tmp/1-0"), "half").unwrap();
    fixture.is_repaired(&["file_orphan", "file_unfinished"]);
    assert!(fixture.codes().is_empty());
    std::fs::remove_file(fixture.blob(&fixture.plain.served.as_ref().unwrap().original)).unwrap();
    assert_eq!(fixture.codes(), ["file_missing"]);
    assert_eq!(repair(fixture.data.path(), |_| true).unwrap().errors, 1);
}

#[test]
fn identities_names_and_uses_are_restored() {
    let fixture = fixture();
    let (tenant, id) = (&fixture.at.tenant, &fixture.at.id);
    let served = fixture.plain.served.clone().unwrap();
    fixture.damage(&keys::external_id(tenant, id, "named"));
    fixture.change(|batch, _| {
        batch.delete(keys::content(tenant, id, &served.original));
        batch.delete(keys::blob_use(tenant, &served.text, id, &fixture.plain.id));
        batch.delete(keys::collection_name(tenant, "c"));
        batch.put(keys::collection_name(tenant, "other"), serde_json::to_vec(id).unwrap());
        batch.put(keys::external_id(tenant, id, "nobody"), serde_json::to_vec(&fixture.named.id).unwrap());
        batch.put(keys::blob_use(tenant, &served.original, id, &fixture.named.id), "");
    });
    fixture.is_repaired(&["identity_dangling", "identity_missing", "use_missing", "use_dangling", "name_missing", "name_dangling"]);
    let catalog = open_catalog(fixture.data.path());
    assert_eq!(catalog.document(&fixture.at, "named").unwrap().id, fixture.named.id);
    assert_eq!(catalog.collection(tenant, "c").unwrap().id, *id);
}

#[test]
fn counters_rows_and_the_log_are_put_right() {
    let fixture = fixture();
    let (tenant, id) = (&fixture.at.tenant, &fixture.at.id);
    fixture.damage(&keys::state(tenant, id));
    fixture.change(|batch, _| {
        batch.delete(keys::change(tenant, id, 2));
        batch.put(keys::vector(tenant, id, 4000), [1.0_f32, 0.0].map(f32::to_le_bytes).concat());
        batch.put(keys::unserved(tenant, id, JobId::generate().as_str()), r#"{"rows":[[90,2]],"places":null,"was_served":false}"#);
        batch.put(keys::chunk(tenant, id, 91), "staged");
    });
    fixture.is_repaired(&["counters_wrong", "row_stray", "staged"]);
    let state = open_catalog(fixture.data.path()).collection_state(&fixture.at).unwrap();
    assert_eq!((state.documents, state.chunks, state.seq, state.log_start, state.next_row), (3, 6, 5, 3, 4001));
}

#[test]
fn a_tenants_usage_is_put_right() {
    for spoiled in [r#"{"collections":9,"documents":0,"bytes":1}"#, "?"] {
        let fixture = fixture();
        let tenant = &fixture.at.tenant;
        fixture.change(|batch, store| {
            assert!(store.get(&keys::usage(tenant)).unwrap().is_some(), "there are counters to spoil");
            batch.put(keys::usage(tenant), spoiled);
        });
        fixture.is_repaired(&["usage_wrong"]);
        let catalog = open_catalog(fixture.data.path());
        assert_eq!(catalog.usage(tenant).unwrap(), catalog.counted_usage(tenant).unwrap());
    }
}

#[test]
fn jobs_and_their_notes_are_put_right() {
    let fixture = fixture();
    let tenant = &fixture.at.tenant;
    let catalog = open_catalog(fixture.data.path());
    let queued = catalog.unfinished_jobs().unwrap().remove(0);
    drop(catalog);
    fixture.change(|batch, _| {
        batch.delete(keys::job(tenant, &queued.id));
        batch.put(keys::unfinished(&JobId::generate(), tenant), "");
        batch.put(keys::unfinished(&fixture.plain.served.as_ref().unwrap().job, tenant), "");
        batch.put(keys::idempotency(tenant, "k"), "{");
    });
    fixture.is_repaired(&["job_missing", "job_gone", "job_ended", "answer_damaged"]);
    assert_eq!(open_catalog(fixture.data.path()).unfinished_jobs().unwrap()[0].document, queued.document);
}

#[test]
fn views_are_thrown_away_when_in_doubt() {
    let fixture = fixture();
    let text = view_folder(fixture.data.path()).join("default").join(fixture.at.id.as_str()).join("text");
    let mut segment = std::fs::read_dir(&text).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.find(|path| path.extension().is_some_and(|ending| ending == "term")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    std::fs::create_dir_all(view_folder(fixture.data.path()).join("default").join("col_00000000000000000000000000")).unwrap();
    fixture.is_repaired(&["view_damaged", "view_orphan"]);
    let report = verify(fixture.data.path()).unwrap();
    assert!(report.is_sound());
}

#[test]
fn a_text_index_that_has_a_row_too_many_after_a_replay_is_rebuilt() {
    let fixture = fixture();
    let seq = open_catalog(fixture.data.path()).collection_state(&fixture.at).unwrap().seq;
    let text = view_folder(fixture.data.path()).join("default").join(fixture.at.id.as_str()).join("text");
    let stray = TextChange::Add { row: 9_999, text: "stray".into(), heading: String::new() };
    TextIndex::open(Some(&text)).unwrap().apply(vec![stray], seq - 1).unwrap();
    let open = open_catalog(fixture.data.path()).open_collection(&fixture.at).unwrap();
    assert_eq!(open.stats().1.rows, open.live().len());
    assert_eq!(open.remaining(&[9_999].into_iter().collect()).unwrap(), (0, 0));
}

#[test]
fn vector_segments_are_compared_with_the_store() {
    let fixture = fixture();
    let folder = view_folder(fixture.data.path()).join("default").join(fixture.at.id.as_str()).join("vectors");
    // A graph over the handful of rows there are.
    let build = || {
        let catalog = open_catalog_with(fixture.data.path(), VectorParams { exact_below: 1, ..VectorParams::default() });
        let collection = catalog.open_collection(&fixture.at).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while collection.stats().0.rows_in_graph == 0 {
            assert!(std::time::Instant::now() < deadline, "no graph");
            std::thread::yield_now();
        }
        std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path()
    };
    let segment = build();
    assert!(verify(fixture.data.path()).unwrap().is_sound());
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    fixture.is_repaired(&["view_damaged"]);
    assert!(!segment.exists());

    build();
    let row = fixture.plain.served.as_ref().unwrap().rows.iter().next().unwrap();
    let key = keys::vector(&fixture.at.tenant, &fixture.at.id, row);
    fixture.change(|batch, _| batch.put(key, [0.6_f32, 0.8].map(f32::to_le_bytes).concat()));
    fixture.is_repaired(&["view_differs"]);

    let segment = build();
    std::fs::write(segment.with_file_name("notes.txt"), "not a segment").unwrap();
    fixture.is_repaired(&["view_damaged"]);

    let cut_off = build().with_extension("tmp");
    std::fs::write(&cut_off, "the beginning of a segment").unwrap();
    let report = verify(fixture.data.path()).unwrap();
    assert_eq!(report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["file_unfinished"]);
    assert!(report.is_sound(), "a kill may leave one behind");
    build();
    assert!(!cut_off.exists(), "opening removes it");
}

#[test]
fn records_of_no_collection_are_found_and_unknown_kinds_are_noted() {
    let fixture = fixture();
    let nowhere = CollectionId::generate();
    fixture.change(|batch, _| {
        batch.put(keys::chunk(&TenantId::default(), &nowhere, 3), "x");
        batch.put(keys::state(&TenantId::default(), &nowhere), "{}");
        batch.put("~later\0x", "a record of a later version");
    });
    assert!(fixture.codes().contains(&"kind_unknown"));
    fixture.is_repaired(&["stranger"]);
    assert_eq!(fixture.codes(), ["kind_unknown"]);
    fixture.damage(&keys::collection(&fixture.at.tenant, &fixture.at.id));
    let report = repair(fixture.data.path(), |_| true).unwrap();
    assert!(report.findings.iter().any(|finding| finding.code == "collection_damaged"), "reported, not removed: {report:#?}");
    assert!(report.values > 10, "what is below it stays");
}
