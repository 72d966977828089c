//! Groups that change at random, whose members follow the cooperative protocol.

use super::*;
use testing::Random;

#[derive(Debug, Clone, Default)]
struct Consumer {
    topics: BTreeSet<String>,
    owned: BTreeSet<TopicPartition>,
    generation: Option<i32>,
}

/// A group of consumers that keep what they own over a rebalance.
#[derive(Debug, Default)]
struct Group {
    consumers: BTreeMap<String, Consumer>,
    counts: BTreeMap<String, usize>,
    generation: i32,
}

impl Group {
    fn new(counts: &[(&str, usize)]) -> Group {
        let counts = counts.iter().map(|(topic, count)| (topic.to_string(), *count)).collect();
        Group { counts, ..Group::default() }
    }

    fn join(&mut self, id: &str, topics: &[&str]) {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        self.consumers.insert(id.to_owned(), Consumer { topics, ..Consumer::default() });
    }

    fn assignment(&self) -> BTreeMap<String, BTreeSet<TopicPartition>> {
        let subscriptions = self.consumers.iter().map(|(id, c)| (id.clone(), c.topics.clone())).collect();
        let claim = |c: &Consumer| Claim { owned: c.owned.clone(), generation: c.generation };
        let claims = self.consumers.iter().map(|(id, c)| (id.clone(), claim(c))).collect();
        let assigned = cooperative_sticky(&subscriptions, &claims, &self.counts);
        assert_eq!(assigned, cooperative_sticky(&subscriptions, &claims, &self.counts));
        let places = |partitions: Partitions| {
            let all = partitions.into_iter().flat_map(|(topic, numbers)| {
                numbers.into_iter().map(move |number| TopicPartition::new(topic.as_str(), number))
            });
            all.collect()
        };
        assigned.into_iter().map(|(id, partitions)| (id, places(partitions))).collect()
    }

    /// One generation, of which the members in `deaf` do not hear. Returns the partitions that members gave
    /// up because they were not assigned again.
    fn rebalance_without(&mut self, deaf: &[&str]) -> BTreeSet<TopicPartition> {
        let assigned = self.assignment();
        assert!(assigned.keys().eq(self.consumers.keys()), "every member is named");
        self.check_that_nobody_else_owns(&assigned);
        self.generation += 1;
        let mut given_up = BTreeSet::new();
        for (id, new) in assigned {
            let consumer = self.consumers.get_mut(&id).unwrap();
            if deaf.contains(&id.as_str()) {
                continue;
            }
            given_up.extend(consumer.owned.difference(&new).cloned());
            (consumer.owned, consumer.generation) = (new, Some(self.generation));
        }
        given_up
    }

    fn check_that_nobody_else_owns(&self, assigned: &BTreeMap<String, BTreeSet<TopicPartition>>) {
        let mut seen = BTreeSet::new();
        for (id, partitions) in assigned {
            let own = &self.consumers[id];
            for partition in partitions {
                assert!(seen.insert(partition), "{partition:?} has two owners");
                assert!(own.topics.contains(&partition.topic));
                assert!((partition.partition as usize) < self.counts[&partition.topic]);
                let others = self.consumers.iter().filter(|(other, _)| *other != id);
                for (other, theirs) in others.filter(|(_, theirs)| theirs.owned.contains(partition)) {
                    let newer = own.owned.contains(partition) && own.generation > theirs.generation;
                    assert!(newer, "{partition:?} goes to {id} while {other} owns it");
                }
            }
        }
    }

    /// Rebalances as long as somebody gives something up and so joins anew; checks what must be true then.
    /// Returns what was given up.
    fn settle(&mut self) -> BTreeSet<TopicPartition> {
        let given_up = self.rebalance_without(&[]);
        if !given_up.is_empty() {
            assert!(self.rebalance_without(&[]).is_empty(), "two rebalances are enough");
        }
        self.check_that_all_is_owned();
        self.check_balance();
        given_up
    }

