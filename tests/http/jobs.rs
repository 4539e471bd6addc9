use crate::support::{Setup, eventually};
use serde_json::json;

#[test]
fn a_job_tells_its_way_and_its_end() {
    let server = Setup::hash().start();
    let text: String = (0..3000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let queued = server.post("/v1/collections/default/documents", json!({ "text": text, "name": "long.txt" }));
    assert_eq!(queued.status, 202, "{}", queued.text());
    let job = queued.json()["documents"][0]["job_id"].as_str().unwrap().to_owned();
    // The stream ends by itself when the job does.
    let events = server.get(&format!("/v1/jobs/{job}/events"));
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    let text = events.text();
    let last = text.trim().rsplit("event: ").next().unwrap();
    assert!(last.starts_with("done"), "{text}");
    let done = server.get(&format!("/v1/jobs/{job}")).ok();
    assert_eq!((&done["status"], &done["stage"], &done["error"]), (&json!("succeeded"), &json!("ready"), &json!(null)));
    let document = server.get(&format!("/v1/collections/default/documents/{}", done["document_id"].as_str().unwrap())).ok();
    assert_eq!(document["status"], "ready");
    assert_eq!(server.get("/v1/jobs/job_nonsense").status, 404);
}

#[test]
fn an_ended_job_is_forgotten_when_the_operator_says() {
    let server = Setup::hash().config("[retention]\njobs_s = 1\ninterval_s = 1\n").start();
    let queued = server.post("/v1/collections/default/documents?wait=true", json!({ "text": "the lamp burns oil" })).ok();
    let document = &queued["documents"][0];
    let job = format!("/v1/jobs/{}", document["job_id"].as_str().unwrap());
    assert_eq!(server.get(&job).status, 200);
    eventually(|| server.get(&job).status == 404);
    let path = format!("/v1/collections/default/documents/{}", document["id"].as_str().unwrap());
    assert_eq!(server.get(&path).status, 200, "what it made stays");
}

#[test]
fn a_cancelled_job_stops_and_its_document_can_go() {
    let server = Setup::hash().config("[ingest]\nworkers = 1\n").start();
    let text: String = (0..20_000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let mut jobs = Vec::new();
    for number in 0..3 {
        let reply = server
            .post("/v1/collections/default/documents", json!({ "text": format!("{number} {text}"), "name": format!("{number}.txt") }))
            .ok();
        jobs.push(reply["documents"][0].clone());
    }
    // The last one still waits behind the others.
    let last = jobs.pop().unwrap();
    let (job, document) = (last["job_id"].as_str().unwrap(), last["id"].as_str().unwrap());
    let cancelled = server.delete(&format!("/v1/jobs/{job}")).ok();
    assert_eq!((&cancelled["status"], &cancelled["stage"]), (&json!("cancelled"), &json!("cancelled")));
    let path = format!("/v1/collections/default/documents/{document}");
    assert_eq!(server.get(&path).ok()["status"], "cancelled");
    assert_eq!(server.get(&format!("{path}/text")).status, 409);
    // A document in the middle of processing can be deleted too.
    for job in jobs {
        assert_eq!(server.delete(&format!("/v1/collections/default/documents/{}", job["id"].as_str().unwrap())).status, 200);
    }
    assert_eq!(server.delete(&path).status, 200);
    assert_eq!(server.get("/v1/collections/default").ok()["stats"]["documents"], 0);
}
