use crate::support::{Setup, program};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

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

/// Reproducible components from -1 to 1.
fn vectors(count: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| (0..dimension).map(|_| next()).collect()).collect()
}

/// The format of NumPy's files, version 1.0.
fn write_npy(path: &Path, vectors: &[Vec<f32>]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", vectors.len(), vectors[0].len());
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(vectors.iter().flatten().flat_map(|x| x.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

/// What `ragstone bench … --json` prints.
fn bench(folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(program());
    command.arg("bench").args(arguments).arg("--json").current_dir(folder).env_remove("RAGSTONE_API_KEY");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn searches_with_given_vectors_over_http() {
    let server = Setup::hash().start();
    for number in 0..30 {
        server.add_text("default", &format!("d{number}"), &format!("Town t{number} sells matter m{number}."));
    }
    let folder = tempfile::tempdir().unwrap();
    write_npy(&folder.path().join("queries.npy"), &vectors(40, 64, 1));
    let report =
        bench(folder.path(), &["search", "--server", &server.base, "--queries", "queries.npy", "--ef", "16,64", "--clients", "1,3"]);
    assert_eq!((&report["queries"], &report["k"]), (&json!(40), &json!(10)), "{report}");
    let points = report["points"].as_array().unwrap();
    let asked: Vec<(u64, Option<u64>)> = points.iter().map(|point| (point["clients"].as_u64().unwrap(), point["ef"].as_u64())).collect();
    assert_eq!(asked, [(1, Some(16)), (1, Some(64)), (1, None), (3, Some(16)), (3, Some(64)), (3, None)]);
    for point in points {
        // So few are scanned.
        assert!(point["recall"] == json!(1.0) && point["qps"].as_f64().unwrap() > 0.0, "{point}");
    }
    let metrics = server.get("/metrics").text();
    for gauge in ["ragstone_vectors 30", "ragstone_vectors_in_graphs 0", "ragstone_vector_builds 0", "ragstone_unreachable_points 0"] {
        assert!(metrics.lines().any(|line| line == gauge), "{gauge}: {metrics}");
    }
}

#[test]
fn the_vector_index_on_files_of_vectors() {
    let folder = tempfile::tempdir().unwrap();
    write_npy(&folder.path().join("base.npy"), &vectors(3000, 24, 2));
    write_npy(&folder.path().join("queries.npy"), &vectors(50, 24, 3));
    let files = ["--base", "base.npy", "--queries", "queries.npy"];
    for engine in ["auto", "exact", "hnsw_rs"] {
        let measured = [
            &["index", "--engine", engine, "--ef", "128", "--threads", "2", "--select", "20", "--rounds", "1", "--plot", "plot.svg"],
            &files[..],
        ];
        let report = bench(folder.path(), &measured.concat());
        assert_eq!((&report["vectors"], &report["dimension"], &report["unreachable"]), (&json!(3000), &json!(24), &json!(0)), "{report}");
        let points = report["points"].as_array().unwrap();
        assert_eq!(points.len(), 2, "{report}");
        assert!(points.iter().all(|point| point["recall_at_10"].as_f64().unwrap() >= 0.95), "{engine}: {report}");
    }
    assert!(std::fs::read_to_string(folder.path().join("plot.svg")).unwrap().contains("<svg"));

    let churn = [&["churn", "--rounds", "2", "--seconds", "1"], &files[..]].concat();
    let report = bench(folder.path(), &churn);
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 3, "{report}");
    assert!(rounds.iter().all(|round| round["deleted_hits"] == json!(0) && round["recall_at_10"] == json!(1.0)), "{report}");
    assert!(report["inserted_per_s"].as_f64().unwrap() > 0.0, "{report}");
}
