//! One address of a provider: where requests go, with which key, and what a refusal says.
//!
//! Redirects are off, because a key must not follow one; proxies and addresses come from the
//! configuration only, never from the environment. Keys are blotted out of whatever comes back.

mod below;

use crate::ChatError;
use crate::http::client_builder;
use crate::retry_after::retry_after;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use serde::Serialize;
use serde_json::Value;
use std::error::Error as _;
use std::fmt;
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
        let client = client_builder(&self.url)
            .map_err(|error| EndpointError::Client(error.to_string()))?
            .default_headers(self.headers()?)
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| EndpointError::Client(chain(&error)))?;
        Ok(Endpoint { client, url: self.url, api_key: self.key.map(|(_, key)| key) })
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
    client: Client,
    url: Url,
    api_key: Option<ApiKey>,
}

impl Endpoint {
    /// Sends `body` as JSON; the answer is one of success, its body still to be read.
    pub(crate) async fn post(&self, body: &impl Serialize) -> Result<Response, ChatError> {
        let response = self.client.post(self.url.clone()).json(body).send().await.map_err(network_error)?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, mut response: Response) -> ChatError {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        // What came before the body broke off is still the best that is known.
        let _ = read(&mut response, REFUSAL_BYTES_MAX, &mut body).await;
        body.truncate(REFUSAL_BYTES_MAX);
        ChatError::Status { status, retry_after, message: shorten(&self.blot(error_message(&body))) }
    }

    /// Providers like to repeat the key that they refuse.
    fn blot(&self, message: String) -> String {
        match &self.api_key {
            Some(ApiKey(key)) if !key.is_empty() => message.replace(key, "…"),
            _ => message,
        }
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

/// Appends the body to `body` until its end, or until that holds more than `bytes_max`.
pub(crate) async fn read(response: &mut Response, bytes_max: usize, body: &mut Vec<u8>) -> Result<(), ChatError> {
    while body.len() <= bytes_max
        && let Some(bytes) = response.chunk().await.map_err(network_error)?
    {
        body.extend_from_slice(&bytes);
    }
    Ok(())
}

pub(crate) fn network_error(error: reqwest::Error) -> ChatError {
    let is_connect = error.is_connect();
    let reason = chain(&error.without_url());
    if is_connect { ChatError::Connect { reason } } else { ChatError::Interrupted { reason } }
}

/// An error with its causes, outermost first.
fn chain(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
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
