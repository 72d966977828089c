//! A real Kafka with listeners of every kind: TLS, TLS with client certificates, SASL over either, and some
//! that are wrong on purpose. ACLs are on; `adela` and whoever has no name may do everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::authority::{Authority, write_secret};
use super::kafka::Kafka;
use super::kraft::{Extras, Listener};
use super::ports::free_port;
use super::program::Start;
use super::watchdog::Folder;
use super::{NEWEST, OLDEST};

/// The user who may do everything.
pub const USER: &str = "adela";
/// Her password, and with the authority's endpoint for tokens her secret.
pub const PASSWORD: &str = "the secret of: adela/1";

/// The mechanisms of the SASL listeners.
pub const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// The listeners: name, protocol, the certificate where it has one, further settings.
const LISTENERS: [(&str, &str, &str, &str); 11] = [
    ("TLS", "SSL", "server-rsa.pem", ""),
    ("MTLS", "SSL", "server-p256.pem", "ssl.client.auth=required"),
    ("TLS12", "SSL", "server-rsa.pem", "ssl.enabled.protocols=TLSv1.2"),
    ("SASL", "SASL_PLAINTEXT", "", ""),
    ("SASLTLS", "SASL_SSL", "server-rsa.pem", ""),
    ("BRIEF", "SASL_SSL", "server-p256.pem", "connections.max.reauth.ms=5000"),
    ("SCRAM", "SASL_PLAINTEXT", "", ""),
    ("OTHERNAME", "SSL", "other-name.pem", ""),
    ("EXPIRED", "SSL", "expired.pem", ""),
    ("UNKNOWN", "SSL", "unknown.pem", ""),
    ("NOWHERE", "PLAINTEXT", "", ""),
];

/// Whom `NOWHERE` advertises.
const NOBODY: &str = "";

const SETTINGS: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:adela
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
sasl.oauthbearer.expected.audience=kafka-of-the-tests
sasl.oauthbearer.expected.issuer=https://issuer.example
connection.failed.authentication.delay.ms=100
";

/// The module of each mechanism, with its options.
fn module(mechanism: &str) -> String {
    let security = "org.apache.kafka.common.security";
    match mechanism {
        "PLAIN" => format!(
            "{security}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\" user_nobody=\"x\";"
        ),
        "OAUTHBEARER" => format!("{security}.oauthbearer.OAuthBearerLoginModule required;"),
        _ => format!("{security}.scram.ScramLoginModule required;"),
    }
}

/// The settings of a listener with SASL.
fn sasl(prefix: &str, mechanisms: &[&str]) -> String {
    let mut settings = format!("{prefix}.sasl.enabled.mechanisms={}\n", mechanisms.join(","));
    for mechanism in mechanisms {
        let prefix = format!("{prefix}.{}", mechanism.to_lowercase());
        settings += &format!("{prefix}.sasl.jaas.config={}\n", module(mechanism));
        if *mechanism == "OAUTHBEARER" {
            settings += &format!(
                "{prefix}.sasl.server.callback.handler.class=\
                 org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler\n"
            );
        }
    }
    settings
}

fn extras(certificates: &Path, ports: &BTreeMap<&'static str, u16>) -> Extras {
    let authority = Authority::shared();
    let jwks = format!("file://{}", authority.file("jwks.json").display());
    let ca = certificates.join("ca.pem").display().to_string();
    let mut settings = format!("{SETTINGS}sasl.oauthbearer.jwks.endpoint.url={jwks}\n");
    let mut listeners = Vec::new();
    for (name, protocol, certificate, further) in LISTENERS {
        let prefix = format!("listener.name.{}", name.to_lowercase());
        if !further.is_empty() && !further.starts_with("connections") {
            settings += &format!("{prefix}.{further}\n");
        }
        if !certificate.is_empty() {
            let file = certificates.join(certificate).display().to_string();
            settings += &format!(
                "{prefix}.ssl.keystore.type=PEM\n{prefix}.ssl.keystore.location={file}\n\
                 {prefix}.ssl.truststore.type=PEM\n{prefix}.ssl.truststore.location={ca}\n"
            );
        }
        if protocol.starts_with("SASL") {
            let mechanisms = if name == "SCRAM" { &MECHANISMS[1..3] } else { &MECHANISMS[..] };
            settings += &sasl(&prefix, mechanisms);
            if let Some(reauthentication) = further.strip_prefix("connections") {
                for mechanism in mechanisms {
                    let mechanism = mechanism.to_lowercase();
                    settings += &format!("{prefix}.{mechanism}.connections{reauthentication}\n");
                }
            }
        }
        let advertised = if name == "NOWHERE" { ports[NOBODY] } else { ports[name] };
        listeners.push(Listener {
            name,
            protocol,
            address: format!("127.0.0.1:{}", ports[name]),
            advertised: format!("localhost:{advertised}"),
        });
    }
    let options = vec![
        format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"),
        // Each authentication has its line in the log.
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.security.authenticator.SaslServerAuthenticator=debug"
            .to_owned(),
    ];
    Extras { listeners, settings, options }
}

