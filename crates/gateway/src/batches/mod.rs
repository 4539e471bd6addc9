//! A provider's own batch interface, as OpenAI has it: a file of requests goes up, and within a day a file of answers
//! can be had, for half the price.
//!
//! One try each, no retries: those are decided above, where it is known what is durable. Only [`BatchClient::create`]
//! must not simply be made again: the batch may have begun though its answer was lost. So it carries the caller's name
//! for it, and [`BatchClient::find`] looks for that first.

mod lines;
#[cfg(test)]
mod tests;
mod wire;

pub use lines::BatchAnswers;
pub use wire::{BatchAnswer, BatchFailure, BatchState, ProviderBatch};

use crate::endpoint::{Address, Below, EndpointError, KeyHeader, bytes_of, read};
use crate::providers::batch_body;
use crate::{ChatConfig, ChatError, ChatRequest};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// What every request of a batch asks for.
const CHAT: &str = "/v1/chat/completions";
/// The only window that there is.
const WINDOW: &str = "24h";
/// Under which the caller's name for a batch stands in its metadata.
const NAME: &str = "ragstone_job";
/// How long a call may take, and one that moves a file.
const CALL: Duration = Duration::from_secs(60);
const TRANSFER: Duration = Duration::from_secs(600);
/// Largest answer about batches.
const JSON_BYTES_MAX: usize = 4 << 20;
/// Batches in a page of the list, and pages that are looked through.
const LISTED: usize = 100;
const PAGES_MAX: usize = 20;

/// The batch interface behind one deployment. Cheap to share; pools its connections.
pub struct BatchClient {
    below: Below,
    config: ChatConfig,
}

impl BatchClient {
    /// Sets the client up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: ChatConfig) -> Result<Self, EndpointError> {
        let header = if config.dialect.has_api_key_header { KeyHeader::Named("api-key") } else { KeyHeader::Bearer };
        let address = Address::new(&config.base_url, "", config.timeouts.connect)?.with_key(header, config.api_key.clone());
        Ok(Self { below: Below::new(address)?, config })
    }

    /// The deployment that figures are attributed to.
    #[must_use]
    pub fn deployment(&self) -> &str {
        &self.config.deployment
    }

    /// A line of the file of requests.
    #[must_use]
    pub fn line(&self, custom_id: &str, request: &ChatRequest) -> String {
        let body = batch_body(&self.config.model, self.config.dialect, request);
        format!("{}\n", json!({ "custom_id": custom_id, "method": "POST", "url": CHAT, "body": body }))
    }

    /// Uploads a file of requests; its id there.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn upload(&self, name: &str, lines: String) -> Result<String, ChatError> {
        let file = Part::bytes(lines.into_bytes()).file_name(format!("{name}.jsonl"));
        let form = Form::new().text("purpose", "batch").part("file", file);
        let response = self.below.send(Method::POST, "/files", TRANSFER, |request| request.multipart(form)).await?;
        wire::id(&json_of::<Value>(response).await?)
    }

    /// Begins a batch over an uploaded file under the caller's name for it.
    ///
    /// # Errors
    /// [`ChatError`]. It may have begun all the same, unless the provider refused.
    pub async fn create(&self, file: &str, name: &str) -> Result<ProviderBatch, ChatError> {
        let body = json!({ "input_file_id": file, "endpoint": CHAT, "completion_window": WINDOW, "metadata": { NAME: name } });
        // Providers that know this header close the gap by themselves.
        let fill = |request: reqwest::RequestBuilder| request.header("idempotency-key", name).json(&body);
        ProviderBatch::read(&json_of(self.below.send(Method::POST, "/batches", CALL, fill).await?).await?)
    }

    /// The batch that was begun under this name, if there is one among the latest.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn find(&self, name: &str) -> Result<Option<ProviderBatch>, ChatError> {
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let after_last = after.take().map(|last| format!("&after={last}")).unwrap_or_default();
            let path = format!("/batches?limit={LISTED}{after_last}");
            let page: wire::List = json_of(self.get(&path, CALL).await?).await?;
            if let Some(found) = page.data.iter().find(|batch| batch.pointer(&format!("/metadata/{NAME}")) == Some(&json!(name))) {
                return Ok(Some(ProviderBatch::read(found)?));
            }
            match page.data.last().map(wire::id).transpose()? {
                Some(last) if page.has_more => after = Some(last),
                _ => break,
            }
        }
        Ok(None)
    }

    /// How a batch stands.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn look(&self, id: &str) -> Result<ProviderBatch, ChatError> {
        ProviderBatch::read(&json_of(self.get(&format!("/batches/{}", wire::checked(id)?), CALL).await?).await?)
    }

    /// Asks for the end of a batch, which comes later. One that has ended already is no error.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn cancel(&self, id: &str) -> Result<(), ChatError> {
        let path = format!("/batches/{}/cancel", wire::checked(id)?);
        match self.below.send(Method::POST, &path, CALL, |request| request).await {
            Err(ChatError::Status { status: 400 | 409, .. }) => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// The answers in a file, in no order.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn answers(&self, file: &str) -> Result<BatchAnswers, ChatError> {
        Ok(BatchAnswers::of(self.get(&format!("/files/{}/content", wire::checked(file)?), TRANSFER).await?))
    }

    /// Removes a file from the provider.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn remove_file(&self, file: &str) -> Result<(), ChatError> {
        let path = format!("/files/{}", wire::checked(file)?);
        self.below.send(Method::DELETE, &path, CALL, |request| request).await.map(drop)
    }

    async fn get(&self, path: &str, timeout: Duration) -> Result<reqwest::Response, ChatError> {
        self.below.send(Method::GET, path, timeout, |request| request).await
    }
}

async fn json_of<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, ChatError> {
    let mut body = Vec::new();
    read(bytes_of(response), JSON_BYTES_MAX, &mut body).await?;
    if body.len() > JSON_BYTES_MAX {
        return Err(ChatError::TooLarge { what: "what it says about batches", bytes_max: JSON_BYTES_MAX });
    }
    serde_json::from_slice(&body).map_err(|error| ChatError::Malformed { reason: format!("nothing about batches: {error}") })
}
