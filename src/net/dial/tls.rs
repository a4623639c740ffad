//! TLS by rustls: the only module that names it.
//!
//! Owns the certificates that are trusted and the one that is shown. Promises that there is one
//! cryptography provider, given by name to each client, so that nothing depends on what a process
//! has installed; and that a server's name is always checked. Never talks before the handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::engine::files::read_regular_file;
use crate::ops::file::CERTIFICATES_BYTES_MAX;

/// The files of certificates, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that are trusted instead of the system's.
    pub authorities: Option<PathBuf>,
    /// The chain and the key that are shown to servers that ask who we are.
    pub client: Option<ClientFiles>,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate and those above it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The system trusts nobody.
    #[error("the system has no certificates of authorities ({0}); name a file that has some")]
    NoAuthorities(String),
    /// The library refuses.
    #[error("{0}")]
    Library(String),
}

/// Wraps connections in TLS; cloning shares the certificates.
#[derive(Clone)]
pub(super) struct TlsClient {
    connector: TlsConnector,
}

impl TlsClient {
    pub(super) fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let library = |error: rustls::Error| TlsError::Library(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(library)?
            .with_root_certificates(authorities(files)?);
        let mut config = match &files.client {
            None => builder.with_no_client_auth(),
            Some(ClientFiles { certificate, key }) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_slice(&pem(key)?).map_err(|error| {
                    TlsError::File { path: key.clone(), why: pem_words(&error) }
                })?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| TlsError::File {
                    path: certificate.clone(),
                    why: error.to_string(),
                })?
            }
        };
        // The upgrade to a WebSocket is spoken in HTTP 1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands with the server of this name; an error says why it is not trusted.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        self.connector.connect(name, stream).await.map_err(|error| error.to_string())
    }
}

fn authorities(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &files.authorities {
        for certificate in certificates(path)? {
            store
                .add(certificate)
                .map_err(|error| TlsError::File { path: path.clone(), why: error.to_string() })?;
        }
        return Ok(store);
    }
    let found = rustls_native_certs::load_native_certs();
    // Systems have some that nobody can read any more; those that can be read are enough.
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(store);
    }
    let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
    Err(TlsError::NoAuthorities(why))
}

/// The bytes of a file of certificates or of a key.
fn pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_regular_file(path, CERTIFICATES_BYTES_MAX)
        .map_err(|error| TlsError::File { path: path.to_owned(), why: error.to_string() })
}

/// All certificates of a file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |why| TlsError::File { path: path.to_owned(), why };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(pem_words(&error)))?;
    if certificates.is_empty() {
        return Err(refuse("no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

fn pem_words(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        rustls::pki_types::pem::Error::NoItemsFound => "no key in PEM".to_owned(),
        other => other.to_string(),
    }
}
