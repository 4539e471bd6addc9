//! Archives and mails: what is inside becomes documents of their own.

use crate::support::{Server, Setup, fixture, form};
use serde_json::{Value, json};

const DOCUMENTS: &str = "/v1/collections/default/documents";

/// A ZIP archive with stored entries (APPNOTE 4.3), so that no test depends on a packer.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let (crc, length) = (crc32(bytes).to_le_bytes(), u32::try_from(bytes.len()).unwrap().to_le_bytes());
        let sizes = [&[0; 4][..], &crc, &length, &length, &u16::try_from(name.len()).unwrap().to_le_bytes(), &[0, 0]].concat();
        let offset = u32::try_from(out.len()).unwrap().to_le_bytes();
        directory.extend([&b"PK\x01\x02\x14\0\x14\0\0\x08\0\0"[..], &sizes, &[0; 10], &offset, name.as_bytes()].concat());
        out.extend([&b"PK\x03\x04\x14\0\0\x08\0\0"[..], &sizes, name.as_bytes(), bytes].concat());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (start, length) = (u32::try_from(out.len()).unwrap().to_le_bytes(), u32::try_from(directory.len()).unwrap().to_le_bytes());
    [out, directory, [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &length, &start, &[0, 0]].concat()].concat()
}

/// ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

const MAIL: &str = "From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: Oil for the lamp\r\nDate: Thu, 27 Aug 2009 22:24:00 +0200\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the enclosed notes.\r\n\
    --b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=notes.md\r\n\r\n# Barrels\r\n\r\nTwo barrels of colza oil.\r\n--b--\r\n";

fn put(server: &Server, id: &str, name: &str, bytes: &[u8], fields: &[(&str, &str)]) -> Value {
    let (content_type, body) = form(&[(name, bytes)], fields);
    let reply = server.request("PUT", &format!("{DOCUMENTS}/{id}?wait=true"), &[], Some(&content_type), Some(body)).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["documents"][0].clone()
}

fn children(server: &Server, parent: &Value) -> Vec<Value> {
    server.get(&format!("{DOCUMENTS}?parent_id={}", parent["id"].as_str().unwrap())).ok()["data"].as_array().unwrap().clone()
}

