//! Errors in the shape of each provider.

use crate::content::Content;
use crate::route::Dialect;
use bytes::Bytes;
use serde_json::{Value, json};

/// Why a call gets no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_value", message)
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(404, "not_found", what)
    }

    /// The status that a script asks for.
    pub(crate) fn scripted(status: u16) -> Self {
        Self::new(status, openai_code(status), format!("status {status}, as the script says"))
    }

    pub(crate) fn body(&self, dialect: Dialect) -> Value {
        let Self { status, code, message } = self;
        match dialect {
            Dialect::OpenAi => {
                json!({"error": {"message": message, "type": openai_type(*status), "param": null, "code": code}})
            }
            Dialect::Azure | Dialect::AzureDeployment => json!({"error": {"code": status.to_string(), "message": message}}),
            Dialect::Anthropic => {
                json!({"type": "error", "error": {"type": anthropic_type(*status), "message": message}, "request_id": "req_mock"})
            }
        }
    }

    pub(crate) fn content(&self, dialect: Dialect) -> Content {
        Content { status: self.status, ..Content::json(&self.body(dialect)) }
    }

    /// The error as an event in the middle of a stream.
    pub(crate) fn event(&self, dialect: Dialect) -> Bytes {
        let data = self.body(dialect);
        let name = if dialect == Dialect::Anthropic { "event: error\n" } else { "" };
        Bytes::from(format!("{name}data: {data}\n\n"))
    }
}

fn openai_code(status: u16) -> &'static str {
    match status {
        401 => "invalid_api_key",
        404 => "model_not_found",
        413 => "request_too_large",
        429 => "rate_limit_exceeded",
        500.. => "server_error",
        _ => "invalid_value",
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}