/// Copies what the listeners need.
fn take_certificates(from: &Path, to: &Path) {
    let files = LISTENERS.iter().map(|(_, _, file, _)| *file).filter(|file| !file.is_empty());
    for file in files.chain(["ca.pem"]) {
        std::fs::copy(from.join(file), to.join(file)).expect("a copy");
    }
}

/// The running node.
pub struct Secured {
    /// Its assistant uses the plain listener.
    pub kafka: Kafka,
    ports: BTreeMap<&'static str, u16>,
    certificates: Folder,
}

impl Secured {
    /// The one of a version that all tests share; see [`Kafka::shared`].
    pub fn shared(version: &'static str) -> &'static Secured {
        static NEWEST_ONE: OnceLock<Secured> = OnceLock::new();
        static OLDEST_ONE: OnceLock<Secured> = OnceLock::new();
        let shared = match version {
            NEWEST => &NEWEST_ONE,
            OLDEST => &OLDEST_ONE,
            other => panic!("the tests know no secured Kafka {other}"),
        };
        shared.get_or_init(|| Secured::start(version))
    }

    /// A node of its own.
    pub fn start(version: &'static str) -> Secured {
        let certificates = Folder::new("certificates");
        let names = LISTENERS.iter().map(|(name, ..)| *name);
        let ports = names.chain([NOBODY]).map(|name| (name, free_port())).collect();
        take_certificates(&Authority::shared().file(""), certificates.path());
        let kafka = Kafka::start_with(version, &extras(certificates.path(), &ports));
        let secured = Secured { kafka, ports, certificates };
        secured.add_user(USER, PASSWORD);
        secured
    }

    /// A user of both SCRAM mechanisms, who may do nothing yet.
    pub fn add_user(&self, name: &str, password: &str) {
        for mechanism in &MECHANISMS[1..3] {
            self.kafka.assistant().ask(&["scram", name, password, mechanism]);
        }
    }

    /// Where a listener is: see [`LISTENERS`].
    pub fn address(&self, listener: &str) -> String {
        format!("localhost:{}", self.ports[listener])
    }

    /// What a listener says of its own address.
    pub fn advertised(&self, listener: &str) -> String {
        let port = if listener == "NOWHERE" { self.ports[NOBODY] } else { self.ports[listener] };
        format!("localhost:{port}")
    }

    /// Gives a user a right: an operation on a `TOPIC`, a `GROUP` or the `CLUSTER`, which is called
    /// `kafka-cluster`.
    pub fn allow(&self, user: &str, kind: &str, name: &str, operation: &str) {
        self.kafka.assistant().ask(&["allow", user, kind, name, operation]);
    }

    /// Takes a right away.
    pub fn forbid(&self, user: &str, kind: &str, name: &str, operation: &str) {
        self.kafka.assistant().ask(&["forbid", user, kind, name, operation]);
    }

    /// Has it use other certificates, and trust those of clients that this authority has signed, when it is
    /// started the next time; see [`Authority::make_certificates`].
    pub fn exchange_certificates(&self, from: &Path) {
        take_certificates(from, self.certificates.path());
    }

    /// The settings for a listener without SASL.
    pub fn tls(&self, listener: &str) -> Way {
        Way::new(&self.address(listener), "tls")
            .set("kafka.tls_ca", &shown(Authority::shared().file("ca.pem")))
    }

    /// The settings for the listener that wants client certificates: `key` is `rsa.pkcs8`, `rsa.pkcs1`,
    /// `p256.pkcs8` or `p256.sec1`.
    pub fn mutual_tls(&self, key: &str) -> Way {
        let kind = key.split('.').next().unwrap_or_default();
        let file = |suffix: &str| shown(Authority::shared().file(&format!("{USER}-{suffix}")));
        let way = self.tls("MTLS").set("kafka.tls_certificate", &file(&format!("{kind}.crt")));
        way.set("kafka.tls_key", &file(key))
    }

    /// The settings for a listener with SASL as [`USER`].
    pub fn sasl(&self, listener: &str, mechanism: &str) -> Way {
        let way = self.sasl_as(listener, mechanism, USER, PASSWORD);
        if mechanism == "OAUTHBEARER" { way.token(&Authority::shared().token(USER, 3600)) } else { way }
    }

    /// The settings for OAUTHBEARER with client credentials; `url` is of [`Authority::token_url`].
    pub fn credentials(&self, listener: &str, url: &str) -> Way {
        let way = self.sasl_as(listener, "OAUTHBEARER", USER, "");
        let way = way.set("kafka.oauth_token_url", url).set("kafka.oauth_client_id", USER);
        way.secret("kafka.oauth_client_secret_file", PASSWORD)
    }

    /// The settings for a listener with SASL as somebody.
    pub fn sasl_as(&self, listener: &str, mechanism: &str, user: &str, password: &str) -> Way {
        let encrypted =
            LISTENERS.iter().any(|(name, protocol, ..)| *name == listener && *protocol == "SASL_SSL");
        let way = Way::new(&self.address(listener), if encrypted { "sasl_tls" } else { "sasl_plaintext" });
        let way = way.set("kafka.sasl_mechanism", mechanism);
        let way =
            if encrypted { way.set("kafka.tls_ca", &shown(Authority::shared().file("ca.pem"))) } else { way };
        if mechanism == "OAUTHBEARER" { way } else { way.set("kafka.sasl_username", user).password(password) }
    }
}

fn shown(path: PathBuf) -> String {
    path.display().to_string()
}

/// Settings that have a like one in librdkafka.
const LIBRDKAFKA: [(&str, &str); 8] = [
    ("bootstrap.servers", "kafka.bootstrap_servers"),
    ("ssl.ca.location", "kafka.tls_ca"),
    ("ssl.certificate.location", "kafka.tls_certificate"),
    ("ssl.key.location", "kafka.tls_key"),
    ("sasl.mechanism", "kafka.sasl_mechanism"),
    ("sasl.username", "kafka.sasl_username"),
    ("sasl.oauthbearer.client.id", "kafka.oauth_client_id"),
    ("sasl.oauthbearer.token.endpoint.url", "kafka.oauth_token_url"),
];

/// Those that it wants to know itself, where ours name a file.
const LIBRDKAFKA_SECRETS: [(&str, &str); 2] = [
    ("sasl.password", "kafka.sasl_password_file"),
    ("sasl.oauthbearer.client.secret", "kafka.oauth_client_secret_file"),
];

/// The settings with which a program gets to a listener.
pub struct Way {
    settings: BTreeMap<String, String>,
    /// With its secrets; it stays until the end of the process, as programs read them anew.
    folder: &'static Folder,
}

impl Way {
    /// To an address with a security protocol.
    pub fn new(address: &str, security: &str) -> Way {
        let way = Way { settings: BTreeMap::new(), folder: Box::leak(Box::new(Folder::new("way"))) };
        way.set("kafka.bootstrap_servers", address).set("kafka.security", security)
    }

