//! The error of the channel and the programs: what failed, where (topic, partition, offset), whether trying
//! again may help, and, where a message is concerned, whether it is stored.

use std::fmt;

/// A result with this crate's [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed. Built with [`Error::new`] and the methods that add what is known.
#[derive(Debug)]
pub struct Error {
    what: String,
    location: Option<RecordLocation>,
    retriable: bool,
    about_settings: bool,
    stored: Option<Stored>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Where in Kafka an error happened, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLocation {
    /// The topic.
    pub topic: String,
    /// The partition, if the error concerns one.
    pub partition: Option<i32>,
    /// The offset, if the error concerns one message.
    pub offset: Option<i64>,
}

/// Whether the message that an error concerns is in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is.
    Yes,
    /// It is not, and will not appear later.
    No,
    /// Nobody knows.
    Unknown,
}

impl Error {
    /// An error that says `what` failed and, where that helps, what to do about it. Not retriable unless
    /// told.
    pub fn new(what: impl Into<String>) -> Error {
        Error {
            what: what.into(),
            location: None,
            retriable: false,
            about_settings: false,
            stored: None,
            source: None,
        }
    }

    /// Names the place.
    pub fn at(mut self, topic: &str, partition: Option<i32>, offset: Option<i64>) -> Error {
        self.location = Some(RecordLocation { topic: topic.to_owned(), partition, offset });
        self
    }

    /// Says that trying again later may help.
    pub fn retriable(mut self) -> Error {
        self.retriable = true;
        self
    }

    /// Says that the usage or the settings are to blame: with them it will never work.
    pub fn about_settings(mut self) -> Error {
        self.about_settings = true;
        self
    }

    /// Says whether the message is stored.
    pub fn stored(mut self, stored: Stored) -> Error {
        self.stored = Some(stored);
        self
    }

    /// Names the cause, which is shown after `what`.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// Where it happened, if that is known.
    pub fn location(&self) -> Option<&RecordLocation> {
        self.location.as_ref()
    }

    /// Whether trying again later may help.
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Whether the usage or the settings are to blame.
    pub fn is_about_settings(&self) -> bool {
        self.about_settings
    }

    /// Whether the message is stored; `None` where the error concerns no message.
    pub fn is_stored(&self) -> Option<Stored> {
        self.stored
    }
}

/// One line: what, where, the cause, and whether the message is stored.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(location) = &self.location {
            write!(f, " ({location})")?;
        }
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        match self.stored {
            None => Ok(()),
            Some(Stored::Yes) => f.write_str("; the message is stored"),
            Some(Stored::No) => f.write_str("; the message is not stored"),
            Some(Stored::Unknown) => f.write_str("; whether the message is stored is unknown"),
        }
    }
}

impl fmt::Display for RecordLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}", self.topic)?;
        if let Some(partition) = self.partition {
            write!(f, ", partition {partition}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_in_one_line_what_where_why_and_whether_the_message_is_stored() {
        let error = Error::new("the commit failed")
            .at("mi-topico", Some(2), Some(41))
            .caused_by("connection reset")
            .stored(Stored::Yes)
            .retriable();
        let line = "the commit failed (topic mi-topico, partition 2, offset 41): connection reset; \
                    the message is stored";
        assert_eq!(error.to_string(), line);
        assert!(error.is_retriable());
        assert_eq!(error.is_stored(), Some(Stored::Yes));
    }
}
