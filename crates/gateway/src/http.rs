//! The HTTP client that everything going out is built from: rustls with ring, one way to trust.

use reqwest::{Client, ClientBuilder, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::Arc;

/// A client for this address, to which more authorities to trust may be added.
///
/// # Errors
/// TLS can't be set up.
pub fn client_builder(address: &Url) -> Result<ClientBuilder, rustls::Error> {
    if address.scheme() == "https" {
        // Fails only if some provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        return Ok(Client::builder());
    }
    Ok(Client::builder().tls_backend_preconfigured(tls_config(address.scheme())?))
}

/// Plain http trusts no certificate, so that it works where none are installed (a slim container); https trusts the
/// platform's.
pub(crate) fn tls_config(scheme: &str) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = if scheme == "https" { config.with_platform_verifier()? } else { config.with_root_certificates(RootCertStore::empty()) };
    Ok(config.with_no_client_auth())
}
