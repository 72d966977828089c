//! The rights that a broker with an authorizer wants for each request (Kafka's documentation, "Protocol and
//! ACL mapping"), so that a refusal can name the one that is missing.

use std::fmt;

use kafka_protocol::messages::ApiKey;

use super::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// A right that a request needs: the operation of an ACL, and what it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    operation: &'static str,
    resource: Resource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Resource {
    Topic(Option<String>),
    Group(Option<String>),
    Cluster,
}

impl MissingRight {
    /// The right whose lack makes a broker refuse `request` with `code`; `None` for a code that is about
    /// something else.
    pub fn of(request: &RequestContext, code: ErrorCode) -> Option<MissingRight> {
        let resource = match code {
            ErrorCode::TOPIC_AUTHORIZATION_FAILED => Resource::Topic(request.topic.clone()),
            ErrorCode::GROUP_AUTHORIZATION_FAILED => Resource::Group(request.group.clone()),
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED => Resource::Cluster,
            _ => return None,
        };
        let operation = match &resource {
            Resource::Topic(_) => on_topic(request.api),
            Resource::Group(_) => on_group(request),
            Resource::Cluster => on_cluster(request.api),
        };
        Some(MissingRight { operation, resource })
    }

    pub(crate) fn on_topic(operation: &'static str, topic: &str) -> MissingRight {
        MissingRight { operation, resource: Resource::Topic(Some(topic.to_owned())) }
    }

    pub(crate) fn on_group(operation: &'static str, group: &str) -> MissingRight {
        MissingRight { operation, resource: Resource::Group(Some(group.to_owned())) }
    }

    /// The code with which a broker refuses what needs the right.
    pub fn code(&self) -> ErrorCode {
        match self.resource {
            Resource::Topic(_) => ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            Resource::Group(_) => ErrorCode::GROUP_AUTHORIZATION_FAILED,
            Resource::Cluster => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        }
    }
}

fn on_topic(api: ApiKey) -> &'static str {
    match api {
        ApiKey::Produce => "Write",
        ApiKey::Fetch | ApiKey::OffsetCommit => "Read",
        ApiKey::CreateTopics => "Create",
        ApiKey::CreatePartitions => "Alter",
        ApiKey::DeleteTopics => "Delete",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        ApiKey::IncrementalAlterConfigs => "AlterConfigs",
        _ => "Describe",
    }
}

fn on_group(request: &RequestContext) -> &'static str {
    match request.api {
        // Describe is enough for the request itself, but not for what a member does next.
        ApiKey::FindCoordinator if !request.looks_on => "Read",
        ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit => "Read",
        _ => "Describe",
    }
}

fn on_cluster(api: ApiKey) -> &'static str {
    match api {
        ApiKey::Produce | ApiKey::InitProducerId => "IdempotentWrite",
        ApiKey::CreateTopics => "Create",
        ApiKey::DescribeConfigs => "DescribeConfigs",
        _ => "Describe",
    }
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the user needs an ACL for {} on ", self.operation)?;
        match &self.resource {
            Resource::Topic(Some(name)) => write!(f, "topic {name}")?,
            Resource::Topic(None) => write!(f, "the topic")?,
            Resource::Group(Some(name)) => write!(f, "group {name}")?,
            Resource::Group(None) => write!(f, "the group")?,
            Resource::Cluster => write!(f, "the cluster")?,
        }
        // Since KIP-679 the right to write to any topic is enough.
        match (&self.resource, self.operation) {
            (Resource::Cluster, "IdempotentWrite") => write!(f, ", or for Write on a topic"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        FindCoordinatorRequest, InitProducerIdRequest, JoinGroupRequest, ProduceRequest,
    };

    use super::*;

    #[test]
    fn a_refusal_names_the_right_that_is_missing() {
        let said =
            |request: &RequestContext, code| MissingRight::of(request, code).map(|right| right.to_string());
        let produce = RequestContext::of::<ProduceRequest>().for_topic("pedidos");
        let topic = said(&produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        assert_eq!(topic.unwrap(), "the user needs an ACL for Write on topic pedidos");
        let join = RequestContext::of::<JoinGroupRequest>().for_group("workers");
        let group = said(&join, ErrorCode::GROUP_AUTHORIZATION_FAILED);
        assert_eq!(group.unwrap(), "the user needs an ACL for Read on group workers");
        let find = RequestContext::of::<FindCoordinatorRequest>().for_group("workers");
        let member = said(&find, ErrorCode::GROUP_AUTHORIZATION_FAILED);
        assert_eq!(member.unwrap(), "the user needs an ACL for Read on group workers");
        let onlooker = said(&find.looking_on(true), ErrorCode::GROUP_AUTHORIZATION_FAILED);
        assert_eq!(onlooker.unwrap(), "the user needs an ACL for Describe on group workers");
        let identity = RequestContext::of::<InitProducerIdRequest>();
        let cluster = said(&identity, ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        let wanted = "the user needs an ACL for IdempotentWrite on the cluster, or for Write on a topic";
        assert_eq!(cluster.unwrap(), wanted);
        assert_eq!(said(&produce, ErrorCode::NOT_LEADER_OR_FOLLOWER), None);
    }
}
