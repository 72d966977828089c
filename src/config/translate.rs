//! The translation of the settings into each room's own settings: no other room knows the names of keys.

use std::collections::BTreeMap;
use std::time::Duration;

use adapter::{Access, AdapterSettings};
use broker::BrokerSettings;
use client::declared_topics::DeclaredTopics;
use client::group_member::GroupSettings;
use client::rights::Intent;
use client::{ClusterSettings, TopicCreation};

use super::{Settings, TopicSection};
use crate::consumer::push_handler::PushSettings;
use crate::consumer::{ConsumerSettings, Payload, ProcessSettings, QueueSettings, RetrySettings};
use crate::dead_letters::{BrowserSettings, StoreSettings, dead_letter_topic, source_topic};
use crate::http::{AccessToken, EndpointSettings};
use crate::producer::ProducerSettings;
use crate::runtime::{RuntimeSettings, StoreFailure};

/// The partitions of the channel's topic where `kafka.partitions` is not set.
const USUAL_PARTITIONS: i32 = 4;

impl Settings {
    /// The client of the cluster, which creates no topic.
    pub fn cluster(&self) -> ClusterSettings {
        ClusterSettings {
            bootstrap_servers: self.brokers(),
            follows_advertised: self.embedded_broker().is_none(),
            security: self.kafka.security.secured.0.clone(),
            request_timeout: self.kafka.request_timeout(),
            delivery_timeout: self.kafka.delivery_timeout(),
            compression: self.kafka.compression,
            create: Vec::new(),
        }
    }

    /// The client of the cluster for a consumer that reads by itself, which creates what its topics need.
    pub fn consuming_cluster(&self) -> ClusterSettings {
        ClusterSettings { create: self.created_topics(), ..self.cluster() }
    }

    /// The channel's topic, if it may be created.
    pub fn topic_creation(&self) -> Option<TopicCreation> {
        self.kafka.create_topic.then(|| self.as_declared(self.undeclared(&self.kafka.topic)))
    }

    /// A topic of which `[[topics]]` says nothing.
    fn undeclared(&self, name: &str) -> TopicCreation {
        TopicCreation {
            name: name.to_owned(),
            partitions: self.kafka.partitions.unwrap_or(USUAL_PARTITIONS),
            beside: None,
            replication_factor: self.kafka.replication_factor,
            configs: BTreeMap::new(),
        }
    }

    /// The topic for the dead letters of `source`, of which `[[topics]]` says nothing.
    fn undeclared_letters(&self, source: &str) -> TopicCreation {
        TopicCreation { beside: Some(source.to_owned()), ..self.undeclared(&dead_letter_topic(source)) }
    }

    /// A topic with what `[[topics]]` says of it, if it is there.
    fn as_declared(&self, creation: TopicCreation) -> TopicCreation {
        let Some(section) = self.topics.iter().find(|section| section.name == creation.name) else {
            return creation;
        };
        TopicCreation {
            partitions: section.partitions.unwrap_or(creation.partitions),
            beside: creation.beside.filter(|_| section.partitions.is_none()),
            replication_factor: match section.replication_factor {
                -1 => creation.replication_factor,
                factor => factor,
            },
            configs: section.config.clone(),
            ..creation
        }
    }

    /// The topics for dead letters that stand in `[[topics]]`.
    fn declared_letters(&self) -> Vec<TopicCreation> {
        let sources = self.topics.iter().filter_map(|section| source_topic(&section.name));
        sources.map(|source| self.as_declared(self.undeclared_letters(source))).collect()
    }

    /// The number of partitions that the channel's topic is to have, if the settings say it and a look at
    /// `[[topics]]` does not compare it already.
    pub fn wanted_partitions(&self) -> Option<i32> {
        let declared = self.topics.iter().find(|section| section.name == self.kafka.topic);
        self.kafka.partitions.filter(|_| declared.is_none_or(|section| section.partitions.is_none()))
    }