    fn check_that_all_is_owned(&self) {
        let subscribed: BTreeSet<&String> = self.consumers.values().flat_map(|c| &c.topics).collect();
        let places = |(topic, count): (&String, &usize)| {
            let topic = topic.clone();
            (0..*count as i32).map(move |number| TopicPartition::new(topic.as_str(), number))
        };
        let expected: BTreeSet<TopicPartition> =
            self.counts.iter().filter(|(topic, _)| subscribed.contains(topic)).flat_map(places).collect();
        let owned: Vec<&TopicPartition> = self.consumers.values().flat_map(|c| &c.owned).collect();
        assert_eq!(owned.len(), expected.len(), "each has one owner");
        assert!(owned.iter().all(|partition| expected.contains(partition)));
    }

    /// Nobody reaches a member with two fewer, handing partitions on from member to member.
    fn check_balance(&self) {
        for (id, fullest) in &self.consumers {
            let mut reached = BTreeSet::from([id]);
            while let Some(next) = self.consumers.keys().find(|other| {
                let topics = &self.consumers[*other].topics;
                let given = |from: &&String| {
                    self.consumers[*from].owned.iter().any(|partition| topics.contains(&partition.topic))
                };
                !reached.contains(other) && reached.iter().any(given)
            }) {
                reached.insert(next);
            }
            for other in reached {
                let theirs = &self.consumers[other].owned;
                assert!(fullest.owned.len() <= theirs.len() + 1, "{id} has too many against {other}");
            }
        }
    }

    fn owned(&self, id: &str) -> &BTreeSet<TopicPartition> {
        &self.consumers[id].owned
    }
}

fn set(topic: &str, numbers: &[i32]) -> BTreeSet<TopicPartition> {
    numbers.iter().map(|number| TopicPartition::new(topic, *number)).collect()
}

/// Topics and a group that has settled, all of it with one subscription.
fn uniform(random: &mut Random) -> Group {
    let mut group = Group::default();
    for topic in 0..1 + random.below(4) {
        group.counts.insert(format!("t{topic}"), random.below(12));
    }
    let topics: Vec<String> = group.counts.keys().cloned().collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    for member in 0..1 + random.below(7) {
        group.join(&format!("m{member}"), &topics);
        if random.below(2) == 0 {
            group.settle();
        }
    }
    group.settle();
    group
}

#[test]
fn a_partition_that_moves_is_withheld_until_its_owner_gave_it_up() {
    let mut group = Group::new(&[("t", 4)]);
    group.join("b", &["t"]);
    group.settle();
    assert_eq!(group.owned("b"), &set("t", &[0, 1, 2, 3]));
    group.join("a", &["t"]);
    assert_eq!(group.rebalance_without(&[]), set("t", &[2, 3]));
    assert_eq!((group.owned("a").len(), group.owned("b")), (0, &set("t", &[0, 1])));
    assert!(group.rebalance_without(&[]).is_empty());
    assert_eq!((group.owned("a"), group.owned("b")), (&set("t", &[2, 3]), &set("t", &[0, 1])));
}

#[test]
fn partitions_of_every_topic_move_to_a_new_member() {
    let mut group = Group::new(&[("t", 4), ("u", 4)]);
    group.join("a", &["t", "u"]);
    group.settle();
    group.join("b", &["t", "u"]);
    group.settle();
    let of_t = group.owned("b").iter().filter(|partition| partition.topic == "t").count();
    assert_eq!((of_t, group.owned("b").len()), (2, 4));
}

#[test]
fn a_claim_of_an_older_generation_loses() {
    let mut group = Group::new(&[("t", 2)]);
    group.join("a", &["t"]);
    group.settle();
    let late = group.consumers.remove("a").unwrap();
    group.join("b", &["t"]);
    group.settle();
    group.consumers.insert("a".to_owned(), late);
    let assigned = group.assignment();
    assert_eq!(assigned["b"].len() + assigned["a"].len(), 1, "one moves, and nobody has it yet");
    group.rebalance_without(&[]);
    assert_eq!((group.owned("a").len(), group.owned("b").len()), (0, 1));
    group.settle();
    assert_eq!((group.owned("a").len(), group.owned("b").len()), (1, 1));
}

