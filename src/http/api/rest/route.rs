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
    /// `/brokers`
    Brokers,
}

impl<'a> RestRoute<'a> {
    /// The route of a path, if it is one of this API.
    pub(crate) fn at(path: &'a str) -> Option<RestRoute<'a>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let route = match (segments.next()?, segments.next(), segments.next(), segments.next()) {
            ("brokers", None, None, None) => RestRoute::Brokers,
            ("topics", None, None, None) => RestRoute::Topics,
            ("topics", Some(topic), None, None) => RestRoute::Topic(topic),
            ("topics", Some(topic), Some("partitions"), None) => RestRoute::Partitions(topic),
            ("topics", Some(topic), Some("partitions"), Some(number)) => RestRoute::Partition(topic, number),
            _ => return None,
        };
        let named =
            !matches!(route, RestRoute::Topic("") | RestRoute::Partitions("") | RestRoute::Partition("", _));
        (named && segments.next().is_none()).then_some(route)
    }

    /// Its path with a name in braces for each variable segment.
    pub(crate) fn template(self) -> &'static str {
        match self {
            RestRoute::Topics => "/topics",
            RestRoute::Topic(_) => "/topics/{topic}",
            RestRoute::Partitions(_) => "/topics/{topic}/partitions",
            RestRoute::Partition(..) => "/topics/{topic}/partitions/{partition}",
            RestRoute::Brokers => "/brokers",
        }
    }

    /// Its methods, as in an `Allow` header.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            RestRoute::Topic(_) | RestRoute::Partition(..) => "GET, HEAD, POST",
            RestRoute::Topics | RestRoute::Partitions(_) | RestRoute::Brokers => "GET, HEAD",
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
