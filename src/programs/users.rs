//! The administration of the HTTP endpoint's users: add, remove, list.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use clap::{Args, Subcommand};

use super::password_input;
use super::table::Table;
use crate::cli::{AFTER_HELP, Invocation, Program, SettingsOptions};
use crate::error::{Error, Result};
use crate::users::{
    self, Entries, Entry, PasswordHash, Right, Token, TopicPattern, check_name, check_password,
};

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Adds, removes or lists the users of the HTTP endpoint, in producer_api.users_file")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(subcommand)]
    subcommand: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(after_help = AFTER_HELP)]
    Add(Add),
    #[command(after_help = AFTER_HELP)]
    Remove(Remove),
    #[command(after_help = AFTER_HELP)]
    List(List),
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn subcommand(&self) -> Option<(&'static str, &dyn Program)> {
        self.subcommand.as_ref().map(|task| -> (_, &dyn Program) {
            match task {
                Task::Add(add) => ("add", add),
                Task::Remove(remove) => ("remove", remove),
                Task::List(list) => ("list", list),
            }
        })
    }

    fn run(&self, _: &Invocation) -> Result<()> {
        Err(Error::new("the command is add, remove or list; see --help").about_settings())
    }
}

#[derive(Debug, Args)]
#[command(
    about = "Adds a user with a token, which is made and printed once, or with a password, or with both. The \
             password is asked for, or is the first line of standard input"
)]
struct Add {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Its name: letters, digits and - _ . @ +
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// Its rights: send, receive, read, admin (all of them)
    #[arg(long, value_name = "RIGHT,...", required = true, value_delimiter = ',')]
    rights: Vec<Right>,
    /// A topic to which it may send, or with * at the end all that begin so (repeatable) [default:
    /// kafka.topic]
    #[arg(long, value_name = "PREFIX*", value_delimiter = ',')]
    topics: Vec<TopicPattern>,
    /// It has a token; the default
    #[arg(long)]
    token: bool,
    /// It has a password
    #[arg(long)]
    password: bool,
    /// It has neither, but a client certificate with its name
    #[arg(long, conflicts_with_all = ["token", "password"])]
    certificate: bool,
    /// A user of this name is replaced
    #[arg(long)]
    replace: bool,
}

impl Program for Add {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let file = users_file(invocation)?;
        let is_there = |entries: &Entries| !self.replace && entries.contains_key(&self.name);
        let refusal = || {
            let name = &self.name;
            Error::new(format!("there is a user {name} already: remove it, or give --replace"))
        };
        if file.exists() && is_there(&users::entries(file)?) {
            return Err(refusal());
        }
        let password = if self.password { Some(self.hash_of_password()?) } else { None };
        let with_token = self.token || (password.is_none() && !self.certificate);
        let (token, hash) = if with_token { Some(Token::generate()?).unzip() } else { (None, None) };
        let rights: BTreeSet<Right> = self.rights.iter().copied().collect();
        let entry = Entry {
            rights,
            topics: self.topics.clone(),
            token: hash,
            password,
            certificate: self.certificate,
        };
        users::change(file, |entries| {
            if is_there(entries) {
                return Err(refusal());
            }
            entries.insert(self.name.clone(), entry);
            Ok(())
        })?;
        match token {
            Some(token) => shown_once(&token),
            None => Ok(()),
        }
    }
}

impl Add {
    fn hash_of_password(&self) -> Result<PasswordHash> {
        let password = password_input::read()?;
        check_password(&password).map_err(|sentence| Error::new(sentence).about_settings())?;
        PasswordHash::new(&password)
    }
}

#[derive(Debug, Args)]
#[command(about = "Removes users; a running endpoint refuses them within two seconds")]
struct Remove {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Their names
    #[arg(value_name = "NAME", required = true, num_args = 1..)]
    names: Vec<String>,
}

impl Program for Remove {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        users::change(users_file(invocation)?, |entries| {
            let missing: Vec<&str> =
                self.names.iter().filter(|name| !entries.contains_key(*name)).map(String::as_str).collect();
            if !missing.is_empty() {
                return Err(Error::new(format!("there is no user {}", missing.join(", "))));
            }
            entries.retain(|name, _| !self.names.contains(name));
            Ok(())
        })
    }
}

#[derive(Debug, Args)]
#[command(about = "Lists the users: rights, topics, and whether token, password or certificate lets them in")]
struct List {
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Program for List {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        let entries = users::entries(users_file(invocation)?)?;
        let mut rows = vec![["NAME", "RIGHTS", "TOPICS", "SECRETS"].map(str::to_owned).to_vec()];
        rows.extend(entries.iter().map(|(name, entry)| row(name, entry)));
        let text = if entries.is_empty() { "no users\n".to_owned() } else { Table::default().text(&rows) };
        // A reader such as `head` may close the pipe early.
        let _ = io::stdout().write_all(text.as_bytes());
        Ok(())
    }
}

fn row(name: &str, entry: &Entry) -> Vec<String> {
    let or_none = |list: Vec<String>| if list.is_empty() { "-".to_owned() } else { list.join(",") };
    let secrets = [
        ("token", entry.token.is_some()),
        ("password", entry.password.is_some()),
        ("certificate", entry.certificate),
    ];
    let secrets = secrets.iter().filter(|(_, has)| *has).map(|(kind, _)| (*kind).to_owned());
    vec![
        name.to_owned(),
        or_none(entry.rights.iter().map(Right::to_string).collect()),
        or_none(entry.topics.iter().map(TopicPattern::to_string).collect()),
        or_none(secrets.collect()),
    ]
}

/// Prints a new token alone, so that a script can take it.
fn shown_once(token: &Token) -> Result<()> {
    let mut output = io::stdout().lock();
    let written = output.write_all(format!("{}\n", token.expose()).as_bytes());
    written.and_then(|()| output.flush()).map_err(|error| {
        Error::new("the user is added, but its token cannot be printed: add it again with --replace")
            .caused_by(error)
    })?;
    let _ = io::stderr().write_all(b"add: the token is shown this once\n");
    Ok(())
}

fn users_file(invocation: &Invocation) -> Result<&Path> {
    invocation.settings.producer_api.users_file.as_deref().ok_or_else(|| {
        let error = "producer_api.users_file names no file: set it in config.toml, or give --set \
                     producer_api.users_file=users.toml";
        Error::new(error).about_settings()
    })
}

fn name(text: &str) -> Result<String, &'static str> {
    check_name(text).map(|()| text.to_owned())
}