#[test]
fn a_partition_that_two_claim_in_one_generation_is_given_up_by_both() {
    let mut group = Group::new(&[("t", 3)]);
    group.join("a", &["t"]);
    group.join("b", &["t"]);
    for (id, owned) in [("a", [0, 1]), ("b", [1, 2])] {
        let consumer = group.consumers.get_mut(id).unwrap();
        (consumer.owned, consumer.generation) = (set("t", &owned), Some(5));
    }
    group.generation = 5;
    assert_eq!(group.rebalance_without(&[]), set("t", &[1]));
    assert_eq!((group.owned("a"), group.owned("b")), (&set("t", &[0]), &set("t", &[2])));
    group.settle();
}

#[test]
fn claims_of_what_does_not_exist_or_is_not_subscribed_to_are_not_assigned() {
    let mut group = Group::new(&[("t", 1), ("u", 1)]);
    group.join("a", &["t"]);
    group.join("b", &["u"]);
    let wild = [("t", -1), ("t", 1), ("t", i32::MAX), ("t", i32::MIN), ("u", 0), ("gone", 0), ("", 7)];
    let consumer = group.consumers.get_mut("a").unwrap();
    consumer.owned = wild.iter().map(|(topic, number)| TopicPartition::new(*topic, *number)).collect();
    consumer.generation = Some(1);
    group.rebalance_without(&[]);
    assert_eq!((group.owned("a"), group.owned("b").len()), (&set("t", &[0]), 0));
    group.settle();
}

#[test]
fn a_path_of_members_levels_different_subscriptions() {
    let mut group = Group::new(&[("t", 2), ("u", 4), ("v", 4)]);
    group.join("a", &["t", "u"]);
    group.join("b", &["u", "v"]);
    group.settle();
    group.join("c", &["v"]);
    group.settle();
    let loads: Vec<usize> = group.consumers.values().map(|consumer| consumer.owned.len()).collect();
    assert_eq!(loads.iter().max(), Some(&4), "{loads:?}");
}

#[test]
fn an_empty_group_and_topics_without_partitions_are_nothing() {
    assert!(cooperative_sticky(&BTreeMap::new(), &BTreeMap::new(), &BTreeMap::new()).is_empty());
    let mut group = Group::new(&[("t", 0), ("nobody's", 3)]);
    group.join("a", &["t", "unknown"]);
    group.settle();
    assert!(group.owned("a").is_empty());
}

#[test]
fn nothing_moves_when_nothing_changes() {
    let mut random = Random::new(11);
    for _ in 0..300 {
        let mut group = uniform(&mut random);
        let before: Vec<_> = group.consumers.values().map(|consumer| consumer.owned.clone()).collect();
        group.settle();
        assert!(group.consumers.values().map(|consumer| &consumer.owned).eq(&before));
    }
}

#[test]
fn a_member_that_joins_takes_only_its_share() {
    let mut random = Random::new(12);
    for _ in 0..300 {
        let mut group = uniform(&mut random);
        let before = group.consumers.clone();
        let new = Consumer { topics: before["m0"].topics.clone(), ..Consumer::default() };
        group.consumers.insert("l".to_owned(), new);
        let given_up = group.settle();
        assert_eq!(group.owned("l"), &given_up);
        assert!(before.iter().all(|(id, old)| group.owned(id).is_subset(&old.owned)));
    }
}

#[test]
fn a_member_that_leaves_gives_away_only_its_own() {
    let mut random = Random::new(13);
    for _ in 0..300 {
        let mut group = uniform(&mut random);
        let ids: Vec<String> = group.consumers.keys().cloned().collect();
        group.consumers.remove(&ids[random.below(ids.len())]);
        let before = group.consumers.clone();
        assert!(group.settle().is_empty());
        assert!(before.iter().all(|(id, old)| old.owned.is_subset(group.owned(id))));
    }
}

