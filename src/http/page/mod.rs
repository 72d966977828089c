//! The page: three static files that ask nobody but this endpoint for anything.

use tiny_http::Request;

use super::answer::Answer;

/// What the browser may do with the page: run and show its own files, and ask its own host. No code in a message can
/// run, wherever it comes from (Content Security Policy Level 3).
const POLICY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
    Cache-Control: no-cache\r\n";

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

    /// Its kind and its text.
    fn content(self) -> (&'static str, &'static str) {
        match self {
            File::Index => ("text/html", include_str!("index.html")),
            File::Style => ("text/css", include_str!("style.css")),
            File::Script => ("text/javascript", include_str!("script.js")),
        }
    }

    /// The file, or 304 to who has it already (RFC 9110 §13.1.2).
    pub(super) fn answer(self, request: &Request) -> Answer {
        let (kind, text) = self.content();
        let tag = format!("\"{:08x}\"", crc32fast::hash(text.as_bytes()));
        let known = request.headers().iter().find(|header| header.field.equiv("If-None-Match"));
        let is_known = known.is_some_and(|header| {
            let mut tags = header.value.as_str().split(',').map(str::trim);
            tags.any(|known| known.trim_start_matches("W/") == tag || known == "*")
        });
        let headers = format!("{POLICY}ETag: {tag}\r\n");
        if is_known {
            return Answer { status: 304, headers: headers.into(), body: Vec::new() };
        }
        let headers = format!("Content-Type: {kind}; charset=utf-8\r\n{headers}");
        Answer { status: 200, headers: headers.into(), body: text.into() }
    }
}
