//! TLS by configuration: rustls with ring, TLS 1.2 and 1.3. The files are read again on SIGHUP, so that
//! a renewed certificate needs no restart; what can't be used then is reported and the old one stays.

use crate::config::TlsConfig;
use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificate in force. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    files: TlsConfig,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn open(files: &TlsConfig) -> anyhow::Result<Self> {
        Ok(Self { current: Arc::new(RwLock::new(read(files)?)), files: files.clone() })
    }

    /// One handshake, with the certificate that is in force at its beginning.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<TlsStream<S>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(current).accept(stream).await
    }

    /// Never ends. Connections that are open keep what they have.
    pub(super) async fn reload_on_hangup(self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return tracing::error!("no handler for SIGHUP could be installed: a new certificate needs a restart");
        };
        while hangup.recv().await.is_some() {
            self.reload();
        }
    }

    fn reload(&self) {
        match read(&self.files) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "the new certificate can't be used; the old one stays"),
        }
    }
}

fn read(files: &TlsConfig) -> anyhow::Result<Arc<ServerConfig>> {
    let (cert, key) = (files.cert_file.display(), files.key_file.display());
    let chain = CertificateDer::pem_file_iter(&files.cert_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| anyhow::anyhow!("cert_file: can't read {cert}: {error}"))?;
    let key_der = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| anyhow::anyhow!("key_file: can't read {key}: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key_der).with_context(|| format!("{cert} and {key} can't be used together"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
