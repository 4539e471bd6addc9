//! Requests of any method to what lies below an address.

use super::{Endpoint, network_error};
use crate::ChatError;
use reqwest::{Method, RequestBuilder, Response};
use std::time::Duration;

impl Endpoint {
    /// Sends what `fill` makes of a request to `path` below the address, with what stands behind its `?`, if anything, and waits so long for the whole answer. It is one
    /// of success, its body still to be read.
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
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }
}
