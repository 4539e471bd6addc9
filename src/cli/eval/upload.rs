//! A judged collection as the server takes it in: each document over HTTP, under its own id.

use crate::client::{Client, segment};
use ::query::BeirSet;
use anyhow::bail;
use futures::StreamExt;
use serde_json::{Value, json};

/// Uploads under way at a time.
const CONCURRENT: usize = 32;

/// Puts every document that is not there yet in and waits for the last.
pub(super) async fn upload(client: &Client, collection: &str, set: &BeirSet, max_tokens: Option<usize>) -> anyhow::Result<()> {
    let path = format!("/v1/collections/{}", segment(collection));
    let chunking = max_tokens.map_or(json!({}), |tokens| json!({ "max_tokens": tokens }));
    client.ensure_collection(&json!({ "name": collection, "chunking": chunking })).await?;
    let documents = format!("{path}/documents");
    let bar = indicatif::ProgressBar::new(set.documents.len() as u64);
    let uploads = set.documents.iter().filter(|document| !document.text.trim().is_empty()).map(|document| {
        let body = json!({ "text": document.whole(), "external_id": document.id, "name": format!("{}.txt", document.id) });
        let (documents, bar) = (&documents, &bar);
        async move {
            let answer = client.post(&format!("{documents}?wait=true"), &body).await?;
            bar.inc(1);
            match answer.pointer("/documents/0/status").and_then(Value::as_str) {
                Some("ready") => Ok(()),
                _ => bail!("document {} did not become ready: {answer}", document.id),
            }
        }
    });
    let mut uploads = futures::stream::iter(uploads).buffer_unordered(CONCURRENT);
    while let Some(uploaded) = uploads.next().await {
        uploaded?;
    }
    bar.finish_and_clear();
    Ok(())
}
