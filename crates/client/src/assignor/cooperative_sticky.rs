//! The assignor of cooperative rebalancing (KIP-429), under the name and the rules of Java's
//! `CooperativeStickyAssignor`, so that either leads a group of both.
//!
//! It shares out in four steps. Every member keeps what it owns; what nobody owns goes to the members that
//! have least; then partitions move until no member could have fewer without another having more: first those
//! that nobody owns, and only if that is not enough, owned ones. What still would come to another member than
//! its living owner is withheld from everybody for this generation. The owner sees that it was not assigned,
//! gives it up and joins anew; in the rebalance that this causes nobody owns the partition any more.
//!
//! With one subscription for all, the numbers of partitions differ by at most one, and the fewest possible
//! partitions move. With different ones a partition may have to move so that another can, along a path of
//! members; the sum of the squares of the numbers is then the least possible. The result depends on the input
//! alone. What was withheld is not noted anywhere: the second rebalance comes to the same numbers, because
//! moving what nobody owns is tried first.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use protocol::TopicPartition;

use super::Partitions;

/// What a member says it owns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// The partitions.
    pub owned: BTreeSet<TopicPartition>,
    /// The last generation of which it has an assignment. An older one loses against a newer one.
    pub generation: Option<i32>,
}

/// Assigns every partition of every subscribed topic to one member, or to none in this generation if its
/// owner has to give it up first.
///
/// `subscriptions` are the topics of each member id; `claims` what they own; `counts` the number of
/// partitions of each topic that exists. Every member is in the result, also without partitions. Partitions
/// that two members claim in one generation are withheld until both have given them up.
pub fn cooperative_sticky(
    subscriptions: &BTreeMap<String, BTreeSet<String>>,
    claims: &BTreeMap<String, Claim>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, Partitions> {
    let mut sharing = Sharing::new(subscriptions, counts);
    let unowned = sharing.keep_what_is_owned(claims);
    sharing.give_out(unowned);
    sharing.balance(Movable::Gained);
    sharing.balance(Movable::Everything);
    sharing.outcome()
}

/// Who owned a partition before this rebalance, as far as claims are believed. Members and topics are
/// numbered in the order of their ids and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Member(usize),
    /// Several members in the same generation.
    Several,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    topic: usize,
    number: i32,
    owner: Owner,
}

#[derive(Debug)]
struct Topic<'a> {
    name: &'a str,
    count: usize,
    subscribers: Vec<usize>,
}

/// What a member has of one topic.
#[derive(Debug, Default)]
struct Held {
    /// What it owned before.
    kept: Vec<Place>,
    /// What it did not.
    gained: Vec<Place>,
}

impl Held {
    fn count(&self) -> usize {
        self.kept.len() + self.gained.len()
    }

    fn has(&self, movable: Movable) -> bool {
        !self.gained.is_empty() || movable == Movable::Everything && !self.kept.is_empty()
    }

    /// Takes out one for `to`: its own before any other, and what it kept last of all.
    fn take(&mut self, to: usize) -> Option<Place> {
        match self.gained.iter().position(|place| place.owner == Owner::Member(to)) {
            Some(position) => Some(self.gained.swap_remove(position)),
            None => self.gained.pop().or_else(|| self.kept.pop()),
        }
    }
}

#[derive(Debug)]
struct Member<'a> {
    id: &'a str,
    load: usize,
    held: BTreeMap<usize, Held>,
}

impl Member<'_> {
    fn count(&self, topic: usize) -> usize {
        self.held.get(&topic).map_or(0, Held::count)
    }
}

/// Which partitions may move to level the numbers out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Movable {
    /// Those that their member did not own before.
    Gained,
    Everything,
}

#[derive(Debug)]
struct Sharing<'a> {
    members: Vec<Member<'a>>,
    /// The topics that somebody subscribes to.
    topics: Vec<Topic<'a>>,
}

