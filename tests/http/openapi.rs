use crate::support::Setup;

#[test]
fn the_document_and_its_page_come_with_the_program() {
    let server = Setup::hash().start();
    let document = server.get("/openapi.json").ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/v1/collections/{collection}/query"]["post"].is_object());
    let page = server.get("/docs");
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(!text.contains("src=\"http") && !text.contains("href=\"http") && !text.contains("//cdn"), "the page fetches from elsewhere");
    let metrics = server.get("/metrics").text();
    for name in ["ragstone_http_requests_total", "ragstone_store_bytes", "ragstone_ingest_backlog"] {
        assert!(metrics.contains(name), "{name} missing in\n{metrics}");
    }
}