    /// `[[topics]]`.
    fn declared_topics(&self) -> DeclaredTopics {
        let topic = |section: &TopicSection| TopicCreation {
            name: section.name.clone(),
            partitions: section.partitions.unwrap_or(-1),
            beside: None,
            replication_factor: section.replication_factor,
            configs: section.config.clone(),
        };
        DeclaredTopics {
            topics: self.topics.iter().map(topic).collect(),
            created: self.created_topics(),
            create: self.kafka.create_topic,
            on_one_node: self.embedded_broker().is_some(),
        }
    }

    /// The embedded broker, if no other broker is named.
    pub fn broker(&self) -> Option<BrokerSettings> {
        self.embedded_broker().map(|embedded| BrokerSettings {
            listen: embedded.listen.clone(),
            advertised: embedded.advertised.clone(),
            data_dir: embedded.data_dir.clone(),
            retention: embedded.retention(),
            retention_bytes: embedded.retention_bytes(),
            min_free_bytes: embedded.min_free_bytes,
            auto_create_topics: embedded.auto_create_topics,
            partitions: self.kafka.partitions.unwrap_or(USUAL_PARTITIONS),
            initial_rebalance_delay: Duration::from_millis(embedded.initial_rebalance_delay_ms),
        })
    }

    /// The embedded broker, if no other broker is named, and an adapter for this process alone.
    pub fn own_runtime(&self) -> RuntimeSettings {
        RuntimeSettings {
            broker: self.broker(),
            cluster: self.cluster(),
            adapter: self.own_adapter(),
            topics: self.declared_topics(),
        }
    }

    /// The embedded broker, if no other broker is named, and the adapter for other programs.
    pub fn shared_runtime(&self) -> RuntimeSettings {
        RuntimeSettings { adapter: self.adapter_for_others(), ..self.own_runtime() }
    }

    /// What a program does that sends to the channel's topic, consumes as a group, or both.
    pub fn intent(&self, sends: bool, group: Option<&str>) -> Intent {
        Intent {
            sends_to: sends.then(|| self.kafka.topic.clone()),
            consumes: group.map(|_| self.kafka.consumed().named().to_vec()).unwrap_or_default(),
            group: group.map(str::to_owned),
        }
    }

    /// The failures of the embedded broker's store, if no other broker is named.
    pub fn store_failure(&self) -> StoreFailure {
        StoreFailure::of(self.embedded_broker().map(|embedded| embedded.data_dir.as_path()))
    }

    /// An adapter inside this process: loopback, any port, a random token.
    pub fn own_adapter(&self) -> AdapterSettings {
        AdapterSettings {
            listen: "127.0.0.1:0".to_owned(),
            access: Access::Random,
            ..self.adapter_for_others()
        }
    }

    /// The adapter as a program of its own: `[adapter] listen` and `token`.
    pub fn adapter_for_others(&self) -> AdapterSettings {
        let token = self.adapter.token.as_ref();
        AdapterSettings {
            listen: self.adapter.listen.clone(),
            access: Access::Given(token.map(|token| token.expose().to_owned())),
            cluster: ClusterSettings { create: self.created_topics(), ..self.cluster() },
            kept_from_creation: self.kept_from_creation(),
            group: self.group(),
        }
    }

    /// The channel's topic and that for its dead letters, where they may not be created.
    fn kept_from_creation(&self) -> Vec<String> {
        let topic = &self.kafka.topic;
        if self.kafka.create_topic { Vec::new() } else { vec![topic.clone(), dead_letter_topic(topic)] }
    }

    /// The topics that are named and those for their dead letters, if they may be created.
    fn created_topics(&self) -> Vec<TopicCreation> {
        if !self.kafka.create_topic {
            return Vec::new();
        }
        let (own, consumed) = (&self.kafka.topic, self.kafka.consumed());
        let others = consumed.named().iter().filter(|name| *name != own);
        let names: Vec<String> = [own].into_iter().chain(others).cloned().collect();
        let both = |name: String| {
            let letters = self.undeclared_letters(&name);
            [self.undeclared(&name), letters].map(|creation| self.as_declared(creation))
        };
        names.into_iter().flat_map(both).collect()
    }

