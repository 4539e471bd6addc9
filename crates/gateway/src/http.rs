//! The HTTP client that everything going out is built from: rustls with ring, one way to trust.

use reqwest::{Client, ClientBuilder, Url};
use std::sync::Arc;

/// A client for this address. Plain http trusts no certificate, so that it works where none are
/// installed (a slim container); https trusts the platform's.
///
/// # Errors
/// TLS can't be set up.
pub fn client_builder(address: &Url) -> Result<ClientBuilder, rustls::Error> {
    let provider = rustls::crypto::ring::default_provider();
    if address.scheme() == "https" {
        // Fails only if some provider is installed already, which is as good.
        let _ = provider.install_default();
        return Ok(Client::builder());
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(config))
}
