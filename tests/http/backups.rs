use crate::support::{Server, Setup, eventually};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::{Command, Output};

fn ragstone(data: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::support::program());
    command.args(arguments).env_remove("RAGSTONE_API_KEY").env_remove("RAGSTONE_SERVER");
    if let Some(data) = data {
        command.arg("--data-dir").arg(data);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make(server: &Server, body: Value) -> Value {
    let begun = server.post("/v1/backups", body);
    assert_eq!(begun.status, 202, "{}", begun.text());
    let path = format!("/v1/backups/{}", begun.json()["id"].as_str().unwrap());
    eventually(|| server.get(&path).ok()["status"] != "running");
    server.get(&path).ok()
}

#[test]
fn a_backup_made_while_documents_come_is_restored_and_served() {
    let mut server = Setup::hash().start();
    for n in 0..20 {
        server.add_text("default", &format!("d{n}"), &format!("Item {n} is made of matter m{n}."));
    }
    let made = std::thread::scope(|scope| {
        let writer = server.view(None);
        let more = scope
            .spawn(move || (20..60).for_each(|n| drop(writer.add_text("default", &format!("d{n}"), &format!("Item {n} came later.")))));
        let made = make(&server, json!({ "name": "first" }));
        more.join().unwrap();
        made
    });
    assert_eq!((&made["status"], &made["reason"]), (&json!("succeeded"), &json!(null)), "{made}");
    let file = server.get("/v1/backups/first/content");
    assert_eq!((file.bytes.len() as u64, hex(&file.bytes)), (made["bytes"].as_u64().unwrap(), made["sha256"].as_str().unwrap().to_owned()));
    assert_eq!(file.header("content-length"), Some(file.bytes.len().to_string().as_str()));

    let folder = tempfile::tempdir().unwrap();
    let (path, restored) = (folder.path().join("first.backup"), folder.path().join("restored"));
    std::fs::write(&path, &file.bytes).unwrap();
    let output = ragstone(Some(&restored), &["restore", path.to_str().unwrap()]);
    assert!(output.status.success() && text(&output).contains("0 errors, 0 repairable"), "{}", text(&output));
    let copy = Setup::hash().data(&restored).start();
    let query = json!({ "query": "matter m7", "mode": "hybrid", "top_k": 3 });
    let hits = |server: &Server| server.post("/v1/collections/default/search", query.clone()).ok()["hits"][0]["chunk_id"].clone();
    assert_eq!(hits(&copy), hits(&server), "the same ids");
    for n in 0..20 {
        let path = format!("/v1/collections/default/documents/d{n}");
        eventually(|| copy.get(&path).ok()["status"] == "ready");
        assert_eq!(copy.get(&format!("{path}/content")).text(), format!("Item {n} is made of matter m{n}."));
    }
    drop(copy);
    server.terminate();
    for data in [&server.data, &restored] {
        let output = ragstone(Some(data), &["verify", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &report["errors"], &report["repairable"]), (Some(0), &json!(0), &json!(0)), "{report}");
    }
}

#[test]
fn backups_are_listed_named_once_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Setup::hash().data(directory.path()).start();
    server.add_text("default", "d", "a document");
    assert_eq!(server.get("/v1/backups").ok()["data"], json!([]));
    assert_eq!(make(&server, json!({ "name": "one" }))["status"], "succeeded");
    assert_eq!(server.post("/v1/backups", json!({ "name": "one" })).json()["code"], "name_taken");
    for name in ["../one", "", "a/b", ".one", "One", &"x".repeat(65)] {
        assert_eq!(server.post("/v1/backups", json!({ "name": name })).json()["code"], "bad_name", "{name}");
    }
    assert_eq!(server.post("/v1/backups", json!({ "path": "/tmp/x" })).status, 400);
    let once = |body: Value| {
        let body = Some(body.to_string().into_bytes());
        server.request("POST", "/v1/backups", &[("idempotency-key", "k")], Some("application/json"), body).unwrap()
    };
    let first = once(json!({})).json()["id"].clone();
    eventually(|| server.get(&format!("/v1/backups/{}", first.as_str().unwrap())).ok()["status"] == "succeeded");
    assert_eq!(once(json!({})).json()["id"], first, "sent again under its key it is one backup");
    assert_eq!(once(json!({ "name": "two" })).json()["code"], "idempotency_conflict");
    assert_eq!(server.delete(&format!("/v1/backups/{}", first.as_str().unwrap())).status, 200);
    let other = make(&server, json!({}))["id"].as_str().unwrap().to_owned();
    assert!(other.starts_with("bak_"));
    let ids = |server: &Server| -> Vec<String> {
        server.get("/v1/backups").ok()["data"].as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    };
    server.terminate();
    std::fs::write(directory.path().join("backups/.three.backup.partial"), "half").unwrap();
    // As a kill before the note leaves it.
    std::fs::remove_file(directory.path().join("backups/one.json")).unwrap();
    std::fs::write(directory.path().join("backups/none.backup"), "no backup").unwrap();
    let server = Setup::hash().data(directory.path()).start();
    assert_eq!(ids(&server), [other.clone(), "one".into()], "they outlive the server");
    assert!(!directory.path().join("backups/.three.backup.partial").exists());
    assert_eq!(server.delete("/v1/backups/one").ok()["deleted"], true);
    assert_eq!((server.get("/v1/backups/one").status, server.delete("/v1/backups/one").status), (404, 404));
    assert_eq!((server.get("/v1/backups/..%2F..%2Fetc").status, server.get("/v1/backups/one/content").status), (404, 404));
    assert_eq!(ids(&server), [other]);
}