    fn group(&self) -> GroupSettings {
        let consumer = &self.consumer;
        GroupSettings {
            session_timeout: consumer.session_timeout(),
            heartbeat_interval: consumer.heartbeat_interval(),
            max_processing: consumer.max_processing(),
            offset_reset: consumer.auto_offset_reset,
            user_data: Vec::new(),
        }
    }

    /// A producer of the channel.
    pub fn producer_settings(&self) -> ProducerSettings {
        ProducerSettings {
            queue_messages: self.producer.queue_messages,
            queue_bytes: self.producer.queue_bytes,
            answer_timeout: self.producer_api.answer_timeout(),
            embedded_broker: self.embedded_broker().is_some(),
        }
    }

    /// A consumer of the channel.
    pub fn consumer_settings(&self) -> ConsumerSettings {
        let consumer = &self.consumer;
        ConsumerSettings {
            topics: self.kafka.consumed(),
            group: consumer.group().to_owned(),
            commit: consumer.commit,
            auto_commit_interval: consumer.auto_commit_interval(),
            max_processing: consumer.max_processing(),
            fetch_min_bytes: consumer.fetch_min_bytes,
            fetch_max_wait: consumer.fetch_max_wait(),
            fetch_max_bytes_per_partition: consumer.fetch_max_bytes_per_partition,
            retry: self.retry_settings(),
            queue: QueueSettings {
                membership: self.group(),
                concurrency: consumer.concurrency,
                order: consumer.order,
                buffer_bytes: consumer.buffer_bytes,
                payload: consumer.payload,
                circuit_failures: consumer.circuit_failures,
            },
            dead_letters: StoreSettings {
                creation: self.kafka.create_topic.then(|| self.undeclared(&self.kafka.topic)),
                declared: self.declared_letters(),
                group: consumer.group().to_owned(),
                delivery_timeout: self.kafka.delivery_timeout(),
                producer: self.producer_settings(),
            },
        }
    }

    /// The queue of a topic and a group, whose messages the endpoint hands out.
    pub fn queue_settings(&self, topic: &str, group: &str) -> ConsumerSettings {
        let mut settings = self.clone();
        topic.clone_into(&mut settings.kafka.topic);
        settings.kafka.topics = None;
        settings.consumer.group = Some(group.to_owned());
        settings.consumer.order = self.queue.order;
        settings.consumer.circuit_failures = 0;
        settings.consumer_settings()
    }

    /// The program that handles messages, if one is named.
    pub fn process_settings(&self) -> Option<ProcessSettings> {
        let command = self.consumer.handler.clone();
        let consumer = &self.consumer;
        (!command.is_empty()).then(|| ProcessSettings {
            command,
            mode: consumer.handler_mode,
            workers: consumer.handler_processes.unwrap_or(consumer.concurrency),
            batch: consumer.handler_batch,
            timeout: consumer.handler_timeout(),
        })
    }

    /// The URL that messages are sent to, if one is named.
    pub fn push_settings(&self) -> Option<PushSettings> {
        let consumer = &self.consumer;
        let push = &consumer.push;
        Some(PushSettings {
            url: push.url.clone()?,
            source: push.source.clone(),
            kind: push.kind.clone(),
            secret_file: push.secret_file.clone(),
            dead_statuses: push.dead_statuses.clone(),
            private: push.private,
            tls_ca: push.tls_ca.clone(),
            connect_timeout: Duration::from_millis(push.connect_timeout_ms),
            send_timeout: Duration::from_millis(push.send_timeout_ms),
            timeout: consumer.handler_timeout(),
            most: consumer.concurrency,
            payload: consumer.payload,
        })
    }

    /// `[retry]`.
    pub fn retry_settings(&self) -> RetrySettings {
        RetrySettings {
            max_attempts: self.retry.max_attempts,
            initial_backoff: Duration::from_millis(self.retry.initial_backoff_ms),
            multiplier: self.retry.multiplier,
            max_backoff: Duration::from_millis(self.retry.max_backoff_ms),
            jitter: self.retry.jitter,
        }
    }

