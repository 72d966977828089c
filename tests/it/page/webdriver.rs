//! A headless Chromium, driven through chromedriver by the W3C WebDriver protocol over plain HTTP, with the
//! DevTools commands that chromedriver passes on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::small_png::smaller;
use crate::support::http::Connection;
use crate::support::ports::free_port;
use crate::support::watchdog::{Folder, Guarded};
use crate::support::{PATIENCE, eventually};

/// Keys by the names that WebDriver gives them (§17.4.2).
pub const TAB: char = '\u{e004}';
pub const ENTER: char = '\u{e007}';
pub const CONTROL: char = '\u{e009}';

/// Nothing here needs the network but the page.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--window-size=1280,1000",
    // It ends when chromedriver does, in whatever way.
    "--remote-debugging-pipe",
];

/// A browser with one window.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    process: Guarded,
    _profile: Folder,
}

impl Browser {
    /// A browser with an empty profile, at a page.
    pub fn at(url: &str) -> Browser {
        let profile = Folder::new("chromium");
        let port = free_port();
        let mut command = Command::new(program("chromedriver"));
        command.arg(format!("--port={port}")).env("TMPDIR", profile.path()).env("HOME", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Guarded::spawn(&mut command);
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("chromedriver listens", PATIENCE, || Connection::open(driver).ok());
        let profile_flag = format!("--user-data-dir={}", profile.path().join("profile").display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile_flag.as_str()]).collect();
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": program("chromium"), "args": flags},
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
            // A dialog that a message managed to open must be seen, so nobody closes it.
            "unhandledPromptBehavior": "ignore",
        }}});
        let session = ask(driver, "POST", "/session", &capabilities)["sessionId"].clone();
        let session = session.as_str().expect("a session").to_owned();
        let browser = Browser { driver, session, process, _profile: profile };
        browser.go_to(url);
        browser
    }

    fn call(&self, command: &str, body: &Value) -> Value {
        ask(self.driver, "POST", &format!("/session/{}/{command}", self.session), body)
    }

    /// Loads a page.
    pub fn go_to(&self, url: &str) {
        self.call("url", &json!({"url": url}));
    }

    /// The value of a JavaScript expression in the page.
    pub fn value(&self, expression: &str) -> Value {
        self.call("execute/sync", &json!({"script": format!("return ({expression});"), "args": []}))
    }

    /// As [`Browser::value`], of a text.
    pub fn text(&self, expression: &str) -> String {
        self.value(expression).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&self, expression: &str) {
        let mut seen = String::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.value(expression) != Value::Bool(true) {
            if std::time::Instant::now() > deadline {
                seen.push_str(&self.text("document.body.innerText"));
                panic!("never true: {expression}\nthe page:\n{seen}\nits log:\n{:#?}", self.log("browser"));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Presses and releases one key after another; those before are held down with [`CONTROL`].
    pub fn press(&self, keys: &[char]) {
        let mut actions = Vec::new();
        let key = |kind: &str, key: &char| json!({"type": kind, "value": key.to_string()});
        if keys.first() == Some(&CONTROL) {
            actions.extend(keys.iter().map(|k| key("keyDown", k)));
            actions.extend(keys.iter().rev().map(|k| key("keyUp", k)));
        } else {
            actions.extend(keys.iter().flat_map(|k| [key("keyDown", k), key("keyUp", k)]));
        }
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.call("actions", &json!({"actions": [keyboard]}));
    }

    /// Types a text where the focus is.
    pub fn type_text(&self, text: &str) {
        self.press(&text.chars().collect::<Vec<_>>());
    }

    /// Goes to the tab that the page has opened.
    pub fn go_to_other_tab(&self) {
        let path = |command: &str| format!("/session/{}/{command}", self.session);
        let own = ask(self.driver, "GET", &path("window"), &Value::Null);
        let other = eventually("another tab is open", PATIENCE, || {
            let all = ask(self.driver, "GET", &path("window/handles"), &Value::Null);
            all.as_array().and_then(|all| all.iter().find(|tab| **tab != own)).cloned()
        });
        self.call("window", &json!({"handle": other}));
    }

    /// A DevTools command.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Shows the page as on a screen of this width, in `light` or `dark`.
    pub fn look_as(&self, width: u32, height: u32, scheme: &str) {
        self.look_on(
            &json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}),
            scheme,
        );
    }

    /// As [`Browser::look_as`], on a screen of any kind.
    pub fn look_on(&self, metrics: &Value, scheme: &str) {
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    /// Keeps a picture of the whole page in `target/page`.
    pub fn picture(&self, name: &str) {
        keep(name, &self.captured(&json!({"format": "png", "captureBeyondViewport": true})));
    }

    /// As [`Browser::picture`], of what a screen shows, and in fewer bytes; gives how many they are.
    pub fn screen(&self, name: &str) -> usize {
        self.value("document.getAnimations().forEach((animation) => animation.finish())");
        let picture = smaller(&self.captured(&json!({"format": "png"})));
        keep(name, &picture);
        picture.len()
    }

    fn captured(&self, options: &Value) -> Vec<u8> {
        let picture = self.devtools("Page.captureScreenshot", options)["data"].clone();
        STANDARD.decode(picture.as_str().expect("a picture")).expect("base64")
    }

    /// What was logged since the last time: `browser` (the console) or `performance` (DevTools events).
    pub fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.call("se/log", &json!({"type": kind}));
        let entries = entries.as_array().expect("a log").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The addresses that the browser has asked for since the last time, from the log of its network.
    pub fn requested(&self) -> Vec<String> {
        let events = self.log("performance").into_iter().filter_map(|event| {
            let event: Value = serde_json::from_str(&event).ok()?;
            let sent = event["message"]["method"] == "Network.requestWillBeSent";
            let url = event["message"]["params"]["request"]["url"].as_str()?;
            sent.then(|| url.to_owned())
        });
        events.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(mut connection) = Connection::open(self.driver) {
            let _ended = connection.request("DELETE", &format!("/session/{}", self.session), "", b"");
        }
        self.process.kill();
    }
}

fn keep(name: &str, picture: &[u8]) {
    let folder = pictures();
    fs::create_dir_all(&folder).expect("the folder of the pictures");
    fs::write(folder.join(format!("{name}.png")), picture).expect("a picture is written");
}

/// Where the pictures are kept: beside cargo's folder for temporary files.
fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's target folder");
    target.join("page")
}

/// One WebDriver command; its value.
fn ask(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = Connection::open(driver)
        .and_then(|mut connection| connection.request(method, path, "", text.as_bytes()))
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let value = answer.json()["value"].clone();
    assert_eq!(answer.status, 200, "{path} {body}: {}", value["message"].as_str().unwrap_or_default());
    value
}

/// Where a program is that test.sh installs.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is missing: install chromium and chromium-driver, or run ./test.sh")
    })
}