#[test]
fn the_commands_back_up_verify_and_repair() {
    let mut server = Setup::hash().start();
    server.add_text("default", "d", "a document of few words");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let online = ragstone(None, &["backup", &file("online"), "--server", &server.base]);
    assert!(online.status.success(), "{}", text(&online));
    assert!(text(&online).contains(&hex(&std::fs::read(file("online")).unwrap())));
    assert_eq!(server.get("/v1/backups").ok()["data"], json!([]), "the server's copy is gone");
    assert!(!ragstone(None, &["backup", &file("online"), "--server", &server.base]).status.success(), "nothing is replaced");
    for command in ["verify", "repair"] {
        let busy = ragstone(Some(&server.data), &[command]);
        assert!(busy.status.code() == Some(2) && text(&busy).contains("in use"), "{}", text(&busy));
    }
    server.terminate();
    let data = server.data.clone();
    assert_eq!(ragstone(Some(&data), &["backup", &file("offline")]).status.code(), Some(0));
    let restored = folder.path().join("restored");
    let mut cut = std::fs::read(file("offline")).unwrap();
    cut.pop();
    std::fs::write(file("cut"), cut).unwrap();
    let refused = ragstone(Some(&restored), &["restore", &file("cut")]);
    assert!(refused.status.code() == Some(1) && !restored.exists(), "{}", text(&refused));
    assert_eq!(ragstone(Some(&restored), &["restore", &file("offline")]).status.code(), Some(0));

    assert_eq!(ragstone(Some(&data), &["verify"]).status.code(), Some(0));
    assert_eq!(ragstone(Some(&folder.path().join("nowhere")), &["verify"]).status.code(), Some(2));
    let orphan = data.join("blobs/default/00");
    std::fs::create_dir_all(&orphan).unwrap();
    let orphan = orphan.join("0".repeat(64));
    std::fs::write(&orphan, "nobody's").unwrap();
    let found = ragstone(Some(&data), &["verify"]);
    assert!(found.status.code() == Some(1) && text(&found).contains("file_orphan"), "{}", text(&found));
    let said = ragstone(Some(&data), &["repair"]);
    assert!(said.status.code() == Some(1) && text(&said).contains("would remove the unused file") && orphan.exists(), "{}", text(&said));
    assert_eq!(ragstone(Some(&data), &["repair", "--yes"]).status.code(), Some(0));
    assert!(!orphan.exists() && ragstone(Some(&data), &["verify"]).status.success());
}

#[test]
fn an_interrupted_restore_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("restoring")).unwrap();
    let mut command = Command::new(crate::support::program());
    let config = folder.path().join("c.toml");
    std::fs::write(&config, "[embedding]\nmodel = \"test-hash\"\n").unwrap();
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config).arg("--data-dir").arg(folder.path()).output();
    let output = output.unwrap();
    assert!(!output.status.success() && text(&output).contains("restore was interrupted"), "{}", text(&output));
    assert!(!folder.path().join("store").exists());
}

#[test]
fn only_the_operator_sees_backups() {
    let line = |key: &str, tenant: &str, more: &str| {
        format!("[[auth.keys]]\nsha256 = \"{}\"\ntenant = \"{tenant}\"\n{more}\n", hex(key.as_bytes()))
    };
    let keys =
        [line("operator", "default", "operator = true"), line("ann", "default", "principals = [\"ann\"]"), line("other", "other", "")];
    let server = Setup::hash().config(&keys.concat()).start().with_key("operator");
    assert_eq!(make(&server, json!({ "name": "mine" }))["status"], "succeeded");
    for key in ["ann", "other"] {
        let other = server.view(Some(key));
        let refused = [
            other.get("/v1/backups"),
            other.get("/v1/backups/mine"),
            other.get("/v1/backups/mine/content"),
            other.delete("/v1/backups/mine"),
        ];
        let refused = refused.into_iter().chain([other.post("/v1/backups", json!({}))]);
        refused.for_each(|reply| assert_eq!(reply.status, 403, "{key}: {}", reply.text()));
    }
    assert_eq!(server.view(None).get("/v1/backups").status, 401);
}
