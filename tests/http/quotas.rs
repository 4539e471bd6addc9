use crate::support::{Server, Setup};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const DOCUMENTS: &str = "/v1/collections/default/documents";

fn used(server: &Server) -> (Value, Value, Value) {
    let quotas = server.get("/v1/quotas").ok();
    (quotas["documents"]["used"].clone(), quotas["bytes"]["used"].clone(), quotas["collections"]["used"].clone())
}

/// Whether the blob of these bytes is on disk.
fn is_kept(server: &Server, text: &str) -> bool {
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    server.data.join("blobs/default").join(&hash[..2]).join(&hash).exists()
}

#[test]
fn parallel_uploads_never_pass_the_quota() {
    let server = Setup::hash().config("[quotas]\ndocuments_max = 10\n").start();
    let texts: Vec<String> = (0..32).map(|number| format!("text of the parallel upload number {number}")).collect();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let send = |text: &String| server.post(DOCUMENTS, json!({ "text": text }));
        let threads: Vec<_> = texts.iter().map(|text| scope.spawn(move || send(text))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (taken, refused): (Vec<_>, Vec<_>) = texts.iter().zip(&replies).partition(|(_, reply)| reply.status == 202);
    assert_eq!((taken.len(), refused.len()), (10, 22));
    for (text, reply) in refused {
        assert_eq!((reply.status, reply.json()["code"].clone()), (403, json!("quota_exceeded")), "{}", reply.text());
        assert_eq!(reply.json()["detail"], "the quota of documents is 10: 10 are used, and this needs 1 more");
        assert!(reply.header("retry-after").is_none(), "trying again does not help");
        assert!(!is_kept(&server, text), "a refused upload left its file");
    }
    assert!(taken.iter().all(|(text, _)| is_kept(&server, text)));
    assert_eq!(used(&server).0, 10);
    // The same bytes again are no new document, and a deleted one makes room.
    let (text, first) = taken[0];
    assert_eq!(server.post(DOCUMENTS, json!({ "text": text })).status, 202);
    server.delete(&format!("{DOCUMENTS}/{}", first.json()["documents"][0]["id"].as_str().unwrap())).ok();
    assert_eq!(server.post(DOCUMENTS, json!({ "text": "another" })).status, 202);
    assert_eq!(server.post(DOCUMENTS, json!({ "text": "one too many" })).status, 403);
}

#[test]
fn an_upload_is_taken_in_whole_or_not_at_all() {
    let server = Setup::hash().config("[quotas]\ndocuments_max = 2\n").start();
    let refused = server.upload(DOCUMENTS, &[("a.txt", b"a"), ("b.txt", b"b"), ("c.txt", b"c")], &[]);
    assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("quota_exceeded")));
    assert_eq!(server.get(DOCUMENTS).ok()["data"], json!([]));
    assert_eq!(server.upload(DOCUMENTS, &[("a.txt", b"a"), ("b.txt", b"b")], &[]).status, 202);
}

#[test]
fn bytes_and_collections_are_counted_over_versions_deletes_and_a_kill() {
    let config = "[quotas]\nbytes_max = 1000\n[quotas.tenants.default]\ncollections_max = 2\n";
    let server = Setup::hash().config(config).start();
    assert_eq!(server.get("/v1/quotas").ok()["bytes"], json!({ "used": 0, "limit": 1000 }));
    let put = |server: &Server, name: &str, bytes: usize| {
        server.send("PUT", &format!("{DOCUMENTS}/{name}?wait=true"), Some(json!({ "text": "word ".repeat(bytes / 5) }))).status
    };
    assert_eq!((put(&server, "one", 600), put(&server, "two", 600), put(&server, "two", 400)), (200, 403, 200));
    assert_eq!(used(&server), (json!(2), json!(1000), json!(1)));
    // A smaller version makes room; a larger one must fit.
    assert_eq!((put(&server, "one", 100), put(&server, "two", 1000), put(&server, "two", 900)), (200, 403, 200));
    assert_eq!(used(&server), (json!(2), json!(1000), json!(1)));
    server.post("/v1/collections", json!({ "name": "other" })).ok();
    assert_eq!(server.post("/v1/collections", json!({ "name": "third" })).json()["code"], "quota_exceeded");
    let data = server.data.clone();
    let _folder = server.kill();
    let server = Setup::hash().config(config).data(&data).start();
    assert_eq!(used(&server), (json!(2), json!(1000), json!(2)));
    server.delete(&format!("{DOCUMENTS}/one")).ok();
    assert_eq!(used(&server), (json!(1), json!(900), json!(2)));
    server.delete("/v1/collections/default").ok();
    assert_eq!(used(&server), (json!(0), json!(0), json!(1)));
}
