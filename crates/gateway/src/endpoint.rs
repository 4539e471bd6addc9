//! One address of a provider: where requests go, with which key, and what a refusal says.
//!
//! No redirect is followed, because a key must not follow one; addresses come from the configuration only, and no proxy
//! from the environment. Keys are blotted out of whatever comes back.

mod below;

use crate::ChatError;
use crate::link::{Answer, Links};
use crate::retry_after::retry_after;
pub(crate) use below::{Below, bytes_of, network_error};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Full;
use reqwest::Url;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::pin::pin;
use std::time::{Duration, SystemTime};

/// A provider's key. Its `Debug` output is blank.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Why a provider's configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not an absolute http or https URL.
    #[error("the provider's base URL {0:?} is not an absolute http(s) URL")]
    BaseUrl(String),
    /// A key that can't stand in a header.
    #[error("the provider's key has characters that can't be sent")]
    ApiKey,
    /// No TLS, for lack of root certificates as a rule, or no thread.
    #[error("the HTTP client can't be set up: {0}")]
    Client(String),
}

/// Which header carries the key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyHeader {
    /// `Authorization: Bearer`.
    Bearer,
    /// The bare key in a header of this name.
    Named(&'static str),
}

/// An address and what every request to it carries.
pub(crate) struct Address {
    url: Url,
    headers: HeaderMap,
    key: Option<(KeyHeader, ApiKey)>,
    connect_timeout: Duration,
}

impl Address {
    /// What answers at `path` below `base_url`; a query of the latter stays behind the path.
    pub(crate) fn new(base_url: &str, path: &str, connect_timeout: Duration) -> Result<Self, EndpointError> {
        let url = join(base_url, path).ok_or_else(|| EndpointError::BaseUrl(base_url.to_owned()))?;
        Ok(Self { url, headers: HeaderMap::new(), key: None, connect_timeout })
    }

    #[must_use]
    pub(crate) fn with_accept(mut self, accept: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(accept));
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    #[must_use]
    pub(crate) fn with_key(mut self, header: KeyHeader, key: Option<ApiKey>) -> Self {
        self.key = key.map(|key| (header, key));
        self
    }

    /// Sets the client up; sends nothing.
    pub(crate) fn connect(self) -> Result<Endpoint, EndpointError> {
        let mut headers = self.headers()?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let uri: Uri = self.url.as_str().parse().map_err(|_| EndpointError::BaseUrl(self.url.to_string()))?;
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        headers.insert(HOST, host.ok_or_else(|| EndpointError::BaseUrl(self.url.to_string()))?);
        let path = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let links = Links::new(uri, self.connect_timeout).map_err(|error| EndpointError::Client(error.to_string()))?;
        Ok(Endpoint { links, path, headers, api_key: self.key.map(|(_, key)| key) })
    }

    fn headers(&self) -> Result<HeaderMap, EndpointError> {
        let mut headers = self.headers.clone();
        if let Some((header, ApiKey(key))) = &self.key {
            let (name, value) = match header {
                KeyHeader::Bearer => (AUTHORIZATION, format!("Bearer {key}")),
                KeyHeader::Named(name) => (HeaderName::from_static(name), key.clone()),
            };
            let mut value = HeaderValue::from_str(&value).map_err(|_| EndpointError::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// Cheap to share; pools its connections.
pub(crate) struct Endpoint {
    links: Links,
    path: Uri,
    headers: HeaderMap,
    api_key: Option<ApiKey>,
}

impl Endpoint {
    /// Sends `body` as JSON; the answer is one of success, its body still to be read.
    pub(crate) async fn post(&self, body: &impl Serialize) -> Result<Answer, ChatError> {
        let body =
            serde_json::to_vec(body).map_err(|error| ChatError::Malformed { reason: format!("a request that is no JSON: {error}") })?;
        let mut request = Request::new(Full::from(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.links.send(request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(refusal(answer.status.as_u16(), &answer.headers, answer.body, self.api_key.as_ref()).await)
    }
}

/// What a provider says in place of an answer.
async fn refusal(
    status: u16,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<Bytes, ChatError>>,
    api_key: Option<&ApiKey>,
) -> ChatError {
    let retry_after = retry_after(headers, SystemTime::now());
    let mut text = Vec::new();
    // What came before the body broke off is still the best that is known.
    let _ = read(body, REFUSAL_BYTES_MAX, &mut text).await;
    text.truncate(REFUSAL_BYTES_MAX);
    ChatError::Status { status, retry_after, message: shorten(&blot(error_message(&text), api_key)) }
}

/// Providers like to repeat the key that they refuse.
fn blot(message: String, api_key: Option<&ApiKey>) -> String {
    match api_key {
        Some(ApiKey(key)) if !key.is_empty() => message.replace(key, "…"),
        _ => message,
    }
}

/// Most bytes of an error body that are read.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

fn join(base_url: &str, path: &str) -> Option<Url> {
    let (base, query) = base_url.split_once('?').map_or((base_url, None), |(base, query)| (base, Some(query)));
    let mut url = Url::parse(&format!("{}{path}", base.trim_end_matches('/'))).ok()?;
    url.set_query(query);
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// Appends the body to `text` until its end, or until that holds more than `bytes_max`.
pub(crate) async fn read(
    body: impl Stream<Item = Result<Bytes, ChatError>>,
    bytes_max: usize,
    text: &mut Vec<u8>,
) -> Result<(), ChatError> {
    let mut body = pin!(body);
    while text.len() <= bytes_max
        && let Some(bytes) = body.next().await
    {
        text.extend_from_slice(&bytes?);
    }
    Ok(())
}

/// The provider's words in an error body: `{"error":{"message"}}`, `{"error":"…"}`,
/// `{"message"}`, `{"detail"}`, or the text as it is.
fn error_message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| {
        let places = [json.pointer("/error/message"), json.get("error"), json.get("message"), json.get("detail")];
        places.into_iter().flatten().find_map(Value::as_str)
    });
    said.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned)
}

const MESSAGE_CHARS_MAX: usize = 300;

/// Fit for one line of a log.
pub(crate) fn shorten(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}
