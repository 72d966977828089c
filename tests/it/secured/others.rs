//! The clients of others on the secured Kafka: that it is what the tests take it for.

use crate::clients::client::{Client, Extras};
use crate::support::authority::Authority;
use crate::support::secured::{MECHANISMS, Secured, Way};
use crate::support::unique;

/// A right way for each kind of listener and each mechanism, with its name.
fn ways(kafka: &Secured) -> Vec<(String, Way)> {
    let mut ways = vec![("TLS".to_owned(), kafka.tls("TLS")), ("TLS12".to_owned(), kafka.tls("TLS12"))];
    for key in ["rsa.pkcs8", "rsa.pkcs1", "p256.pkcs8", "p256.sec1"] {
        ways.push((format!("MTLS {key}"), kafka.mutual_tls(key)));
    }
    for listener in ["SASL", "SASLTLS", "BRIEF"] {
        for mechanism in &MECHANISMS[..3] {
            ways.push((format!("{listener} {mechanism}"), kafka.sasl(listener, mechanism)));
        }
    }
    ways
}

pub fn the_clients_of_others_get_through_each_listener(version: &'static str) {
    let kafka = Secured::shared(version);
    let topic = unique("harness");
    kafka.kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let send = |client: Client, name: &str, way: &Way| {
        let settings = way.librdkafka();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
        client.send(&kafka.kafka, &topic, Extras::default(), &settings, &[name.to_owned()]);
    };
    let mut sent = Vec::new();
    for (name, way) in ways(kafka) {
        // SCRAM as kcat's librdkafka 2.0 does it repeats the nonce, which Kafka 4.3 refuses.
        send(if name.contains("SCRAM") { Client::Confluent } else { Client::Kcat }, &name, &way);
        sent.push(name);
    }
    let url = Authority::shared().token_url("ok", &topic);
    let way = kafka.credentials("SASLTLS", &url);
    send(Client::Confluent, "OAUTHBEARER", &way);
    sent.push("OAUTHBEARER".to_owned());
    assert_eq!(Authority::shared().requests(&url), 1);
    let records = kafka.kafka.assistant().read(&topic, false);
    let stored: Vec<_> = records.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(stored, sent.iter().map(String::as_bytes).collect::<Vec<_>>());
}
