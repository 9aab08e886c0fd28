//! The certificate that the webhook shows: read from files, and read anew when they have changed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// As a Secret of type `kubernetes.io/tls` calls them.
const NAMES: [&str; 2] = ["tls.crt", "tls.key"];

pub struct Certificates {
    folder: PathBuf,
    /// What the files held when they were last looked at.
    seen: [Vec<u8>; 2],
    config: Arc<ServerConfig>,
}

impl Certificates {
    pub fn read(folder: PathBuf) -> io::Result<Self> {
        let seen = files(&folder)?;
        Ok(Self {
            config: config(&seen)?,
            folder,
            seen,
        })
    }

    /// Takes up files that have changed. While they are not good, as they may be for a moment, the last good ones are shown.
    pub fn look(&mut self) {
        let found = match files(&self.folder) {
            Ok(found) if found == self.seen => return,
            Ok(found) => found,
            Err(error) => return warn!(%error, "the webhook's certificate cannot be read"),
        };
        match config(&found) {
            Ok(config) => {
                info!("the webhook shows another certificate");
                self.config = config;
            }
            Err(error) => warn!(%error, "the webhook's certificate has changed and is not good"),
        }
        self.seen = found;
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

fn files(folder: &std::path::Path) -> io::Result<[Vec<u8>; 2]> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    Ok([read(NAMES[0])?, read(NAMES[1])?])
}

fn config([certificates, key]: &[Vec<u8>; 2]) -> io::Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}
