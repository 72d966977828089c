//! What admin clients ask of a broker without security, quotas and transactions.

use std::ops::RangeInclusive;

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::*;

use super::Fixture;
use super::client::{Client, text};
use super::cluster::ask_cluster;
use super::versions::each;
use protocol::error_code::ErrorCode;

/// Asks in each version, for the test of all requests.
pub fn ask_admin(client: &mut Client, api_key: ApiKey, versions: RangeInclusive<i16>) {
    match api_key {
        ApiKey::DescribeAcls => each(client, versions, |_| DescribeAclsRequest::default()),
        ApiKey::CreateAcls => each(client, versions, |_| create_acls(2)),
        ApiKey::DeleteAcls => each(client, versions, |_| delete_acls(2)),
        ApiKey::DescribeClientQuotas => each(client, versions, |_| quotas(&[("user", 0, Some("ana"))])),
        ApiKey::DescribeUserScramCredentials => each(client, versions, |_| credentials(&["ana"])),
        ApiKey::AlterUserScramCredentials => each(client, versions, |_| {
            AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion("ana", 1)])
        }),
        ApiKey::DescribeTransactions => each(client, versions, |_| transactions(&["a"])),
        ApiKey::ListTransactions => each(client, versions, |version| {
            ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing")])
                .with_transactional_id_pattern((version >= 2).then(|| text("a.*")))
        }),
        other => ask_cluster(client, other, versions),
    }
}

fn create_acls(count: usize) -> CreateAclsRequest {
    let creation = AclCreation::default().with_resource_name(text("t")).with_principal(text("User:ana"));
    CreateAclsRequest::default().with_creations(vec![creation; count])
}

fn delete_acls(count: usize) -> DeleteAclsRequest {
    DeleteAclsRequest::default().with_filters(vec![DeleteAclsFilter::default(); count])
}

/// Type of an entity, kind of match, name.
type Component<'a> = (&'a str, i8, Option<&'a str>);

fn quotas(components: &[Component<'_>]) -> DescribeClientQuotasRequest {
    let component = |(entity, kind, name): &Component<'_>| {
        ComponentData::default()
            .with_entity_type(text(entity))
            .with_match_type(*kind)
            .with_match(name.map(text))
    };
    DescribeClientQuotasRequest::default().with_components(components.iter().map(component).collect())
}

fn credentials(users: &[&str]) -> DescribeUserScramCredentialsRequest {
    let user = |name: &&str| UserName::default().with_name(text(name));
    DescribeUserScramCredentialsRequest::default().with_users(Some(users.iter().map(user).collect()))
}

fn deletion(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default().with_name(text(name)).with_mechanism(mechanism)
}

fn upsertion(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(text(name))
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from_static(b"salted password"))
}

fn transactions(ids: &[&str]) -> DescribeTransactionsRequest {
    let id = |id: &&str| TransactionalId(text(id));
    DescribeTransactionsRequest::default().with_transactional_ids(ids.iter().map(id).collect())
}

#[test]
fn requests_about_acls_are_refused_as_without_an_authorizer() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let described = client.call(3, &DescribeAclsRequest::default());
    assert_eq!(ErrorCode(described.error_code), ErrorCode::SECURITY_DISABLED);
    assert!(described.error_message.is_some_and(|why| why.contains("No Authorizer")));
    let created = client.call(3, &create_acls(2));
    let codes: Vec<_> = created.results.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::SECURITY_DISABLED; 2]);
    let deleted = client.call(3, &delete_acls(3));
    let codes: Vec<_> = deleted.filter_results.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::SECURITY_DISABLED; 3]);
}

