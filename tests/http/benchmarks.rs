use crate::support::Setup;
use serde_json::json;

#[test]
fn recall_and_latency_of_a_live_collection() {
    let server = Setup::hash().config("[index]\nengine = \"hnsw_rs\"\n").start();
    for number in 0..40 {
        server.add_text(
            "default",
            &format!("d{number}"),
            &format!("Item {number} is made of matter m{number} and sold in town t{number}."),
        );
    }
    let begun = server
        .post("/v1/benchmarks", json!({ "collection": "default", "k": 5, "sample": 20, "ef": [16, 64], "modes": ["vector", "lexical"] }));
    assert_eq!(begun.status, 202, "{}", begun.text());
    let path = format!("/v1/benchmarks/{}", begun.json()["id"].as_str().unwrap());
    crate::support::eventually(|| server.get(&path).ok()["status"] != "running");
    let report = server.get(&path).ok();
    assert_eq!((&report["status"], &report["rows"], &report["queries"]), (&json!("succeeded"), &json!(40), &json!(20)), "{report}");
    let points = report["points"].as_array().unwrap();
    assert_eq!(points.len(), 4);
    for point in points {
        assert!(point["qps"].as_f64().unwrap() > 0.0 && point["p50_ms"].as_f64().unwrap() <= point["p99_ms"].as_f64().unwrap(), "{point}");
    }
    assert!(points[2]["recall"].as_f64().unwrap() >= 0.95, "{report}");
    assert_eq!(server.post("/v1/benchmarks", json!({ "collection": "none" })).status, 404);
    assert_eq!(server.post("/v1/benchmarks", json!({ "collection": "default", "k": 0 })).status, 400);
    assert_eq!(server.get("/v1/benchmarks/bench_x").status, 404);
}