    /// The tool for the dead letters of the channel's topic.
    pub fn dead_letter_browser(&self) -> BrowserSettings {
        self.dead_letter_browser_in(&self.kafka.topic, &dead_letter_topic(&self.kafka.topic))
    }

    /// The tool for the dead letters in `topic`, which came from `source` where they do not say otherwise.
    pub fn dead_letter_browser_in(&self, source: &str, topic: &str) -> BrowserSettings {
        BrowserSettings {
            cluster: self.cluster(),
            source: source.to_owned(),
            topic: topic.to_owned(),
            session_timeout: self.consumer.session_timeout(),
        }
    }

    /// The HTTP endpoint.
    pub fn endpoint(&self) -> EndpointSettings {
        let api = &self.producer_api;
        EndpointSettings {
            listen: api.listen.clone(),
            answer_timeout: api.answer_timeout(),
            max_body_bytes: api.max_body_bytes,
            head_timeout: api.head_timeout(),
            body_timeout: api.body_timeout(),
            idle_timeout: api.idle_timeout(),
            max_connections: api.max_connections,
            max_pending_bytes: self.producer.queue_bytes,
            token: api.token.as_ref().map(|token| AccessToken::new(token.expose())),
            token_file: api.token_file.clone(),
            users_file: api.users_file.clone(),
            topic: self.kafka.topic.clone(),
            any_payload: self.consumer.payload == Payload::Any,
            key_pointer: api.key.clone(),
            group: self.consumer.group().to_owned(),
            longest_lease: self.consumer.max_processing(),
            tls_certificate: api.tls_certificate.clone(),
            tls_key: api.tls_key.clone(),
            tls_client_ca: api.tls_client_ca.clone(),
            anyone_may_send: api.anyone_may_send,
            allowed_origins: api.allowed_origins.clone(),
            access_log: api.access_log,
            ..EndpointSettings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_has_the_same_defaults_as_its_settings() {
        assert_eq!(Settings::default().endpoint(), EndpointSettings::default());
    }

    fn declared(name: &str, partitions: Option<i32>) -> TopicSection {
        let config = BTreeMap::from([("retention.ms".to_owned(), "9".to_owned())]);
        TopicSection { name: name.to_owned(), partitions, replication_factor: 3, config }
    }

    #[test]
    fn a_topic_for_dead_letters_is_created_as_the_settings_declare_it() {
        let topics =
            vec![declared("orders", Some(8)), declared("orders-dlt", Some(2)), declared("bills-dlt", None)];
        let settings = Settings { topics, ..Settings::default() }.consumer_settings().dead_letters;
        let creation = |source: &str| settings.letter_topic_creation(source).unwrap();
        let orders = creation("orders");
        assert_eq!((orders.name.as_str(), orders.partitions, orders.beside), ("orders-dlt", 2, None));
        assert_eq!((orders.replication_factor, orders.configs.len()), (3, 1));
        let bills = creation("bills");
        assert_eq!(
            (bills.beside.as_deref(), bills.replication_factor, bills.configs.len()),
            (Some("bills"), 3, 1)
        );
        let others = creation("others");
        assert_eq!((others.name.as_str(), others.beside.as_deref()), ("others-dlt", Some("others")));
        assert_eq!((others.replication_factor, others.configs.len()), (-1, 0));
    }

    #[test]
    fn the_partitions_of_a_declared_topic_are_not_compared_with_those_of_others() {
        let mut settings = Settings::default();
        settings.kafka.partitions = Some(6);
        assert_eq!(settings.wanted_partitions(), Some(6));
        settings.topics = vec![declared(&settings.kafka.topic, None)];
        assert_eq!(settings.wanted_partitions(), Some(6));
        settings.topics = vec![declared(&settings.kafka.topic, Some(2))];
        assert_eq!(settings.wanted_partitions(), None);
    }
}
