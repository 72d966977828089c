//! The protocols that a member offers when it joins. The coordinator chooses one that all members offer.

use std::collections::BTreeSet;

use protocol::assignment::Subscription;

use super::Partitions;

/// What the members of a group can agree on: by which assignor the leader shares the partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// [`range`](super::range): every member gives up all that it has before it takes what it gets.
    Range,
    /// [`cooperative_sticky`](super::cooperative_sticky()): a member keeps what it has over a rebalance,
    /// gives up what it was not assigned again, and then joins anew.
    CooperativeSticky,
}

impl GroupProtocol {
    /// Its name, which Kafka's clients of every kind share.
    pub fn name(self) -> &'static str {
        match self {
            GroupProtocol::Range => "range",
            GroupProtocol::CooperativeSticky => "cooperative-sticky",
        }
    }
}

/// A protocol that a member offers, and what it says to the leader that follows this protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The protocol.
    pub protocol: GroupProtocol,
    /// The member's topics and what it owns.
    pub subscription: Subscription,
}

impl Offer {
    /// Offers `range`, under which nobody says what it owns. In each offer the member tells `user_data` of
    /// itself.
    pub fn range(topics: &BTreeSet<String>, user_data: &[u8]) -> Offer {
        let (topics, user_data) = (topics.iter().cloned().collect(), user_data.to_vec());
        let subscription = Subscription { topics, user_data, ..Subscription::default() };
        Offer { protocol: GroupProtocol::Range, subscription }
    }

    /// Offers `cooperative-sticky`: the member keeps `owned`, which it owned in `generation`. That is the
    /// last generation of which it has an assignment; none for a member that has not had one.
    pub fn cooperative_sticky(
        topics: &BTreeSet<String>,
        owned: &Partitions,
        generation: Option<i32>,
        user_data: &[u8],
    ) -> Offer {
        let owned = owned.iter().map(|(topic, numbers)| (topic.clone(), numbers.clone())).collect();
        let (topics, user_data) = (topics.iter().cloned().collect(), user_data.to_vec());
        let subscription = Subscription { topics, owned, generation, user_data };
        Offer { protocol: GroupProtocol::CooperativeSticky, subscription }
    }
}
