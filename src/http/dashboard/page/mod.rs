//! The dashboard's page: three static files that load nothing from other hosts.

use crate::http::response::Response;
use crate::http::static_files;

/// The headers that let a browser run only the page's own files and connect only to its own host, so that no
/// code in a message can run (Content Security Policy Level 3).
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n";

/// One script of several files: each uses what stands before it.
const SCRIPT: &str = concat!(
    "const VERSION = '",
    env!("CARGO_PKG_VERSION"),
    "';\n\n",
    include_str!("elements.js"),
    include_str!("requests.js"),
    include_str!("message.js"),
    include_str!("messages.js"),
    include_str!("group.js"),
    include_str!("queues.js"),
    include_str!("charts.js"),
    include_str!("letters.js"),
    include_str!("browse.js"),
    include_str!("script.js"),
);

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageFile {
    /// `/`
    Index,
    /// `/page/style.css`
    Style,
    /// `/page/script.js`
    Script,
}

impl PageFile {
    /// The file at a path, if there is one.
    pub(crate) fn at(path: &str) -> Option<PageFile> {
        [PageFile::Index, PageFile::Style, PageFile::Script].into_iter().find(|file| file.path() == path)
    }

    /// Its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            PageFile::Index => "/",
            PageFile::Style => "/page/style.css",
            PageFile::Script => "/page/script.js",
        }
    }

    /// Its media type and its text.
    fn content(self) -> (&'static str, &'static str) {
        match self {
            PageFile::Index => ("text/html; charset=utf-8", include_str!("index.html")),
            PageFile::Style => ("text/css; charset=utf-8", include_str!("style.css")),
            PageFile::Script => ("text/javascript; charset=utf-8", SCRIPT),
        }
    }

    /// The response with the file, or 304 if `if_none_match` names its version.
    pub(crate) fn respond(self, if_none_match: Option<&str>) -> Response {
        let (media_type, text) = self.content();
        static_files::respond(if_none_match, media_type, text, POLICY)
    }
}