impl<'a> Sharing<'a> {
    fn new(
        subscriptions: &'a BTreeMap<String, BTreeSet<String>>,
        counts: &'a BTreeMap<String, usize>,
    ) -> Sharing<'a> {
        let topic = |(name, &count): (&'a String, &usize)| {
            let subscribed = subscriptions.values().enumerate().filter(|(_, topics)| topics.contains(name));
            let subscribers: Vec<usize> = subscribed.map(|(member, _)| member).collect();
            (!subscribers.is_empty()).then_some(Topic { name, count, subscribers })
        };
        let member = |id: &'a String| Member { id, load: 0, held: BTreeMap::new() };
        let members = subscriptions.keys().map(member).collect();
        Sharing { members, topics: counts.iter().filter_map(topic).collect() }
    }

    fn subscribers(&self, topic: usize) -> &[usize] {
        self.topics.get(topic).map_or(&[], |topic| &topic.subscribers)
    }

    fn load(&self, member: usize) -> usize {
        self.members.get(member).map_or(0, |member| member.load)
    }

    fn count(&self, member: usize, topic: usize) -> usize {
        self.members.get(member).map_or(0, |member| member.count(topic))
    }

    fn put(&mut self, place: Place, member: usize) {
        let Some(to) = self.members.get_mut(member) else { return };
        let held = to.held.entry(place.topic).or_default();
        let own = place.owner == Owner::Member(member);
        if own { &mut held.kept } else { &mut held.gained }.push(place);
        to.load += 1;
    }

    /// The owners of all that is claimed, also of what does not exist, each with the generation of its claim.
    fn owners<'c>(
        &self,
        claims: &'c BTreeMap<String, Claim>,
    ) -> BTreeMap<(&'c str, i32), (Option<i32>, Owner)> {
        let mut owners = BTreeMap::new();
        for (member, Member { id, .. }) in self.members.iter().enumerate() {
            let Some(claim) = claims.get(*id) else { continue };
            let new = (claim.generation, Owner::Member(member));
            for TopicPartition { topic, partition } in &claim.owned {
                let known = owners.entry((topic.as_str(), *partition)).or_insert(new);
                if claim.generation > known.0 {
                    *known = new;
                } else if claim.generation == known.0 && known.1 != new.1 {
                    known.1 = Owner::Several;
                }
            }
        }
        owners
    }

    /// Leaves every partition with its owner, if that still subscribes to it. Returns the others, those with
    /// the fewest subscribers first.
    fn keep_what_is_owned(&mut self, claims: &BTreeMap<String, Claim>) -> Vec<Place> {
        let owners = self.owners(claims);
        let places = |(topic, &Topic { name, count, .. }): (usize, &Topic<'_>)| {
            let owner = |number| owners.get(&(name, number)).map_or(Owner::Nobody, |(_, owner)| *owner);
            let numbers = (0..count).map_while(|number| i32::try_from(number).ok());
            let places = numbers.map(|number| Place { topic, number, owner: owner(number) });
            places.collect::<Vec<_>>()
        };
        let places: Vec<Place> = self.topics.iter().enumerate().flat_map(places).collect();
        let mut unowned = Vec::new();
        for place in places {
            match place.owner {
                Owner::Member(owner) if self.subscribers(place.topic).binary_search(&owner).is_ok() => {
                    self.put(place, owner);
                }
                _ => unowned.push(place),
            }
        }
        unowned.sort_by_key(|place| self.subscribers(place.topic).len());
        unowned
    }

    fn give_out(&mut self, unowned: Vec<Place>) {
        for place in unowned {
            let least = |member: &usize| (self.load(*member), self.count(*member, place.topic), *member);
            if let Some(member) = self.subscribers(place.topic).iter().copied().min_by_key(least) {
                self.put(place, member);
            }
        }
    }

    /// Moves partitions from members with many to such with at least two fewer, as long as there is a path of
    /// movable partitions from one to the other.
    ///
    /// The fullest member is always the next. If it has no path, it never gets one: whatever moves between
    /// members with no more than it has stays out of its reach. So each member is given up once.
    fn balance(&mut self, movable: Movable) {
        let mut settled = BTreeSet::new();
        loop {
            let open = self.members.iter().enumerate().filter(|(member, _)| !settled.contains(member));
            let fullest = open.max_by_key(|(member, has)| (has.load, Reverse(*member)));
            let Some((fullest, _)) = fullest else { return };
            let path = self.path(fullest, movable);
            if path.is_empty() {
                settled.insert(fullest);
            }
            // The end comes first, so that nobody hands on what it has just got.
            for step in path.windows(2).rev() {
                if let [from, to] = *step {
                    self.move_one(from, to, movable);
                }
            }
        }
    }

    /// The shortest path from `start` to a member with at least two partitions fewer, both of them included;
    /// of several at the same distance to the one that has least. Empty if there is none.
    fn path(&self, start: usize, movable: Movable) -> Vec<usize> {
        let limit = self.load(start);
        let mut before: Vec<Option<usize>> = vec![None; self.members.len()];
        // Whoever can be reached by these has been.
        let mut followed = BTreeSet::new();
        let mut level = vec![start];
        while !level.is_empty() {
            let mut next = Vec::new();
            for from in level {
                let held = self.members.get(from).into_iter().flat_map(|member| &member.held);
                for (&topic, _) in held.filter(|(_, held)| held.has(movable)) {
                    if !followed.insert(topic) {
                        continue;
                    }
                    for &to in self.subscribers(topic) {
                        if let Some(new @ None) = before.get_mut(to).filter(|_| to != start) {
                            *new = Some(from);
                            next.push(to);
                        }
                    }
                }
            }
            let emptier = next.iter().copied().filter(|member| self.load(*member) + 2 <= limit);
            if let Some(end) = emptier.min_by_key(|member| (self.load(*member), *member)) {
                let back = std::iter::successors(Some(end), |member| before.get(*member).copied().flatten());
                let mut path: Vec<usize> = back.collect();
                path.reverse();
                return path;
            }
            level = next;
        }
        Vec::new()
    }

    /// Moves one partition: one that `from` did not own before, if there is any, and of the topic of which it
    /// has most in comparison.
    fn move_one(&mut self, from: usize, to: usize, movable: Movable) {
        let Some(giver) = self.members.get(from) else { return };
        let candidates = giver.held.iter().filter(|(topic, held)| {
            held.has(movable) && self.subscribers(**topic).binary_search(&to).is_ok()
        });
        let best = candidates.max_by_key(|(topic, held)| {
            let more = held.count() as i64 - self.count(to, **topic) as i64;
            (!held.gained.is_empty(), more, Reverse(**topic))
        });
        let Some(topic) = best.map(|(topic, _)| *topic) else { return };
        let Some(giver) = self.members.get_mut(from) else { return };
        if let Some(place) = giver.held.get_mut(&topic).and_then(|held| held.take(to)) {
            giver.load -= 1;
            self.put(place, to);
        }
    }

    /// What each member gets in this generation: without what another one still owns.
    fn outcome(&self) -> BTreeMap<String, Partitions> {
        let partitions = |member: &Member<'_>| {
            let mut partitions = Partitions::new();
            for (&topic, held) in &member.held {
                let free = held.gained.iter().filter(|place| place.owner == Owner::Nobody);
                let mut numbers: Vec<i32> = held.kept.iter().chain(free).map(|place| place.number).collect();
                numbers.sort_unstable();
                if let (false, Some(topic)) = (numbers.is_empty(), self.topics.get(topic)) {
                    partitions.insert(topic.name.to_owned(), numbers);
                }
            }
            partitions
        };
        self.members.iter().map(|member| (member.id.to_owned(), partitions(member))).collect()
    }
}
