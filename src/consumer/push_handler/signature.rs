//! The signature of a request after Standard Webhooks (standardwebhooks.com, version 1.0.0): HMAC-SHA256 of
//! `id.timestamp.body` with a secret that sender and receiver share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use net::secret_file;
use net::sync::{Mutex, lock};
use sha2::Sha256;

use crate::error::{Error, Result};

/// The setting that names the file.
const SETTING: &str = "consumer.push_secret_file";
/// How often it is looked whether the file has changed.
const RENEWAL: Duration = Duration::from_secs(60);
/// Keys are as long as this, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The most secrets of a file.
const MAX_SECRETS: usize = 8;

/// Signs with the secrets of a file: one in each line, `whsec_` and the key in base64. Several secrets make
/// several signatures, so that a receiver may change from one to another.
pub struct Signer {
    path: PathBuf,
    current: Mutex<Current>,
}

struct Current {
    keys: Vec<Vec<u8>>,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Signer {
    /// Reads the file, which its owner alone may read.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or a line is no secret. The error holds no bytes of it.
    pub fn new(path: &Path) -> Result<Signer> {
        let changed = changed(path);
        let current = Mutex::new(Current { keys: read(path)?, changed, looked: Instant::now() });
        Ok(Signer { path: path.to_owned(), current })
    }

    /// The value of `webhook-signature` for a message, sent at a time in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut current = lock(&self.current);
        if current.looked.elapsed() >= RENEWAL {
            self.renew(&mut current);
        }
        let signatures = current.keys.iter().filter_map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    /// Takes the secrets of a file that has changed; those known stay where it cannot be used.
    fn renew(&self, current: &mut Current) {
        current.looked = Instant::now();
        let changed = changed(&self.path);
        if changed == current.changed {
            return;
        }
        match read(&self.path) {
            Ok(keys) => (current.keys, current.changed) = (keys, changed),
            Err(error) => log::warn!("{error}; the secrets that were read before stay in use"),
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>> {
    let refused = |why: &str| Error::new(format!("{SETTING}: {} {why}", path.display()));
    let bytes = secret_file::read(path).map_err(|error| Error::new(format!("{SETTING}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is no text"))?;
    let keys: Option<Vec<Vec<u8>>> = text.split_whitespace().map(key).collect();
    let keys = keys.ok_or_else(|| {
        refused("has a line that is no secret: whsec_ and the base64 of 24 to 64 bytes, as from openssl rand")
    })?;
    match keys.len() {
        1..=MAX_SECRETS => Ok(keys),
        0 => Err(refused("has no secret")),
        _ => Err(refused("has more than 8 secrets")),
    }
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A file of the test's own, removed in the end.
    struct Secrets(PathBuf);

    impl Secrets {
        fn new(text: &str) -> Secrets {
            let unique = net::random::hex::<8>().unwrap();
            let path = std::env::temp_dir().join(format!("push-secret-{unique}"));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Secrets(path)
        }
    }

    impl Drop for Secrets {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// The example of the specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_example_of_standard_webhooks_is_signed_as_there() {
        let file = Secrets::new(SECRET);
        let signer = Signer::new(&file.0).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn several_secrets_make_several_signatures() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let [both, first, second] =
            [format!("{SECRET}\n{other}\n"), SECRET.to_owned(), other].map(|text| Secrets::new(&text));
        let sign = |file: &Secrets| Signer::new(&file.0).unwrap().sign("id", 1, b"body");
        assert_eq!(sign(&both), format!("{} {}", sign(&first), sign(&second)));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_told() {
        for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_xyz!", "whsec_AAAA"] {
            let file = Secrets::new(wrong);
            let error = Signer::new(&file.0).err().unwrap().to_string();
            assert!(error.starts_with("consumer.push_secret_file: "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
        let file = Secrets::new(SECRET);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Signer::new(&file.0).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
