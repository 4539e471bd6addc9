//! Requests of any method to what lies below an address: files and lists, where speed doesn't matter.

use super::{Address, ApiKey, EndpointError, refusal};
use crate::ChatError;
use crate::http::client_builder;
use crate::link::with_causes;
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use std::time::Duration;

/// Cheap to share; pools its connections.
pub(crate) struct Below {
    client: Client,
    url: Url,
    api_key: Option<ApiKey>,
}

impl Below {
    /// Sets the client up; sends nothing.
    pub(crate) fn new(address: Address) -> Result<Self, EndpointError> {
        let client = client_builder(&address.url)
            .map_err(|error| EndpointError::Client(error.to_string()))?
            .default_headers(address.headers()?)
            .connect_timeout(address.connect_timeout)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| EndpointError::Client(with_causes(&error)))?;
        Ok(Self { client, url: address.url, api_key: address.key.map(|(_, key)| key) })
    }

    /// Sends what `fill` makes of a request to `path` below the address, with what stands behind its `?`, if anything,
    /// and waits so long for the whole answer. It is one of success, its body still to be read.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        timeout: Duration,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ChatError> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        let queries: Vec<&str> = self.url.query().into_iter().chain(query).collect();
        url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
        let request = fill(self.client.request(method, url).timeout(timeout));
        let response = request.send().await.map_err(network_error)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Err(refusal(status, &headers, bytes_of(response), self.api_key.as_ref()).await)
    }
}

/// The body as it comes in.
pub(crate) fn bytes_of(response: Response) -> impl Stream<Item = Result<Bytes, ChatError>> {
    response.bytes_stream().map_err(network_error)
}

pub(crate) fn network_error(error: reqwest::Error) -> ChatError {
    let is_connect = error.is_connect();
    let reason = with_causes(&error.without_url());
    if is_connect { ChatError::Connect { reason } } else { ChatError::Interrupted { reason } }
}
