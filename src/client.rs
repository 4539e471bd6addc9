//! The HTTP client of the command line.

use anyhow::{Context, bail};
use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// How often a refusal that names a time is waited for.
const TRIES: usize = 60;

/// Talks to one server.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// An answer, and when the first of its events came that was waited for.
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) first_at: Option<Instant>,
}

impl Client {
    pub(crate) fn new(base: &str, key: Option<String>) -> anyhow::Result<Self> {
        Self::trusting(base, key, None)
    }

    /// Trusts the certificates of a PEM file as well as the platform's.
    pub(crate) fn trusting(base: &str, key: Option<String>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let address = base.parse().with_context(|| format!("{base:?} is not the address of a server, such as http://127.0.0.1:7272"))?;
        let http = gateway::http::client_builder(&address).context("can't set up TLS")?;
        let http = trust(http, ca_file.filter(|_| address.scheme() == "https"))?;
        let http = http.connect_timeout(Duration::from_secs(3)).build().context("can't set up HTTP")?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Whether a ready server answers.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let answer = self.http.get(format!("{}/healthz", self.base)).timeout(Duration::from_secs(3)).send().await?;
        if answer.status().is_success() { Ok(()) } else { bail!("the server answers {}", answer.status()) }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(|| self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(|| self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.answer(|| self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Writes the answer's body to a new file; its sha256 in hex.
    pub(crate) async fn download(&self, path: &str, file: &Path) -> anyhow::Result<String> {
        let mut answer = self.request(Method::GET, path).send().await.with_context(|| format!("no answer from {}", self.base))?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{}", problem(status, &answer.text().await?));
        }
        let (mut file, mut hash) = (tokio::fs::File::create_new(file).await?, Sha256::new());
        while let Some(bytes) = answer.chunk().await? {
            hash.update(&bytes);
            file.write_all(&bytes).await?;
        }
        file.sync_all().await?;
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Makes a collection unless there is one of that name.
    pub(crate) async fn ensure_collection(&self, new: &Value) -> anyhow::Result<()> {
        let name = new.get("name").and_then(Value::as_str).unwrap_or_default();
        let path = format!("/v1/collections/{}", segment(name));
        let answer = self.request(Method::GET, &path).send().await.with_context(|| format!("no answer from {}", self.base))?;
        if answer.status() == StatusCode::NOT_FOUND {
            self.post("/v1/collections", new).await?;
        } else if !answer.status().is_success() {
            let status = answer.status();
            bail!("{}", problem(status, &answer.text().await?));
        }
        Ok(())
    }

    /// Uploads one file.
    pub(crate) async fn upload(&self, path: &str, name: &str, bytes: Vec<u8>) -> anyhow::Result<Value> {
        let form = || {
            let part = reqwest::multipart::Part::bytes(bytes.clone()).file_name(name.to_owned());
            reqwest::multipart::Form::new().part("file", part)
        };
        self.send(|| self.request(Method::POST, path).multipart(form())).await
    }

    /// Posts JSON and hears the answer to its end, whole or streamed; once. A refusal is an error.
    pub(crate) async fn hear(&self, path: &str, body: Vec<u8>, is_first: impl Fn(&str) -> bool) -> anyhow::Result<Heard> {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body);
        let mut answer = request.send().await?;
        let (status, mut bytes, mut first_at, mut looked_at) = (answer.status(), Vec::new(), None, 0);
        while let Some(piece) = answer.chunk().await? {
            bytes.extend_from_slice(&piece);
            let lines = bytes.get(looked_at..).unwrap_or_default();
            let Some(end) = lines.iter().rposition(|byte| *byte == b'\n').filter(|_| first_at.is_none()) else { continue };
            let mut events =
                lines.get(..end).unwrap_or_default().split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
            first_at = events.any(|event| is_first(&String::from_utf8_lossy(event))).then(Instant::now);
            looked_at += end + 1;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.is_success() { Ok(Heard { text, first_at }) } else { bail!("{}", problem(status, &text)) }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn send(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.answer(request).await?)?)
    }

    /// Sends; waits and tries again while the server names a time for it.
    async fn answer(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<String> {
        for _ in 0..TRIES {
            let answer = request().send().await.with_context(|| format!("no answer from {}", self.base))?;
            let status = answer.status();
            let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let text = answer.text().await?;
            match (status, retry_after) {
                (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(seconds)) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                (status, _) if status.is_success() => return Ok(text),
                (status, _) => bail!("{}", problem(status, &text)),
            }
        }
        bail!("the server stayed too busy to answer")
    }
}

fn trust(http: ClientBuilder, ca_file: Option<&Path>) -> anyhow::Result<ClientBuilder> {
    let Some(path) = ca_file else { return Ok(http) };
    let pem = std::fs::read(path).with_context(|| format!("can't read the certificates in {}", path.display()))?;
    let certificates = Certificate::from_pem_bundle(&pem).with_context(|| format!("{} has no certificates in PEM", path.display()))?;
    Ok(http.tls_certs_merge(certificates))
}

/// What a refusal says, for people.
fn problem(status: StatusCode, body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    match problem.get("detail").and_then(Value::as_str) {
        Some(detail) => format!("{detail} ({status})"),
        None => format!("the server answers {status}"),
    }
}

/// One segment of a path, percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
