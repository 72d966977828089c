//! Clients that others wrote, on a broker: `kcat`, Java's console tools of two versions, confluent-kafka and
//! kafka-python. A real Kafka proves the tests; the embedded broker has to pass the same.

pub mod client;
mod cooperation;
mod exchange;
pub mod groups;
mod tools;

use crate::support::{EMBEDDED, NEWEST, run_on};
use cooperation::*;
use exchange::*;
use groups::*;
use tools::*;

run_on! {
    mod kafka_4_3 on NEWEST {
        what_any_client_writes_any_client_reads_unchanged as HEAVY,
        idempotent_producers_store_each_message_once_and_in_order_while_the_broker_dies as HEAVY,
        a_group_of_two_gets_each_message_once_and_outlives_a_member_that_dies as HEAVY,
        clients_of_all_kinds_share_one_group as HEAVY,
        clients_of_all_kinds_share_one_group_that_rebalances_cooperatively as HEAVY,
        a_cooperative_member_keeps_what_it_can as HEAVY,
        a_member_of_ours_gives_a_foreign_one_its_share_and_keeps_the_rest as HEAVY,
        a_foreign_member_that_leads_gives_ours_its_share as HEAVY,
        an_eager_member_turns_the_group_to_range_until_it_leaves as HEAVY,
        a_member_of_both_kinds_shares_whatever_the_group_chooses as HEAVY,
        a_topic_created_later_is_found_by_a_regular_expression as HEAVY,
        the_topics_tool_creates_lists_describes_and_deletes,
        the_tools_alter_topics_and_look_into_them,
        the_offsets_tool_finds_ends_and_timestamps,
        the_groups_tool_lists_describes_resets_and_deletes,
        the_tools_of_administrators_are_answered,
    }
    mod embedded on EMBEDDED {
        what_any_client_writes_any_client_reads_unchanged as HEAVY,
        idempotent_producers_store_each_message_once_and_in_order_while_the_broker_dies as HEAVY,
        idempotent_producers_store_each_message_once_and_in_order_while_holders_die as HEAVY,
        a_topic_that_nobody_created_is_there_for_whoever_sends_to_it,
        a_transactional_producer_is_refused_and_told_so,
        a_group_of_two_gets_each_message_once_and_outlives_a_member_that_dies as HEAVY,
        clients_of_all_kinds_share_one_group as HEAVY,
        clients_of_all_kinds_share_one_group_that_rebalances_cooperatively as HEAVY,
        a_member_of_the_new_group_protocol_is_told_to_use_the_classic_one,
        clients_of_all_kinds_live_through_hand_overs_without_a_duplicate as HEAVY,
        a_cooperative_member_keeps_what_it_can as HEAVY,
        a_member_of_ours_gives_a_foreign_one_its_share_and_keeps_the_rest as HEAVY,
        a_foreign_member_that_leads_gives_ours_its_share as HEAVY,
        an_eager_member_turns_the_group_to_range_until_it_leaves as HEAVY,
        a_member_of_both_kinds_shares_whatever_the_group_chooses as HEAVY,
        a_topic_created_later_is_found_by_a_regular_expression as HEAVY,
        the_topics_tool_creates_lists_describes_and_deletes,
        the_tools_alter_topics_and_look_into_them,
        the_offsets_tool_finds_ends_and_timestamps,
        the_groups_tool_lists_describes_resets_and_deletes,
        the_tools_of_administrators_are_answered,
    }
}
