//! The cluster's own authority, and what it signs: the API server's certificate, and one for each user.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::error::{Error, Result};

/// Signs for one cluster, and is forgotten with it.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Where an [`Identity`] was written.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut wanted = named("portolan-tests", None);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let made = KeyPair::generate().and_then(|key| Ok((wanted.self_signed(&key)?, key)));
        let (certificate, key) = made.map_err(failed("the authority"))?;
        Ok(Self {
            issuer: Issuer::new(wanted, key),
            certificate,
        })
    }

    pub(crate) fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// Kubernetes reads a user's name from the common name, and its group from the organization.
    pub(crate) fn user(&self, name: &str, group: Option<&str>) -> Result<Identity> {
        let mut wanted = named(name, group);
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(wanted, name)
    }

    pub(crate) fn server(&self, name: &str, addresses: &[IpAddr], hosts: &[&str]) -> Result<Identity> {
        let mut wanted = named(name, None);
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        wanted
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        for host in hosts {
            let host = (*host).try_into().map_err(failed(name))?;
            wanted.subject_alt_names.push(SanType::DnsName(host));
        }
        self.sign(wanted, name)
    }

    fn sign(&self, mut wanted: CertificateParams, subject: &str) -> Result<Identity> {
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let made = KeyPair::generate().and_then(|key| Ok((wanted.signed_by(&key, &self.issuer)?, key)));
        let (certificate, key) = made.map_err(failed(subject))?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// Writes it as `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> Result<Files> {
        let files = Files {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        for (path, text) in [(&files.certificate, &self.certificate), (&files.key, &self.key)] {
            fs::write(path, text).map_err(Error::system(format!("write {}", path.display())))?;
        }
        Ok(files)
    }
}

/// What service accounts' tokens are signed with: the key, and its public part, by which they are checked.
pub(crate) fn signing_key() -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(failed("service accounts"))?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn named(name: &str, group: Option<&str>) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        wanted.distinguished_name.push(DnType::OrganizationName, group);
    }
    wanted
}

fn failed(subject: &str) -> impl FnOnce(rcgen::Error) -> Error {
    let subject = subject.to_string();
    move |source| Error::Certificate { subject, source }
}
