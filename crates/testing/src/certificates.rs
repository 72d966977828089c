//! Authorities and the certificates that they issue, made by a test for itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use graviola::hashing::Sha256;
use graviola::signing::{ecdsa, rsa};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
};
use time::{Duration, OffsetDateTime};

/// The serial number of the next certificate, and the identifier of the next key.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// An authority that issues certificates.
pub struct Authority {
    issuer: Issuer<'static, Key>,
    /// Its own certificate, in PEM.
    pub pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The certificate, in DER.
    pub der: Vec<u8>,
    /// The key in PEM: PKCS#8 for a curve, PKCS#1 for RSA.
    pub key: String,
    /// The key in PEM as SEC1, for a curve.
    pub sec1: Option<String>,
}

impl Authority {
    /// A new authority with this common name.
    pub fn new(name: &str) -> Authority {
        let key = Key::curve();
        let mut params = params(name, &[], (-1, 3650));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap_or_else(|error| panic!("an authority: {error}"));
        let pem = pem("CERTIFICATE", certificate.der());
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names and addresses, with a key on the curve P-256.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_for(&Key::curve(), names, (-1, 365))
    }

    /// As [`Authority::issue`], with a key for RSA.
    pub fn issue_rsa(&self, names: &[&str]) -> Identity {
        self.issue_for(&Key::rsa(), names, (-1, 365))
    }

    /// As [`Authority::issue`], valid from one day to another; today is 0.
    pub fn issue_valid(&self, names: &[&str], days: (i64, i64)) -> Identity {
        self.issue_for(&Key::curve(), names, days)
    }

    /// As [`Authority::issue`], with an empty subject.
    pub fn issue_without_common_name(&self, names: &[&str]) -> Identity {
        let mut params = params("", names, (-1, 365));
        params.distinguished_name = DistinguishedName::new();
        self.sign(&Key::curve(), &params)
    }

    fn issue_for(&self, key: &Key, names: &[&str], days: (i64, i64)) -> Identity {
        self.sign(key, &params(names.first().unwrap_or(&"nobody"), names, days))
    }

    fn sign(&self, key: &Key, params: &CertificateParams) -> Identity {
        let signed = params.signed_by(key, &self.issuer);
        let certificate = signed.unwrap_or_else(|error| panic!("a certificate: {error}"));
        Identity {
            certificate: pem("CERTIFICATE", certificate.der()),
            der: certificate.der().to_vec(),
            key: key.pem(),
            sec1: key.sec1(),
        }
    }
}

fn params(name: &str, names: &[&str], (from, to): (i64, i64)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap_or_else(|error| panic!("names: {error}"));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(to);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    params.serial_number = Some(SerialNumber::from_slice(&number));
    params.key_identifier_method = KeyIdMethod::PreSpecified(number.to_vec());
    params
}

/// Puts `bytes` into the file `name` of a folder, for its owner alone, as a renewal does: all at once.
pub fn put(folder: &Path, name: &str, bytes: &str) -> PathBuf {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let put = || -> std::io::Result<()> {
        fs::write(&new, bytes)?;
        platform::files::make_private(&fs::File::open(&new)?)?;
        fs::rename(&new, &path)
    };
    put().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// A private key with its public key, as rcgen wants it.
enum Key {
    Curve(ecdsa::SigningKey<ecdsa::P256>, Vec<u8>),
    Rsa(Box<rsa::SigningKey>, Vec<u8>),
}

impl Key {
    fn curve() -> Key {
        let key = ecdsa::SigningKey::generate().unwrap_or_else(|error| panic!("a key: {error:?}"));
        let mut buffer = [0; 256];
        let spki = key.to_spki_der(&mut buffer).unwrap_or_else(|error| panic!("a key: {error:?}"));
        // It ends with the point: a byte for its form, and two coordinates.
        let point = spki[spki.len() - 65..].to_vec();
        Key::Curve(key, point)
    }

    fn rsa() -> Key {
        let key = rsa::SigningKey::generate(rsa::KeySize::Rsa2048);
        let key = key.unwrap_or_else(|error| panic!("a key: {error:?}"));
        let mut buffer = [0; 4096];
        let public = key.public_key();
        let public = public.to_pkcs1_der(&mut buffer).unwrap_or_else(|error| panic!("a key: {error:?}"));
        let public = public.to_vec();
        Key::Rsa(Box::new(key), public)
    }

    fn pem(&self) -> String {
        let mut buffer = [0; 8192];
        let (label, der) = match self {
            Key::Curve(key, _) => ("PRIVATE KEY", key.to_pkcs8_der(&mut buffer)),
            Key::Rsa(key, _) => ("RSA PRIVATE KEY", key.to_pkcs1_der(&mut buffer)),
        };
        pem(label, der.unwrap_or_else(|error| panic!("a key: {error:?}")))
    }

    fn sec1(&self) -> Option<String> {
        let Key::Curve(key, _) = self else { return None };
        let mut buffer = [0; 1024];
        let der = key.to_sec1_der(&mut buffer).unwrap_or_else(|error| panic!("a key: {error:?}"));
        Some(pem("EC PRIVATE KEY", der))
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Key::Curve(_, public) | Key::Rsa(_, public) => public,
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Key::Curve(..) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Key::Rsa(..) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut buffer = [0; 512];
        let signature = match self {
            Key::Curve(key, _) => key.sign_asn1::<Sha256>(&[message], &mut buffer),
            Key::Rsa(key, _) => key.sign_pkcs1_sha256(&mut buffer, message),
        };
        Ok(signature.unwrap_or_else(|error| panic!("a signature: {error:?}")).to_vec())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