#[test]
fn the_fewest_possible_move_whoever_owns_what() {
    let mut random = Random::new(14);
    for _ in 0..400 {
        let mut group = uniform(&mut random);
        let all: Vec<TopicPartition> = group.consumers.values().flat_map(|c| c.owned.clone()).collect();
        let ids: Vec<String> = group.consumers.keys().cloned().collect();
        group.consumers.values_mut().for_each(|consumer| consumer.owned.clear());
        let favourites = 1 + random.below(ids.len());
        for partition in &all {
            if random.below(8) > 0 {
                let id = &ids[random.below(favourites)];
                group.consumers.get_mut(id).unwrap().owned.insert(partition.clone());
            }
        }
        let mut loads: Vec<usize> = group.consumers.values().map(|consumer| consumer.owned.len()).collect();
        loads.sort_unstable_by(|a, b| b.cmp(a));
        let (share, rest) = (all.len() / ids.len(), all.len() % ids.len());
        let above = |(rank, load): (usize, &usize)| load.saturating_sub(share + usize::from(rank < rest));
        let least: usize = loads.iter().enumerate().map(above).sum();
        assert_eq!(group.settle().len(), least);
    }
}

/// One change of a group that the next rebalance finds.
fn change(random: &mut Random, group: &mut Group, next_id: &mut usize) {
    let ids: Vec<String> = group.consumers.keys().cloned().collect();
    let topics: Vec<String> = group.counts.keys().cloned().collect();
    let some_topics = |random: &mut Random| -> BTreeSet<String> {
        topics.iter().filter(|_| random.below(2) == 0).cloned().collect()
    };
    match random.below(8) {
        0..=2 => {
            *next_id += 1;
            let topics = some_topics(random);
            group.consumers.insert(format!("m{next_id}"), Consumer { topics, ..Consumer::default() });
        }
        3..=4 if ids.len() > 1 => {
            group.consumers.remove(&ids[random.below(ids.len())]);
        }
        5 => {
            let count = random.below(9);
            group.counts.insert(topics[random.below(topics.len())].clone(), count);
        }
        6 => {
            let topics = some_topics(random);
            group.consumers.get_mut(&ids[random.below(ids.len())]).unwrap().topics = topics;
        }
        // One that was put out without hearing of it, and comes back with what it had.
        _ => {
            let id = &ids[random.below(ids.len())];
            let late = group.consumers.remove(id).unwrap();
            if !group.consumers.is_empty() {
                group.rebalance_without(&[]);
            }
            group.consumers.insert(id.clone(), late);
        }
    }
}

#[test]
fn groups_of_every_kind_settle_in_two_rebalances_and_nothing_has_two_owners() {
    for seed in 0..40 {
        let mut random = Random::new(100 + seed);
        let mut group = Group::new(&[("t", 3), ("u", 7), ("v", 1), ("w", 16)]);
        group.join("m", &["t", "u", "v", "w"]);
        let mut next_id = 0;
        for _ in 0..60 {
            change(&mut random, &mut group, &mut next_id);
            let ids: Vec<String> = group.consumers.keys().cloned().collect();
            match random.below(3) {
                // Nobody waits for the group to settle before the next change.
                0 => drop(group.rebalance_without(&[])),
                // The leader's answer does not reach one.
                1 => drop(group.rebalance_without(&[ids[random.below(ids.len())].as_str()])),
                _ => drop(group.settle()),
            }
        }
        group.settle();
    }
}

#[test]
fn a_large_group_that_starts_at_once_is_shared_out() {
    let mut group = Group::new(&[("t", 4_000), ("u", 4_000)]);
    group.join("m0", &["t", "u"]);
    group.settle();
    for member in 1..100 {
        group.join(&format!("m{member}"), &["t", "u"]);
    }
    assert_eq!(group.rebalance_without(&[]).len(), 8_000 - 80);
    assert!(group.settle().is_empty());
}