#[test]
fn there_are_no_quotas_and_a_filter_that_is_none_is_refused() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let good: [&[Component<'_>]; 4] = [
        &[],
        &[("user", 0, Some("ana")), ("client-id", 1, None)],
        &[("ip", 0, Some("10.0.0.1"))],
        &[("client-id", 2, None)],
    ];
    for filter in good {
        let answer = client.call(1, &quotas(filter));
        assert_eq!((answer.error_code, answer.entries), (0, Some(Vec::new())), "{filter:?}");
    }
    let bad: [(&[Component<'_>], ErrorCode); 8] = [
        (&[("", 0, Some("ana"))], ErrorCode::INVALID_REQUEST),
        (&[("bogus", 0, Some("ana"))], ErrorCode::UNSUPPORTED_VERSION),
        (&[("user", 7, Some("ana"))], ErrorCode::INVALID_REQUEST),
        (&[("user", 0, None)], ErrorCode::INVALID_REQUEST),
        (&[("user", 1, Some("ana"))], ErrorCode::INVALID_REQUEST),
        (&[("user", 2, Some("ana"))], ErrorCode::INVALID_REQUEST),
        (&[("user", 1, None), ("user", 2, None)], ErrorCode::INVALID_REQUEST),
        (&[("ip", 1, None), ("user", 2, None)], ErrorCode::INVALID_REQUEST),
    ];
    for (filter, code) in bad {
        let answer = client.call(1, &quotas(filter));
        assert_eq!((ErrorCode(answer.error_code), answer.entries), (code, None), "{filter:?}");
        assert!(answer.error_message.is_some_and(|why| !why.is_empty()));
    }
}

#[test]
fn no_user_has_scram_credentials() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for everyone in [None, Some(Vec::new())] {
        let request = DescribeUserScramCredentialsRequest::default().with_users(everyone);
        let answer = client.call(0, &request);
        assert_eq!((answer.error_code, answer.results), (0, Vec::new()));
    }
    let answer = client.call(0, &credentials(&["ana", "eva", "ana"]));
    let results: Vec<_> = answer.results.iter().map(|one| (&*one.user, ErrorCode(one.error_code))).collect();
    let expected = [("ana", ErrorCode::DUPLICATE_RESOURCE), ("eva", ErrorCode::RESOURCE_NOT_FOUND)];
    assert_eq!(results, expected);
}

#[test]
fn a_change_of_scram_credentials_is_refused_once_for_each_user() {
    let broker = Fixture::new();
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(vec![deletion("ana", 1), deletion("", 1), deletion("eva", 9), deletion("ana", 2)])
        .with_upsertions(vec![
            upsertion("ana", 1, 4096),
            upsertion("few", 1, 4095),
            upsertion("ivo", 2, 4096),
            upsertion("many", 2, 16_385),
            upsertion("odd", 0, 4096),
        ]);
    let answer = broker.client().call(0, &request);
    let results: Vec<_> = answer.results.iter().map(|one| (&*one.user, ErrorCode(one.error_code))).collect();
    let expected = [
        ("", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("ana", ErrorCode::RESOURCE_NOT_FOUND),
        ("eva", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
        ("few", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("ivo", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
        ("many", ErrorCode::UNACCEPTABLE_CREDENTIAL),
        ("odd", ErrorCode::UNSUPPORTED_SASL_MECHANISM),
    ];
    assert_eq!(results, expected);
    let why = answer.results[4].error_message.clone().unwrap();
    assert_eq!(&*why, "the embedded broker has no SASL, and keeps no credentials");
}

#[test]
fn there_are_no_transactions() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let states = ["Ongoing", "Bogus", "ongoing", "PrepareEpochFence", "Bogus"].map(text);
    let answer = client.call(2, &ListTransactionsRequest::default().with_state_filters(states.into()));
    assert_eq!((answer.error_code, answer.transaction_states), (0, Vec::new()));
    assert_eq!(answer.unknown_state_filters, [text("Bogus"), text("ongoing")]);
    let answer = client.call(0, &transactions(&["a", "", "a"]));
    let states = answer.transaction_states.iter();
    let states: Vec<_> = states.map(|one| (&**one.transactional_id, ErrorCode(one.error_code))).collect();
    let expected = [("a", ErrorCode::TRANSACTIONAL_ID_NOT_FOUND), ("", ErrorCode::INVALID_REQUEST)];
    assert_eq!(states, expected);
}
