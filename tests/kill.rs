//! kill -9 at random moments of mixed uploads, updates, deletes, questions and backups, and what must
//! hold after each: the eight points of "nothing lost" (ARCHITECTURE.md).
//!
//! `RAGSTONE_KILLS` sets the number of kills (default 5; CI runs 200), `RAGSTONE_SEED` the seed,
//! `RAGSTONE` the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{PATIENCE, Server, Setup, program};

const CLIENTS: usize = 4;
const NAMES: u64 = 24;
/// A backup is restored, and all that is stored verified, after so many kills.
const RESTORE_EVERY: u64 = 10;
const OPERATOR: &str = "key-of-the-operator";
const TENANTS: [(&str, &str); 2] = [("north", "key-of-the-north-tenant"), ("south", "key-of-the-south-tenant")];

/// A small generator, so that a run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What may be true of one document after a crash.
#[derive(Default, Clone, Debug)]
struct Known {
    /// The acknowledged text; `None` if it was never there or its deletion was acknowledged.
    acknowledged: Option<String>,
    /// Sent after that, not acknowledged: may have happened or not. `None` is a deletion.
    attempted: Vec<Option<String>>,
}

impl Known {
    fn allows(&self, found: Option<&str>) -> bool {
        self.acknowledged.as_deref() == found || self.attempted.iter().any(|one| one.as_deref() == found)
    }
}

/// By tenant and external id.
type Ledger = BTreeMap<(usize, String), Known>;

