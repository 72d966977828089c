//! Topics that are deleted and made anew while a member owns partitions of them. The new topic has another id
//! (KIP-516): its messages are others, whatever their offsets, and none of them is handled yet.

use super::Member;
use super::state::State;

impl Member {
    /// Begins anew with the owned partitions whose topics have other ids now, as far as the cluster has told.
    pub(super) fn notice_recreated(&self, state: &mut State) {
        let mut is_any = false;
        for (key, owned) in &mut state.owned {
            let Some(topic) = self.cluster.cached(&key.topic) else { continue };
            if owned.is_of(topic.id) {
                continue;
            }
            log::warn!(
                "{}: topic {} was deleted and made anew; {key} is consumed from its beginning",
                self.spec.name,
                key.topic
            );
            owned.begin_anew(topic.id);
            is_any = true;
        }
        if is_any {
            state.epoch += 1;
            state.fetch_epoch += 1;
            // The thread of the heartbeats decides where partitions start.
            state.heartbeat_now = true;
            self.changed.notify_all();
        }
    }
}
