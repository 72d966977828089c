//! Our programs on a real Kafka as it is run in production: TLS and SASL on every way to the brokers, ACLs.

mod administration;
mod others;
mod refusals;
mod rights;
mod traffic;
mod under_load;

use crate::support::load::Book;
use crate::support::program::{Program, Start, WAITING};
use crate::support::secured::Way;
use crate::support::{NEWEST, OLDEST, PATIENCE, run_on};

use administration::*;
use others::*;
use refusals::*;
use rights::*;
use traffic::*;
use under_load::*;

run_on! {
    mod kafka_4_3 on NEWEST {
        the_clients_of_others_get_through_each_listener as HEAVY,
        ten_thousand_messages_over_tls as HEAVY,
        ten_thousand_messages_over_mutual_tls_with_keys_in_each_form as HEAVY,
        ten_thousand_messages_over_sasl_without_tls as HEAVY,
        ten_thousand_messages_over_sasl_with_tls as HEAVY,
        ten_thousand_messages_with_tokens_from_each_source as HEAVY,
        producer_pull_and_push_carry_ten_thousand_messages as HEAVY,
        foreign_programs_carry_ten_thousand_messages_through_the_adapter as HEAVY,
        one_command_runs_the_channel_and_shows_no_secret,
        handlers_and_token_programs_inherit_no_secret,
        a_client_of_others_shares_a_group_with_ours,
        users_and_passwords_of_any_letters_authenticate,
        a_wrong_identity_ends_a_program_at_its_start_with_one_sentence,
        a_wrong_listener_ends_a_program_at_its_start_with_one_sentence,
        every_program_ends_at_a_wrong_password_with_one_sentence,
        a_token_endpoint_that_fails_is_asked_until_it_answers,
        an_advertised_address_that_nobody_serves_is_named,
        a_password_changed_under_running_programs_is_said_once_and_healed,
        senders_need_to_write_to_the_topic_alone,
        a_sender_that_may_create_the_topic_creates_it,
        consumers_need_to_read_the_topic_and_the_group,
        dead_letters_need_the_rights_of_their_topic_and_group,
        status_shows_what_it_may_describe,
        topics_and_groups_are_administered_with_the_rights_of_the_documents as HEAVY,
        an_adapter_needs_what_its_clients_do,
        a_missing_right_ends_a_program_at_its_start_and_is_named,
        a_right_to_create_the_topic_that_is_missing_is_named_once_and_waited_for,
        a_right_that_is_taken_away_and_given_back_costs_no_restart,
        a_right_to_the_group_that_is_missing_is_named_once_and_waited_for,
        a_right_to_read_how_long_a_topic_keeps_its_messages_is_named_once_and_asked_for_again,
        workers_hear_what_their_endpoint_may_not_do,
        looks_into_a_topic_need_to_read_it,
        authentication_that_ends_each_five_seconds_costs_and_doubles_nothing as HEAVY,
        exchanged_certificates_and_restarted_brokers_cost_and_double_nothing as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        the_clients_of_others_get_through_each_listener as HEAVY,
        ten_thousand_messages_over_three_kinds_of_listener as HEAVY,
        ten_thousand_messages_over_three_mechanisms as HEAVY,
        producer_pull_and_push_carry_ten_thousand_messages as HEAVY,
        foreign_programs_carry_ten_thousand_messages_through_the_adapter as HEAVY,
        authentication_that_ends_each_five_seconds_costs_and_doubles_nothing as HEAVY,
    }
}

/// How to start a consumer of a group.
fn consumer(way: &Way, name: &str, topic: &str, group: &str) -> Start {
    way.program(Start::program(name)).set("kafka.topic", topic).set("consumer.group", group)
}

/// A consumer that is a member of its group.
fn joined(start: Start) -> Program {
    let program = start.start();
    program.wait_for_line(WAITING, PATIENCE);
    program
}

/// `producer_api` for a topic, ready to answer requests.
fn post_to(way: &Way, topic: &str) -> Program {
    Program::producer_with(way.program(Start::program("producer_api")).set("kafka.topic", topic))
}

/// All of so many messages were answered with 200.
fn all_stored(book: &Book, count: u64) {
    let others = (book.refused.len(), book.unknown.len(), book.odd.first());
    assert_eq!(book.stored.len() as u64, count, "refused, unknown, odd: {others:?}");
}
