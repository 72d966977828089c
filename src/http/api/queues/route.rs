//! The paths of the queues and their methods.

use crate::http::api::rest::topic_of;
use crate::http::response::Response;

/// What is asked of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueAction {
    /// Messages.
    Receive,
    /// That messages are handled.
    Acknowledge,
    /// That messages are not handled.
    GiveBack,
    /// More time.
    Extend,
    /// What it holds.
    State,
}

impl QueueAction {
    /// Whether it ends leases, or lets them last.
    pub(crate) fn changes_leases(self) -> bool {
        matches!(self, QueueAction::Acknowledge | QueueAction::GiveBack | QueueAction::Extend)
    }

    /// The parameters of its query.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            QueueAction::Receive => &["group", "max", "wait_ms", "lease_ms"],
            _ => &["group"],
        }
    }
}

/// A route of the queues. A topic is as it stands in the path; without one it is the channel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueRoute<'a> {
    /// A path under `/queues/{topic}`.
    Of(&'a str, QueueAction),
    /// One of the short paths.
    OfChannel(QueueAction),
}

impl<'a> QueueRoute<'a> {
    /// The route of a path, if it is one of a queue.
    pub(crate) fn at(path: &'a str) -> Option<QueueRoute<'a>> {
        let action = match path {
            "/recibir" => QueueAction::Receive,
            "/confirmar" => QueueAction::Acknowledge,
            "/devolver" => QueueAction::GiveBack,
            "/prorrogar" => QueueAction::Extend,
            path => return QueueRoute::under(path.strip_prefix("/queues/")?),
        };
        Some(QueueRoute::OfChannel(action))
    }

    fn under(rest: &'a str) -> Option<QueueRoute<'a>> {
        let (topic, action) = match rest.split_once('/') {
            None => (rest, QueueAction::State),
            Some((topic, "receive")) => (topic, QueueAction::Receive),
            Some((topic, "ack")) => (topic, QueueAction::Acknowledge),
            Some((topic, "nack")) => (topic, QueueAction::GiveBack),
            Some((topic, "extend")) => (topic, QueueAction::Extend),
            Some(_) => return None,
        };
        (!topic.is_empty()).then_some(QueueRoute::Of(topic, action))
    }

    /// What it asks.
    pub(crate) fn action(self) -> QueueAction {
        match self {
            QueueRoute::Of(_, action) | QueueRoute::OfChannel(action) => action,
        }
    }

    /// The topic that the path names, if it names one.
    pub(crate) fn topic(self) -> Option<Result<String, Response>> {
        match self {
            QueueRoute::Of(topic, _) => Some(topic_of(topic)),
            QueueRoute::OfChannel(_) => None,
        }
    }

    /// Its path with a name in braces for each variable segment.
    pub(crate) fn template(self) -> &'static str {
        match self {
            QueueRoute::Of(_, QueueAction::Receive) => "/queues/{topic}/receive",
            QueueRoute::Of(_, QueueAction::Acknowledge) => "/queues/{topic}/ack",
            QueueRoute::Of(_, QueueAction::GiveBack) => "/queues/{topic}/nack",
            QueueRoute::Of(_, QueueAction::Extend) => "/queues/{topic}/extend",
            QueueRoute::Of(_, QueueAction::State) => "/queues/{topic}",
            QueueRoute::OfChannel(QueueAction::Receive | QueueAction::State) => "/recibir",
            QueueRoute::OfChannel(QueueAction::Acknowledge) => "/confirmar",
            QueueRoute::OfChannel(QueueAction::GiveBack) => "/devolver",
            QueueRoute::OfChannel(QueueAction::Extend) => "/prorrogar",
        }
    }

    /// Its methods, as in an `Allow` header.
    pub(crate) fn methods(self) -> &'static str {
        match self.action() {
            QueueAction::State => "GET, HEAD",
            _ => "POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        for (path, route) in [
            ("/queues/a", Some(QueueRoute::Of("a", QueueAction::State))),
            ("/queues/a%20b/receive", Some(QueueRoute::Of("a%20b", QueueAction::Receive))),
            ("/queues/a/ack", Some(QueueRoute::Of("a", QueueAction::Acknowledge))),
            ("/queues/a/nack", Some(QueueRoute::Of("a", QueueAction::GiveBack))),
            ("/queues/a/extend", Some(QueueRoute::Of("a", QueueAction::Extend))),
            ("/recibir", Some(QueueRoute::OfChannel(QueueAction::Receive))),
            ("/confirmar", Some(QueueRoute::OfChannel(QueueAction::Acknowledge))),
            ("/devolver", Some(QueueRoute::OfChannel(QueueAction::GiveBack))),
            ("/prorrogar", Some(QueueRoute::OfChannel(QueueAction::Extend))),
            ("/queues/", None),
            ("/queues", None),
            ("/queues//receive", None),
            ("/queues/a/", None),
            ("/queues/a/receive/", None),
            ("/recibir/", None),
        ] {
            assert_eq!(QueueRoute::at(path), route, "{path:?}");
            if let Some(route) = route {
                assert_eq!(QueueRoute::at(route.template()).map(QueueRoute::action), Some(route.action()));
            }
        }
    }
}