    /// A further or another setting.
    pub fn set(mut self, key: &str, value: &str) -> Way {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without a setting.
    pub fn without(mut self, key: &str) -> Way {
        self.settings.remove(key);
        self
    }

    /// With this password, in a file.
    pub fn password(self, password: &str) -> Way {
        self.secret("kafka.sasl_password_file", &format!("{password}\n"))
    }

    /// With this token, in a file.
    pub fn token(self, token: &str) -> Way {
        self.secret("kafka.oauth_token_file", token)
    }

    /// With a setting that names a file with this in it.
    pub fn secret(self, key: &str, content: &str) -> Way {
        let path = self.secret_path(key);
        write_secret(&path, content);
        self.set(key, &shown(path))
    }

    /// Where the file of such a setting is.
    pub fn secret_path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    /// The same for programs on librdkafka, in its names.
    pub fn librdkafka(&self) -> Vec<(&'static str, String)> {
        let protocol = match self.get("kafka.security") {
            "tls" => "ssl",
            "sasl_tls" => "sasl_ssl",
            other => other,
        };
        let mut settings = vec![("security.protocol", protocol.to_owned())];
        for (name, key) in LIBRDKAFKA {
            settings.extend(self.settings.get(key).map(|value| (name, value.clone())));
        }
        for (name, key) in LIBRDKAFKA_SECRETS {
            let Some(path) = self.settings.get(key) else { continue };
            let secret = std::fs::read_to_string(path).expect("a secret");
            settings.push((name, secret.trim_end_matches('\n').to_owned()));
        }
        if self.settings.contains_key("kafka.oauth_token_url") {
            settings.push(("sasl.oauthbearer.method", "oidc".to_owned()));
            settings.push(("https.ca.location", self.get("kafka.tls_ca").to_owned()));
        }
        settings
    }

    /// The value of a setting.
    pub fn get(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", String::as_str)
    }

    /// A program that goes this way.
    pub fn program(&self, start: Start) -> Start {
        self.settings.iter().fold(start, |start, (key, value)| start.set(key, value))
    }
}
