//! The page: three static files that ask nobody but this endpoint for anything.

use tiny_http::Request;

use super::answer::Answer;
use super::fixed;

/// What the browser may do with the page: run and show its own files, and ask its own host. No code in a message can
/// run, wherever it comes from (Content Security Policy Level 3).
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// `/`
    Index,
    /// `/page/style.css`
    Style,
    /// `/page/script.js`
    Script,
}

impl File {
    /// The file at a path, if there is one.
    pub(super) fn at(path: &str) -> Option<File> {
        [File::Index, File::Style, File::Script].into_iter().find(|file| file.path() == path)
    }

    /// Its path.
    pub(super) fn path(self) -> &'static str {
        match self {
            File::Index => "/",
            File::Style => "/page/style.css",
            File::Script => "/page/script.js",
        }
    }

    /// Its media type and its text.
    fn content(self) -> (&'static str, &'static str) {
        match self {
            File::Index => ("text/html; charset=utf-8", include_str!("index.html")),
            File::Style => ("text/css; charset=utf-8", include_str!("style.css")),
            File::Script => ("text/javascript; charset=utf-8", include_str!("script.js")),
        }
    }

    /// The file, or 304 to who has it already.
    pub(super) fn answer(self, request: &Request) -> Answer {
        let (kind, text) = self.content();
        fixed::answer(request, kind, text, POLICY)
    }
}
