use crate::support::{Server, Setup, fixture};
use serde_json::Value;

const DOCUMENTS: &str = "/v1/collections/default/documents";

fn slice(server: &Server, id: &str, span: &Value) -> String {
    let range = format!("byte_start={}&byte_end={}", span["byte_start"], span["byte_end"]);
    let bytes = server.get(&format!("{DOCUMENTS}/{id}/text?{range}"));
    assert_eq!(bytes.status, 200, "{}", bytes.text());
    let range = format!("char_start={}&char_end={}", span["char_start"], span["char_end"]);
    let characters = server.get(&format!("{DOCUMENTS}/{id}/text?{range}"));
    assert_eq!(bytes.text(), characters.text());
    bytes.text()
}

#[test]
fn every_chunk_says_what_the_text_says_at_its_span() {
    let server = Setup::hash().config("[chunking]\nmax_tokens = 32\noverlap_tokens = 8\n").start();
    for name in ["foghorn.pdf", "lamp.docx", "tide-gauge.html", "signal-mast.md", "wujia-lighthouse.md"] {
        let reply = server.upload(&format!("{DOCUMENTS}?wait=true"), &[(name, &fixture(name))], &[]).ok();
        let id = reply["documents"][0]["id"].as_str().unwrap().to_owned();
        let chunks = server.get(&format!("{DOCUMENTS}/{id}/chunks?limit=1000")).ok()["data"].clone();
        assert!(!chunks.as_array().unwrap().is_empty(), "{name}");
        for chunk in chunks.as_array().unwrap() {
            assert_eq!(slice(&server, &id, &chunk["span"]), chunk["text"].as_str().unwrap(), "{name}");
        }
    }
}

#[test]
fn ranges_are_checked() {
    let server = Setup::hash().start();
    server.add_text("default", "zh", "灯塔在海边。");
    let get = |query: &str| server.get(&format!("{DOCUMENTS}/zh/text{query}"));
    assert_eq!(get("").text(), "灯塔在海边。");
    assert_eq!(get("?byte_start=3&byte_end=6").text(), "塔");
    assert_eq!(get("?char_start=1&char_end=2").text(), "塔");
    assert_eq!(get("?char_start=4").text(), "边。");
    for bad in [
        "?byte_start=1",
        "?byte_end=999",
        "?byte_start=6&byte_end=3",
        "?byte_start=0&char_start=0",
        "?char_end=99",
        "?byte_start=x",
        "?from=1",
    ] {
        assert_eq!(get(bad).status, 400, "{bad}");
    }
}

#[test]
fn an_original_is_a_download_and_never_a_page() {
    let server = Setup::hash().start();
    let reply = server.upload(&format!("{DOCUMENTS}?wait=true"), &[("été \"x\".html", &fixture("tide-gauge.html"))], &[]).ok();
    let content = server.get(&format!("{DOCUMENTS}/{}/content", reply["documents"][0]["id"].as_str().unwrap()));
    let disposition = content.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename*=UTF-8''%C3%A9t%C3%A9"), "{disposition}");
    assert_eq!(content.header("x-content-type-options"), Some("nosniff"));
}
