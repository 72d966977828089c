//! The topics of a member: those that it names, and those that a filter chooses among all that there are,
//! which are looked up before each join and each 30 s.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ClientKind, Member};

/// The longest look whether the topics of a member without partitions are there.
const LOOK: Duration = Duration::from_secs(1);

/// Chooses topics by their names.
pub trait TopicFilter: Send + Sync + fmt::Debug {
    /// Whether a member consumes this topic.
    fn chooses(&self, topic: &str) -> bool;
}

/// What a member consumes.
#[derive(Debug, Clone, Default)]
pub struct TopicSelection {
    /// These topics, whether they exist or not.
    pub named: BTreeSet<String>,
    /// All topics but internal ones that it chooses, as they come and go.
    pub filter: Option<Arc<dyn TopicFilter>>,
}

impl TopicSelection {
    /// These topics alone.
    pub fn named(topics: impl IntoIterator<Item = String>) -> TopicSelection {
        TopicSelection { named: topics.into_iter().collect(), filter: None }
    }
}

impl Member {
    /// Brings the topics to join with up to date. Those that a reader names are created, where they may be;
    /// if the others cannot be looked up now, those of before stand.
    ///
    /// # Errors
    /// The others cannot be looked up, and never were.
    pub(super) fn look_up_topics(&self, deadline: Instant) -> crate::Result<()> {
        if self.spec.kind == ClientKind::Reader {
            self.create_topics(deadline);
        }
        let found = match self.matching(deadline) {
            Ok(None) => return Ok(()),
            Ok(Some(found)) => found,
            Err(error) if self.state().topics.is_none() => return Err(error),
            Err(error) => {
                log::debug!("{}: looking for topics: {error}", self.spec.name);
                return Ok(());
            }
        };
        let before = self.state().topics.replace(found.clone());
        if before.as_ref() != Some(&found) {
            let names: Vec<&str> = found.iter().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            log::info!("{}: of all topics it consumes {names}", self.spec.name);
        }
        let gone: Vec<&str> =
            before.iter().flatten().filter(|name| !found.contains(*name)).map(|n| &**n).collect();
        if !gone.is_empty()
            && let Err(error) = self.cluster.refresh(&gone, deadline)
        {
            log::debug!("{}: {error}", self.spec.name);
        }
        Ok(())
    }

    /// Whether other topics are to be consumed than those that it has joined with.
    pub(super) fn has_other_topics(&self, deadline: Instant) -> bool {
        match self.matching(deadline) {
            Ok(found) => found.is_some_and(|found| self.state().topics.as_ref() != Some(&found)),
            Err(error) => {
                log::debug!("{}: looking for topics: {error}", self.spec.name);
                false
            }
        }
    }

    /// The topics that it joins with.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        self.state().topics.clone().unwrap_or_else(|| self.spec.topics.named.clone())
    }

    /// Those of them that the cluster does not have.
    pub(super) fn missing_topics(&self) -> Vec<String> {
        let deadline = self.cluster.deadline(Instant::now() + LOOK);
        let is_missing = |name: &String| matches!(self.cluster.topic(name, deadline), Ok(None));
        self.topics().into_iter().filter(is_missing).collect()
    }

    /// All that is to be consumed now; `None` where there is no filter.
    fn matching(&self, deadline: Instant) -> crate::Result<Option<BTreeSet<String>>> {
        let TopicSelection { named, filter } = &self.spec.topics;
        let Some(filter) = filter else { return Ok(None) };
        let all = self.cluster.all_topics(self.cluster.deadline(deadline))?;
        let chosen = all.into_iter().map(|(name, _)| name).filter(|name| filter.chooses(name));
        Ok(Some(chosen.chain(named.iter().cloned()).collect()))
    }

    fn create_topics(&self, deadline: Instant) {
        let named = &self.spec.topics.named;
        let missing = |name: &String| named.contains(name) && self.cluster.cached(name).is_none();
        for create in self.cluster.settings().create.iter().filter(|create| missing(&create.name)) {
            if let Err(error) = self.cluster.create_missing(create, self.cluster.deadline(deadline)) {
                self.cluster.tell_refusal(&error);
            }
        }
    }
}
