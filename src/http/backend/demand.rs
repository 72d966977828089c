//! The right that a request needs, by its method and its route.

use super::route::Route;
use crate::http::api::queues::{QueueAction, QueueRoute};
use crate::http::api::rest::RestRoute;
use crate::http::api::uri;
use crate::users::Right;

/// The right that a user needs for a request, and the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Demand {
    /// This right.
    Right(Right),
    /// The right to send, and the channel's own topic.
    SendToChannel,
    /// The right to send, and this topic.
    SendTo(String),
    /// The right to read, and this topic or that of its dead letters.
    ReadFrom(String),
    /// The right to receive, and the channel's own topic.
    ReceiveFromChannel,
    /// The right to receive, and this topic.
    ReceiveFrom(String),
}

impl Demand {
    /// The right.
    pub(crate) fn right(&self) -> Right {
        match self {
            Demand::Right(right) => *right,
            Demand::SendToChannel | Demand::SendTo(_) => Right::Send,
            Demand::ReadFrom(_) => Right::Read,
            Demand::ReceiveFromChannel | Demand::ReceiveFrom(_) => Right::Receive,
        }
    }
}

/// The demand of a request to `target`, path and query; `None`: it needs no right, as nothing is there, the
/// path does not have the method, or everyone may see it.
pub(crate) fn demand(method: &str, target: &[u8]) -> Option<Demand> {
    let path = uri::split(str::from_utf8(target).ok()?).0;
    let route = Route::at(path)?;
    if !route.methods().split(", ").any(|name| name == method) {
        return None;
    }
    match route {
        Route::Enviar => Some(Demand::SendToChannel),
        Route::Replay | Route::Discard => Some(Demand::Right(Right::Admin)),
        Route::Events | Route::Letters | Route::Metrics => Some(Demand::Right(Right::Read)),
        Route::Rest(RestRoute::Topic(topic) | RestRoute::Partition(topic, _) | RestRoute::Raw(topic))
            if method == "POST" =>
        {
            // A name that cannot be decoded names no topic, and is refused by the handler.
            Some(uri::segment(topic).map_or(Demand::Right(Right::Send), Demand::SendTo))
        }
        Route::Queue(QueueRoute::Of(_, QueueAction::State)) => Some(Demand::Right(Right::Read)),
        Route::Queue(QueueRoute::OfChannel(_)) => Some(Demand::ReceiveFromChannel),
        Route::Queue(QueueRoute::Of(topic, _)) => {
            Some(uri::segment(topic).map_or(Demand::Right(Right::Receive), Demand::ReceiveFrom))
        }
        Route::Rest(RestRoute::Messages(topic) | RestRoute::Message(topic, ..)) => {
            Some(uri::segment(topic).map_or(Demand::Right(Right::Read), Demand::ReadFrom))
        }
        Route::Rest(_) => Some(Demand::Right(Right::Read)),
        Route::OpenApi | Route::Page(_) | Route::Health | Route::Readiness => None,
        Route::ProxyHealth | Route::ProxyReadiness | Route::Uptime => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::tests::every_route;
    use super::*;

    /// The right that each method of each route needs; `-`: none.
    const TABLE: [(&str, &str, &str); 47] = [
        ("POST", "/queues/{topic}/receive", "receive"),
        ("POST", "/queues/{topic}/ack", "receive"),
        ("POST", "/queues/{topic}/nack", "receive"),
        ("POST", "/queues/{topic}/extend", "receive"),
        ("POST", "/recibir", "receive"),
        ("POST", "/confirmar", "receive"),
        ("POST", "/devolver", "receive"),
        ("POST", "/prorrogar", "receive"),
        ("GET", "/queues/{topic}", "read"),
        ("HEAD", "/queues/{topic}", "read"),
        ("POST", "/enviar", "send"),
        ("GET", "/dead-letters", "read"),
        ("HEAD", "/dead-letters", "read"),
        ("POST", "/dead-letters/replay", "admin"),
        ("POST", "/dead-letters/discard", "admin"),
        ("GET", "/events", "read"),
        ("HEAD", "/events", "read"),
        ("GET", "/metrics", "read"),
        ("HEAD", "/metrics", "read"),
        ("GET", "/topics", "read"),
        ("HEAD", "/topics", "read"),
        ("GET", "/topics/{topic}", "read"),
        ("HEAD", "/topics/{topic}", "read"),
        ("POST", "/topics/{topic}", "send"),
        ("POST", "/topics/{topic}/raw", "send"),
        ("GET", "/topics/{topic}/partitions", "read"),
        ("HEAD", "/topics/{topic}/partitions", "read"),
        ("GET", "/topics/{topic}/partitions/{partition}", "read"),
        ("HEAD", "/topics/{topic}/partitions/{partition}", "read"),
        ("POST", "/topics/{topic}/partitions/{partition}", "send"),
        ("GET", "/brokers", "read"),
        ("HEAD", "/brokers", "read"),
        ("GET", "/healthz", "-"),
        ("GET", "/readyz", "-"),
        ("GET", "/healthy", "-"),
        ("GET", "/ready", "-"),
        ("GET", "/_health", "-"),
        ("GET", "/topics/{topic}/partitions/{partition}/offsets", "read"),
        ("HEAD", "/topics/{topic}/partitions/{partition}/offsets", "read"),
        ("GET", "/topics/{topic}/messages", "read"),
        ("HEAD", "/topics/{topic}/messages", "read"),
        ("GET", "/topics/{topic}/partitions/{partition}/messages/{offset}", "read"),
        ("HEAD", "/topics/{topic}/partitions/{partition}/messages/{offset}", "read"),
        ("GET", "/openapi.json", "-"),
        ("GET", "/", "-"),
        ("GET", "/page/style.css", "-"),
        ("GET", "/page/script.js", "-"),
    ];

    #[test]
    fn each_method_of_each_route_needs_its_right() {
        for route in every_route() {
            for method in route.methods().split(", ") {
                let demanded = demand(method, route.template().as_bytes());
                let right = demanded.map_or("-".to_owned(), |demand| demand.right().to_string());
                let row = TABLE.iter().find(|(known, path, _)| *known == method && *path == route.template());
                match row {
                    Some((_, _, expected)) => assert_eq!(right, *expected, "{method} {}", route.template()),
                    // The HEAD of a public route.
                    None => assert_eq!((method, right.as_str()), ("HEAD", "-"), "{}", route.template()),
                }
            }
        }
    }

    #[test]
    fn the_topic_is_the_one_that_the_handler_sends_to() {
        let to = |topic: &str| Some(Demand::SendTo(topic.to_owned()));
        assert_eq!(demand("POST", b"/enviar?key=a"), Some(Demand::SendToChannel));
        assert_eq!(demand("POST", b"/topics/pedidos"), to("pedidos"));
        assert_eq!(demand("POST", b"/topics/ped%69dos/partitions/0?x"), to("pedidos"));
        assert_eq!(demand("POST", b"/topics/%ff"), Some(Demand::Right(Right::Send)));
        let from = |topic: &str| Some(Demand::ReceiveFrom(topic.to_owned()));
        assert_eq!(demand("POST", b"/recibir?max=1"), Some(Demand::ReceiveFromChannel));
        assert_eq!(demand("POST", b"/queues/ped%69dos/ack"), from("pedidos"));
        assert_eq!(demand("POST", b"/queues/%ff/ack"), Some(Demand::Right(Right::Receive)));
        let read = |topic: &str| Some(Demand::ReadFrom(topic.to_owned()));
        assert_eq!(demand("GET", b"/topics/ped%69dos/messages?max=1"), read("pedidos"));
        assert_eq!(demand("HEAD", b"/topics/a/partitions/0/messages/7"), read("a"));
        assert_eq!(demand("GET", b"/topics/%ff/messages"), Some(Demand::Right(Right::Read)));
        for (method, target) in [("GET", "/enviar"), ("POST", "/metrics"), ("GET", "/nothing"), ("GET", "*")]
        {
            assert_eq!(demand(method, target.as_bytes()), None, "{method} {target}");
        }
    }
}
