//! Who may ask.

use crate::refusal::Refusal;
use crate::route::Dialect;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// Which keys are let in. Anthropic's paths want some key in any case.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Anybody, with a key or without.
    #[default]
    Open,
    /// Whoever has a key, whichever it is.
    AnyKey,
    /// Whoever has this key.
    Key(String),
}

/// Headers that bring a key.
pub(crate) const KEY_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

impl Access {
    /// Refuses a call without a key that is let in, or without what its provider wants beside it.
    pub(crate) fn check(&self, dialect: Dialect, headers: &HeaderMap, query: &str) -> Result<(), Refusal> {
        let key = key(dialect, headers);
        if !self.admits(key) || (dialect == Dialect::Anthropic && key.is_none()) {
            return Err(Refusal::new(401, "invalid_api_key", if key.is_some() { "wrong API key" } else { "no API key" }));
        }
        if dialect == Dialect::Anthropic && !headers.contains_key("anthropic-version") {
            return Err(Refusal::bad_request("anthropic-version: header is required"));
        }
        if dialect == Dialect::AzureDeployment && !query.split('&').any(|pair| pair.starts_with("api-version=")) {
            return Err(Refusal::new(404, "404", "Resource not found"));
        }
        Ok(())
    }

    fn admits(&self, key: Option<&str>) -> bool {
        match self {
            Self::Open => true,
            Self::AnyKey => key.is_some(),
            Self::Key(expected) => key == Some(expected.as_str()),
        }
    }
}

/// The key, if one came in the header where the provider looks for it.
fn key(dialect: Dialect, headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|key| !key.is_empty());
    let bearer = || text(AUTHORIZATION.as_str())?.strip_prefix("Bearer ").filter(|key| !key.is_empty());
    match dialect {
        Dialect::OpenAi => bearer(),
        Dialect::Azure | Dialect::AzureDeployment => text("api-key").or_else(bearer),
        Dialect::Anthropic => text("x-api-key"),
    }
}
