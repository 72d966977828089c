//! The paths of the REST API and their methods.

/// A route of this API. Topic and partition are as they stand in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestRoute<'a> {
    /// `/topics`
    Topics,
    /// `/topics/{topic}`
    Topic(&'a str),
    /// `/topics/{topic}/partitions`
    Partitions(&'a str),
    /// `/topics/{topic}/partitions/{partition}`
    Partition(&'a str, &'a str),
    /// `/topics/{topic}/partitions/{partition}/offsets`
    Offsets(&'a str, &'a str),
    /// `/topics/{topic}/messages`
    Messages(&'a str),
    /// `/topics/{topic}/partitions/{partition}/messages/{offset}`
    Message(&'a str, &'a str, &'a str),
    /// `/topics/{topic}/raw`
    Raw(&'a str),
    /// `/brokers`
    Brokers,
}

impl<'a> RestRoute<'a> {
    /// The route of a path, if it is one of this API.
    pub(crate) fn at(path: &'a str) -> Option<RestRoute<'a>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let first = segments.next()?;
        let rest = [(); 5].map(|()| segments.next());
        let route = match (first, rest) {
            ("brokers", [None, ..]) => RestRoute::Brokers,
            ("topics", [None, ..]) => RestRoute::Topics,
            ("topics", [Some(""), ..]) => return None,
            ("topics", [Some(topic), None, ..]) => RestRoute::Topic(topic),
            ("topics", [Some(topic), Some("messages"), None, ..]) => RestRoute::Messages(topic),
            ("topics", [Some(topic), Some("raw"), None, ..]) => RestRoute::Raw(topic),
            ("topics", [Some(topic), Some("partitions"), None, ..]) => RestRoute::Partitions(topic),
            ("topics", [Some(topic), Some("partitions"), Some(number), None, ..]) => {
                RestRoute::Partition(topic, number)
            }
            ("topics", [Some(topic), Some("partitions"), Some(number), Some("offsets"), None]) => {
                RestRoute::Offsets(topic, number)
            }
            ("topics", [Some(topic), Some("partitions"), Some(number), Some("messages"), Some(offset)]) => {
                RestRoute::Message(topic, number, offset)
            }
            _ => return None,
        };
        segments.next().is_none().then_some(route)
    }

    /// Its path with a name in braces for each variable segment.
    pub(crate) fn template(self) -> &'static str {
        match self {
            RestRoute::Topics => "/topics",
            RestRoute::Topic(_) => "/topics/{topic}",
            RestRoute::Partitions(_) => "/topics/{topic}/partitions",
            RestRoute::Partition(..) => "/topics/{topic}/partitions/{partition}",
            RestRoute::Offsets(..) => "/topics/{topic}/partitions/{partition}/offsets",
            RestRoute::Messages(_) => "/topics/{topic}/messages",
            RestRoute::Message(..) => "/topics/{topic}/partitions/{partition}/messages/{offset}",
            RestRoute::Raw(_) => "/topics/{topic}/raw",
            RestRoute::Brokers => "/brokers",
        }
    }

    /// Its methods, as in an `Allow` header.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            RestRoute::Topic(_) | RestRoute::Partition(..) => "GET, HEAD, POST",
            RestRoute::Raw(_) => "POST",
            RestRoute::Topics | RestRoute::Partitions(_) | RestRoute::Offsets(..) => "GET, HEAD",
            RestRoute::Messages(_) | RestRoute::Message(..) | RestRoute::Brokers => "GET, HEAD",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        for (path, route) in [
            ("/topics", Some(RestRoute::Topics)),
            ("/topics/a%20b", Some(RestRoute::Topic("a%20b"))),
            ("/topics/a/partitions", Some(RestRoute::Partitions("a"))),
            ("/topics/a/partitions/0", Some(RestRoute::Partition("a", "0"))),
            ("/topics/a/partitions/0/offsets", Some(RestRoute::Offsets("a", "0"))),
            ("/topics/a/partitions/0/offsets/", None),
            ("/topics/a/messages", Some(RestRoute::Messages("a"))),
            ("/topics/a/partitions/0/messages/7", Some(RestRoute::Message("a", "0", "7"))),
            ("/topics/a/partitions/0/messages", None),
            ("/topics/a/partitions/0/messages/7/8", None),
            ("/topics/a/messages/7", None),
            ("/topics/a/raw", Some(RestRoute::Raw("a"))),
            ("/brokers", Some(RestRoute::Brokers)),
            ("/topics/", None),
            ("/topics//partitions", None),
            ("/topics/a/", None),
            ("/topics/a/records", None),
            ("/topics/a/partitions/0/1", None),
            ("/brokers/1", None),
            ("topics", None),
            ("/", None),
        ] {
            assert_eq!(RestRoute::at(path), route, "{path:?}");
        }
    }
}