fn names(documents: &[Value]) -> Vec<&str> {
    let mut names: Vec<_> = documents.iter().map(|document| document["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn hits(server: &Server, query: &str) -> usize {
    let found = server.post("/v1/collections/default/search", json!({ "query": query, "mode": "lexical" })).ok();
    found["hits"].as_array().unwrap().len()
}

#[test]
fn a_mail_and_its_attachment_are_two_documents() {
    let server = Setup::hash().start();
    let fields = [("metadata", r#"{"year": 2009}"#), ("acl", r#"["ann"]"#)];
    let mail = put(&server, "m1", "lamp.eml", MAIL.as_bytes(), &fields);
    assert_eq!(
        (&mail["status"], &mail["media_type"], &mail["attachments"]),
        (&json!("ready"), &json!("message/rfc822"), &json!(1)),
        "{mail}"
    );
    assert_eq!((&mail["title"], &mail["parent_id"]), (&json!("Oil for the lamp"), &Value::Null));
    let inside = children(&server, &mail);
    assert_eq!(names(&inside), ["lamp.eml/notes.md"]);
    let notes = &inside[0];
    assert_eq!(
        (&notes["status"], &notes["parent_id"], &notes["attachments"]),
        (&json!("ready"), &mail["id"], &json!(0)),
        "waited for: {notes}"
    );
    assert_eq!((&notes["metadata"], &notes["acl"]), (&mail["metadata"], &mail["acl"]));
    assert_ne!(notes["job_id"], mail["job_id"]);
    assert_eq!((hits(&server, "colza"), hits(&server, "enclosed")), (1, 1));
    assert_eq!(server.get(&format!("{DOCUMENTS}?parent_id=nobody")).status, 404);
}

#[test]
fn an_archive_is_listed_and_opened_two_levels_deep() {
    let server = Setup::hash().start();
    let innermost = zip(&[("bottom.txt", b"never seen")]);
    let inner = zip(&[("deep.txt", b"the quokka sleeps"), ("third.zip", &innermost), ("m.eml", MAIL.as_bytes())]);
    let outer = zip(&[
        ("docs/lamp.docx", &fixture("lamp.docx")),
        ("../evil.txt", b"evil words"),
        ("inner.zip", &inner),
        ("photo.png", b"\x89PNG\r\n\x1a\n0"),
    ]);
    let archive = put(&server, "z", "papers.zip", &outer, &[]);
    assert_eq!((&archive["status"], &archive["attachments"]), (&json!("ready"), &json!(4)), "{archive}");
    let text = server.get(&format!("{DOCUMENTS}/z/text")).text();
    assert!(text.contains("- docs/lamp.docx (") && text.contains("- evil.txt (10 bytes)"), "{text}");
    let inside = children(&server, &archive);
    assert_eq!(names(&inside), ["papers.zip/docs/lamp.docx", "papers.zip/evil.txt", "papers.zip/inner.zip", "papers.zip/photo.png"]);
    let by_name = |name: &str| inside.iter().find(|document| document["name"] == format!("papers.zip/{name}")).unwrap();
    assert_eq!((by_name("docs/lamp.docx")["status"].clone(), by_name("photo.png")["code"].clone()), (json!("ready"), json!("unsupported")));
    let second = children(&server, by_name("inner.zip"));
    let third = second.iter().find(|document| document["name"] == "papers.zip/inner.zip/third.zip").unwrap();
    assert_eq!((&third["status"], &third["code"]), (&json!("failed"), &json!("nested_too_deep")), "{third}");
    let mail = second.iter().find(|document| document["name"] == "papers.zip/inner.zip/m.eml").unwrap();
    assert_eq!((&mail["status"], &mail["attachments"]), (&json!("ready"), &json!(0)), "a mail is read without what hangs on it: {mail}");
    assert!(mail["warnings"][0].as_str().unwrap().starts_with("its 1 attachments are left out"), "{mail}");
    assert_eq!((hits(&server, "quokka"), hits(&server, "enclosed")), (1, 1));
    assert_eq!(server.get(&format!("{DOCUMENTS}?parent_id={}", mail["id"].as_str().unwrap())).ok()["data"], json!([]));
    let receipt = server.delete(&format!("{DOCUMENTS}/z")).ok()["receipt"].clone();
    assert_eq!(receipt["documents"], json!(8), "{receipt}");
    assert_eq!((hits(&server, "quokka"), server.get(DOCUMENTS).ok()["data"].clone()), (0, json!([])));
    assert_eq!(server.get("/v1/collections/default").ok()["stats"]["documents"], json!(0));
}

#[test]
fn a_new_version_changes_what_is_inside() {
    let server = Setup::hash().start();
    let first =
        put(&server, "z", "a.zip", &zip(&[("same.txt", b"unchanged words"), ("old.txt", b"the dodo"), ("new.txt", b"version one")]), &[]);
    let before = children(&server, &first);
    let second =
        put(&server, "z", "a.zip", &zip(&[("more.txt", b"the kiwi"), ("new.txt", b"version two"), ("same.txt", b"unchanged words")]), &[]);
    assert_eq!(first["id"], second["id"]);
    let after = children(&server, &second);
    assert_eq!(names(&after), ["a.zip/more.txt", "a.zip/new.txt", "a.zip/same.txt"]);
    let one = |list: &[Value], name: &str| list.iter().find(|document| document["name"] == name).unwrap().clone();
    let (same, new) = (one(&after, "a.zip/same.txt"), one(&after, "a.zip/new.txt"));
    assert_eq!((&same["id"], &same["job_id"]), (&one(&before, "a.zip/same.txt")["id"], &one(&before, "a.zip/same.txt")["job_id"]));
    assert_eq!((&new["id"], &new["version"]), (&one(&before, "a.zip/new.txt")["id"], &json!(2)));
    assert_eq!((hits(&server, "dodo"), hits(&server, "kiwi")), (0, 1));
    // A child alone can go.
    assert_eq!(server.delete(&format!("{DOCUMENTS}/{}", same["id"].as_str().unwrap())).status, 200);
    assert_eq!(server.get(&format!("{DOCUMENTS}/z")).ok()["attachments"], json!(2));
}

#[test]
fn metadata_and_acl_reach_what_is_inside() {
    let server = Setup::hash().start();
    let archive = zip(&[("a.txt", b"colours of salt")]);
    put(&server, "z", "a.zip", &archive, &[("metadata", r#"{"year": 2020}"#), ("acl", r#"["ann"]"#)]);
    let again = put(&server, "z", "a.zip", &archive, &[("metadata", r#"{"year": 2021}"#), ("acl", r#"["bob"]"#)]);
    assert_eq!(again["duplicate"], json!(true));
    let inside = children(&server, &again);
    assert_eq!((&inside[0]["metadata"], &inside[0]["acl"]), (&json!({ "year": 2021 }), &json!(["bob"])));
    let found = |year: u32| {
        let body = json!({ "query": "salt", "mode": "lexical", "filter": { "type": "eq", "key": "year", "value": year } });
        server.post("/v1/collections/default/search", body).ok()["hits"].as_array().unwrap().len()
    };
    crate::support::eventually(|| (found(2020), found(2021)) == (0, 1));
}

/// A queue of two for forty files: they wait in the store, and none is lost.
#[test]
fn more_files_than_the_queue_takes_all_get_their_turn() {
    let server = Setup::hash().config("[ingest]\nqueued_max = 2\n").start();
    let texts: Vec<(String, String)> = (0..40).map(|n| (format!("{n}.txt"), format!("file number{n}"))).collect();
    let entries: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let (content_type, body) = form(&[("many.zip", &zip(&entries))], &[("external_id", "many")]);
    let accepted = server.request("POST", DOCUMENTS, &[], Some(&content_type), Some(body)).unwrap();
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    crate::support::eventually(|| {
        let inside = server.get(&format!("{DOCUMENTS}?parent_id=many&limit=100")).ok()["data"].as_array().unwrap().clone();
        inside.len() == 40 && inside.iter().all(|document| document["status"] == "ready")
    });
    assert_eq!(hits(&server, "number39"), 1);
    let page = server.get(&format!("{DOCUMENTS}?parent_id=many&limit=30")).ok();
    let rest = server.get(&format!("{DOCUMENTS}?parent_id=many&limit=30&cursor={}", page["next_cursor"].as_str().unwrap())).ok();
    assert_eq!(
        (page["data"].as_array().unwrap().len(), rest["data"].as_array().unwrap().len(), &rest["next_cursor"]),
        (30, 10, &Value::Null)
    );
}

/// kill -9 while an archive is being opened, then a new version of it, and so on.
#[test]
fn a_killed_server_finishes_what_is_inside_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Setup::hash().data(directory.path()).start();
    for round in 1..=6usize {
        let texts: Vec<(String, String)> =
            (round..round + 12).map(|n| (format!("{n}.txt"), format!("page{n} of edition{round}"))).collect();
        let entries: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        let (content_type, body) = form(&[("book.zip", &zip(&entries))], &[]);
        let reply = server.request("PUT", &format!("{DOCUMENTS}/book"), &[], Some(&content_type), Some(body)).unwrap();
        assert_eq!(reply.status, 202, "{}", reply.text());
        // A different moment each time: once the first of them is there, or half of them, …
        crate::support::eventually(|| hits(&server, &format!("edition{round}")) >= (round - 1) * 2);
        drop(server.kill());
        server = Setup::hash().data(directory.path()).start();
        let all = || server.get(&format!("{DOCUMENTS}?limit=100")).ok()["data"].as_array().unwrap().clone();
        crate::support::eventually(|| all().len() == 13 && all().iter().all(|document| document["status"] == "ready"));
        let mut expected: Vec<String> = texts.iter().map(|(name, _)| format!("book.zip/{name}")).collect();
        expected.push("book.zip".into());
        expected.sort_unstable();
        assert_eq!(names(&all()), expected, "round {round}");
        let old = (1..round).map(|earlier| hits(&server, &format!("edition{earlier}"))).sum::<usize>();
        assert_eq!((old, hits(&server, &format!("page{}", round + 11))), (0, 1));
    }
}