/// A text that no other document has, of one chunk or many.
fn text(random: &mut Random, tenant: usize, name: &str) -> String {
    let mark = random.next();
    let paragraphs = if random.below(40) == 0 { 560 } else { 1 + random.below(5) };
    let paragraph = |number| {
        let words: Vec<String> = (0..12).map(|word| format!("w{}", Sha256::digest(format!("{mark}{number}{word}"))[0])).collect();
        format!("{} of {name} unique{mark:x}p{number} {}.", TENANTS[tenant].0, words.join(" "))
    };
    (0..paragraphs).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn start(data: &Path) -> [Server; 1] {
    let line = |key: &str, rest: String| {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{{ sha256 = \"{hash}\", {rest} }}")
    };
    let mut keys: Vec<String> = TENANTS.iter().map(|(tenant, key)| line(key, format!("tenant = \"{tenant}\""))).collect();
    keys.push(line(OPERATOR, "tenant = \"operators\", operator = true".into()));
    let config =
        format!("[chunking]\nmax_tokens = 24\noverlap_tokens = 0\n[index]\nexact_below = 40\n[auth]\nkeys = [{}]\n", keys.join(", "));
    [Setup::hash().data(data).config(&config).start()]
}

fn send(server: &Server, tenant: usize, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Option<(u16, Value)> {
    send_as(server, TENANTS[tenant].1, method, path, headers, body)
}

fn send_as(server: &Server, key: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Option<(u16, Value)> {
    let authorization = format!("Bearer {key}");
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain([("authorization", authorization.as_str())]).collect();
    let content_type = body.is_some().then_some("application/json");
    let reply = server.request(method, path, &headers, content_type, body.map(|body| body.to_string().into_bytes())).ok()?;
    Some((reply.status, if reply.bytes.is_empty() { Value::Null } else { reply.json() }))
}

/// Writes until the server is gone.
fn disturb(server: &Server, seed: u64, client: usize, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let mut random = Random(seed ^ (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    while !stop.load(Ordering::Acquire) {
        let tenant = random.below(2) as usize;
        // Each client has its own names, so that the order of its requests is the order of their effects.
        let name = format!("c{client}-{}", random.below(NAMES));
        let key = (tenant, name.clone());
        let is_delete = random.below(4) == 0;
        let new = (!is_delete).then(|| text(&mut random, tenant, &name));
        ledger.lock().unwrap().entry(key.clone()).or_default().attempted.push(new.clone());
        let document = format!("/v1/collections/default/documents/{name}");
        let answer = match &new {
            Some(text) if random.below(2) == 0 => {
                let body = json!({ "text": text, "external_id": name, "name": name });
                send(server, tenant, "POST", "/v1/collections/default/documents", &[], Some(body))
            }
            Some(text) => send(server, tenant, "PUT", &document, &[], Some(json!({ "text": text, "name": name }))),
            None => send(server, tenant, "DELETE", &document, &[], None),
        };
        let Some((status, body)) = answer else { return };
        assert!(matches!(status, 200 | 202 | 404), "{status}: {body}");
        let mut ledger = ledger.lock().unwrap();
        let known = ledger.get_mut(&key).unwrap();
        known.acknowledged = new;
        known.attempted.clear();
    }
}

/// Asks until the server is gone. (7) holds meanwhile too.
fn ask(server: &Server, seed: u64, stop: &AtomicBool) {
    let mut random = Random(seed | 1);
    while !stop.load(Ordering::Acquire) {
        let tenant = random.below(2) as usize;
        let words = format!("c{}-{} of north and south", random.below(CLIENTS as u64), random.below(NAMES));
        let (path, body) = match random.below(2) {
            0 => ("search", json!({ "query": words, "top_k": 20 })),
            _ => ("query", json!({ "question": words })),
        };
        let answer = send(server, tenant, "POST", &format!("/v1/collections/default/{path}"), &[], Some(body));
        let Some((status, body)) = answer else { return };
        assert!(matches!(status, 200 | 404), "{status}: {body}");
        let stranger = format!("{} of c", TENANTS[1 - tenant].0);
        assert!(!body.to_string().contains(&stranger), "{} is told of {stranger}: {body}", TENANTS[tenant].0);
    }
}

/// Makes one backup after another until the server is gone. `made`: those that were said to be there.
fn back_up(server: &Server, made: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    let send = |method: &str, path: &str, body| send_as(server, OPERATOR, method, path, &[], body);
    while !stop.load(Ordering::Acquire) {
        let Some((status, begun)) = send("POST", "/v1/backups", Some(json!({}))) else { return };
        assert_eq!(status, 202, "{begun}");
        let id = begun["id"].as_str().unwrap();
        loop {
            let Some((_, view)) = send("GET", &format!("/v1/backups/{id}"), None) else { return };
            match view["status"].as_str().unwrap() {
                "running" => std::thread::sleep(Duration::from_millis(5)),
                status => break assert_eq!(status, "succeeded", "{view}"),
            }
        }
        let old = std::mem::replace(&mut *made.lock().unwrap(), BTreeSet::from([id.to_owned()]));
        for id in old {
            if send("DELETE", &format!("/v1/backups/{id}"), None).is_none() {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Every backup that was said to be there is; those of no name are taken away.
fn check_backups(server: &Server, made: &BTreeSet<String>) {
    let (_, page) = send_as(server, OPERATOR, "GET", "/v1/backups", &[], None).unwrap();
    let listed: BTreeSet<String> = page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    assert!(listed.is_superset(made), "{made:?} were made, {listed:?} are there");
    for id in listed.difference(made) {
        send_as(server, OPERATOR, "DELETE", &format!("/v1/backups/{id}"), &[], None).unwrap();
    }
}

/// A finished backup can be restored, and what comes of it is sound.
fn restore(data: &Path, id: &str) {
    let folder = tempfile::tempdir().unwrap();
    let restored = folder.path().join("data");
    run(&[OsStr::new("restore"), data.join("backups").join(format!("{id}.backup")).as_ref(), OsStr::new("--data-dir"), restored.as_ref()]);
    run(&[OsStr::new("verify"), OsStr::new("--data-dir"), restored.as_ref()]);
}

/// Sound but for originals that a kill left behind between their arrival and their acknowledgement, for a text
/// index that the stop met a change behind: it applies that when it is opened, and for a segment that the stop met half
/// written.
fn verify(data: &Path) {
    let output = Command::new(program()).args(["verify", "--json", "--data-dir"]).arg(data).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_left_behind = |finding: &&Value| ["file_orphan", "view_behind", "file_unfinished"].contains(&finding["code"].as_str().unwrap());
    let others: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(|finding| !is_left_behind(finding)).collect();
    assert!(others.is_empty(), "{others:#?}");
}

fn run(arguments: &[&OsStr]) {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// Every document of a tenant, once all jobs have ended.
fn settled_documents(server: &Server, tenant: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut documents = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/collections/default/documents?limit=100{cursor}");
            let Some((status, page)) = send(server, tenant, "GET", &path, &[], None) else { panic!("the server is gone") };
            if status == 404 {
                return Vec::new();
            }
            documents.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let is_settled = |document: &Value| ["ready", "failed", "cancelled"].contains(&document["status"].as_str().unwrap());
        if documents.iter().all(is_settled) {
            return documents;
        }
        assert!(Instant::now() < deadline, "jobs do not end: {documents:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn original(server: &Server, tenant: usize, id: &str) -> String {
    let authorization = format!("Bearer {}", TENANTS[tenant].1);
    let path = format!("/v1/collections/default/documents/{id}/content");
    let reply = server.request("GET", &path, &[("authorization", &authorization)], None, None).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text()
}

/// The eight points.
fn check(server: &Server, ledger: &mut Ledger) -> usize {
    let mut chunks_checked = 0;
    let mut mine: Vec<BTreeSet<String>> = Vec::new();
    for tenant in 0..TENANTS.len() {
        let documents = settled_documents(server, tenant);
        mine.push(documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect());
        let mut found = BTreeMap::new();
        for document in &documents {
            let name = document["external_id"].as_str().unwrap().to_owned();
            assert_eq!(document["status"], "ready", "{document}");
            let content = original(server, tenant, document["id"].as_str().unwrap());
            assert!(found.insert(name.clone(), content).is_none(), "two documents named {name}");
        }
        // (1), (4), (5): the bytes, or a later version; deletes stay; the unacknowledged is whole or absent.
        for ((_, name), known) in ledger.iter_mut().filter(|((owner, _), _)| *owner == tenant) {
            let content = found.get(name);
            assert!(known.allows(content.map(String::as_str)), "{name}: found {content:?}, allowed {known:?}");
            *known = Known { acknowledged: content.cloned(), attempted: Vec::new() };
        }
        assert!(found.keys().all(|name| ledger.contains_key(&(tenant, name.clone()))), "a document that nobody sent");
        chunks_checked += documents.iter().map(|document| check_chunks(server, tenant, document)).sum::<usize>();
    }
    // (7): nobody sees another's.
    for tenant in 0..TENANTS.len() {
        let body = json!({ "query": format!("{} of", TENANTS[1 - tenant].0), "top_k": 100 });
        if let Some((200, answer)) = send(server, tenant, "POST", "/v1/collections/default/search", &[], Some(body)) {
            let ids = answer["hits"].as_array().unwrap().iter().map(|hit| hit["document_id"].as_str().unwrap());
            assert!(ids.into_iter().all(|id| mine[tenant].contains(id)), "a hit of another tenant");
        }
    }
    chunks_checked
}

/// (3), (6): every chunk is found by its words and by its vector, and says what the document says.
fn check_chunks(server: &Server, tenant: usize, document: &Value) -> usize {
    let id = document["id"].as_str().unwrap();
    let path = format!("/v1/collections/default/documents/{id}/chunks?limit=1000");
    let (status, page) = send(server, tenant, "GET", &path, &[], None).unwrap();
    assert_eq!(status, 200, "{page}");
    let chunks = page["data"].as_array().unwrap();
    assert_eq!(chunks.len() as u64, document["chunks"].as_u64().unwrap());
    // A long document is looked at in places.
    let step = chunks.len().div_ceil(8).max(1);
    for chunk in chunks.iter().step_by(step) {
        let text = chunk["text"].as_str().unwrap();
        for mode in ["vector", "lexical"] {
            let body = json!({ "query": text, "mode": mode, "top_k": 10, "exact": true });
            let (status, answer) = send(server, tenant, "POST", "/v1/collections/default/search", &[], Some(body)).unwrap();
            assert_eq!(status, 200, "{answer}");
            let mut hits = answer["hits"].as_array().unwrap().iter();
            assert!(hits.any(|hit| hit["chunk_id"] == chunk["id"]), "{mode} does not find {text:?}: {answer}");
        }
    }
    chunks.len().div_ceil(step)
}

/// (5): a request that was cut off and is sent again under its key is one document.
fn check_idempotence(server: &Server, round: usize) {
    let body = json!({ "text": format!("sent twice in round {round}"), "name": "twice.txt" });
    let key = format!("round-{round}");
    let headers = [("idempotency-key", key.as_str())];
    let send_it = || send(server, 0, "POST", "/v1/collections/retries/documents", &headers, Some(body.clone())).unwrap();
    let (_, created) = send(server, 0, "POST", "/v1/collections", &[], Some(json!({ "name": "retries" }))).unwrap();
    assert!(created["id"].is_string() || created["code"] == "name_taken", "{created}");
    let ((first_status, first), (second_status, second)) = (send_it(), send_it());
    assert_eq!((first_status, second_status), (202, 202), "{first} {second}");
    assert_eq!(first["documents"][0]["id"], second["documents"][0]["id"]);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let kills = number("RAGSTONE_KILLS", 5);
    let seed = number("RAGSTONE_SEED", 20_261_120);
    eprintln!("seed {seed}, {kills} kills");
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random(seed);
    let mut ledger = Ledger::new();
    let (mut checked, mut restored) = (0, 0);
    let mut backups = BTreeSet::new();
    for round in 0..kills {
        let [mut server] = start(directory.path());
        checked += check(&server, &mut ledger);
        if (round + 1) % RESTORE_EVERY == 0 {
            // So that what is found wrong names its kill.
            server.terminate();
            verify(directory.path());
            [server] = start(directory.path());
        }
        check_backups(&server, &backups);
        check_idempotence(&server, round as usize);
        let shared = Mutex::new(std::mem::take(&mut ledger));
        let (made, stop) = (Mutex::new(std::mem::take(&mut backups)), AtomicBool::new(false));
        let life = Duration::from_millis(50 + random.below(1500));
        let round_seed = random.next();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (server, shared, stop) = (&server, &shared, &stop);
                scope.spawn(move || disturb(server, round_seed, client, shared, stop));
            }
            scope.spawn(|| ask(&server, round_seed, &stop));
            scope.spawn(|| back_up(&server, &made, &stop));
            std::thread::sleep(life);
            let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            stop.store(true, Ordering::Release);
        });
        drop(server.kill());
        ledger = shared.into_inner().unwrap();
        backups = made.into_inner().unwrap();
        if let Some(id) = backups.first().filter(|_| round % RESTORE_EVERY == 0) {
            restore(directory.path(), id);
            restored += 1;
        }
        if (round + 1) % 100 == 0 {
            eprintln!("{} kills, {checked} chunks checked, {restored} backups restored", round + 1);
        }
    }
    let [mut server] = start(directory.path());
    checked += check(&server, &mut ledger);
    server.terminate();
    verify(directory.path());
    let present = ledger.values().filter(|known| known.acknowledged.is_some()).count();
    eprintln!("{kills} kills, {present} documents at the end, {checked} chunks checked, {restored} backups restored");
    assert!(present > 0 && checked > 0, "the test did not exercise anything");
}
