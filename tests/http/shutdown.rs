use crate::support::Setup;
use serde_json::json;

#[test]
fn sigterm_drains_and_unfinished_jobs_go_on_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Setup::hash().data(directory.path()).start();
    let text: String = (0..5000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let mut ids = Vec::new();
    for number in 0..10 {
        let reply =
            server.post("/v1/collections/default/documents", json!({ "text": format!("{number} {text}"), "name": "long.txt" })).ok();
        ids.push(reply["documents"][0]["id"].as_str().unwrap().to_owned());
    }
    let (code, seconds) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(seconds < 25.0, "{seconds}");
    let server = Setup::hash().data(directory.path()).start();
    for id in ids {
        let path = format!("/v1/collections/default/documents/{id}");
        crate::support::eventually(|| server.get(&path).ok()["status"] == "ready");
    }
}

#[test]
fn open_streams_end_with_an_event_and_do_not_hold_up_the_end() {
    let mut server = Setup::hash().config("[ingest]\nworkers = 1\n").start();
    let text: String = (0..40_000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let mut jobs = Vec::new();
    for number in 0..3 {
        let reply =
            server.post("/v1/collections/default/documents", json!({ "text": format!("{number} {text}"), "name": "long.txt" })).ok();
        jobs.push(reply["documents"][0]["job_id"].as_str().unwrap().to_owned());
    }
    let last = jobs.pop().unwrap();
    let view = server.view(None);
    let listener = std::thread::spawn(move || view.get(&format!("/v1/jobs/{last}/events")).text());
    crate::support::eventually(|| server.get("/metrics").text().contains("ragstone_streams_free 511"));
    let (code, seconds) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(seconds < 10.0, "{seconds}");
    let heard = listener.join().unwrap();
    assert!(heard.contains("event: progress") && heard.contains("shutting_down"), "{heard}");
}

#[test]
fn a_port_in_use_and_a_bad_configuration_are_said_at_once() {
    let server = Setup::hash().start();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(crate::support::program());
        let output =
            command.args(arguments).env_remove("RAGSTONE_API_KEY").current_dir(tempfile::tempdir().unwrap().path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, said) = run(&["serve", "--listen", server.base.trim_start_matches("http://")]);
    assert!(!ok && said.contains("can't listen"), "{said}");
    let (ok, said) = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(!ok && said.contains("RAGSTONE_API_KEY"), "{said}");
    let (ok, said) = run(&["serve", "--models-dir", "nowhere", "--listen", "127.0.0.1:0"]);
    assert!(!ok && said.contains("models"), "{said}");
}
