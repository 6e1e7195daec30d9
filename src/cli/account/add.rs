//! `lockerfs account add`: ask for what an account needs, try it, then write it down.

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::login_check;
use crate::cli::ask::{Asker, UNCHANGED};
use crate::cli::failure::Failure;
use crate::cli::{Global, Outcome, block_on};
use crate::config::{
    Config, ConfigError, Draft, Entry, KINDS, Keeper, Kept, KeyringError, NewPlace, check_keyring, kind,
    secret_variable,
};

const HELP: &str = "\
What is left out is asked for. Where standard input is no terminal, only secrets are read from it, \
one line each, in this order:

  mediafire                        password (session_token with --session-token),
                                   api_key with --api-key
  1cloudfile, koramaup, yetishare  key1, key2; password alone with --username
  mirrorace                        api_key, api_token, file_password with --file-password
  mirrored_to                      api_key, password with --file-password

A secret that a --...-command gives, or the environment (LOCKERFS_<ACCOUNT>_<NAME>, such as \
LOCKERFS_MEDIA_PASSWORD), is not read. Nothing is written before the service took the login. Then \
secrets go to the system's keyring or, where there is none, to files that only you can read, beside \
the config.

Exit status: 0 when the account was added, 1 when it was not, and nothing has changed, 2 for wrong use.

Examples:
  lockerfs account add                                          ask for everything
  lockerfs account add media --kind mediafire --email me@example.org
  lockerfs account add to --kind mirrored_to --api-key-command \"pass show mirrored\"
  cat cloud.keys | lockerfs account add cloud --kind 1cloudfile --store file";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct AddArgs {
    /// The directory's name in the mount
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The service
    #[arg(long, value_parser = PossibleValuesParser::new(KINDS.iter().map(|kind| kind.name)))]
    kind: Option<String>,
    /// MediaFire: the login. Mirrored.to: who is told when a file is on all mirrors
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// YetiShare hosts: log in by user name and password in place of API keys
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Another address of the service, or of its API
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// MediaFire: the application to log in as
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// MirrorAce, Mirrored.to: where files go, as the service names them
    #[arg(long, value_name = "MIRROR,...", value_delimiter = ',')]
    mirrors: Vec<String>,
    /// MediaFire: log in by a session token that you paste, in place of e-mail address and password
    #[arg(long, conflicts_with = "email")]
    session_token: bool,
    /// MediaFire: the application has an API key, which is a secret as well
    #[arg(long)]
    api_key: bool,
    /// MirrorAce, Mirrored.to: visitors of a link have to know a password, which is a secret as well
    #[arg(long)]
    file_password: bool,
    /// Where secrets go: the keyring, files beside the config, or nowhere [default: keyring, else file]
    #[arg(long, value_enum)]
    store: Option<Store>,
    #[command(flatten)]
    commands: Commands,
}

/// Commands that print a secret, each time that it is needed.
#[derive(Args)]
#[command(next_help_heading = "Secrets that a command prints")]
struct Commands {
    /// Prints the password
    #[arg(long, value_name = "COMMAND")]
    password_command: Option<String>,
    /// Prints the session token
    #[arg(long, value_name = "COMMAND")]
    session_token_command: Option<String>,
    /// Prints the API key
    #[arg(long, value_name = "COMMAND")]
    api_key_command: Option<String>,
    /// Prints the API token
    #[arg(long, value_name = "COMMAND")]
    api_token_command: Option<String>,
    /// Prints the first API key
    #[arg(long, value_name = "COMMAND")]
    key1_command: Option<String>,
    /// Prints the second API key
    #[arg(long, value_name = "COMMAND")]
    key2_command: Option<String>,
    /// Prints the password for visitors of a link
    #[arg(long, value_name = "COMMAND")]
    file_password_command: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Keyring,
    // Beside the config.
    File,
    // Commands print them.
    Command,
}

impl Commands {
    fn all(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("password", &self.password_command),
            ("session_token", &self.session_token_command),
            ("api_key", &self.api_key_command),
            ("api_token", &self.api_token_command),
            ("key1", &self.key1_command),
            ("key2", &self.key2_command),
            ("file_password", &self.file_password_command),
        ]
    }

    fn of(&self, name: &str) -> Option<&str> {
        let found = self.all().into_iter().find(|(known, _)| *known == name);
        found.and_then(|(_, command)| command.as_deref())
    }
}

/// A secret that an account needs.
struct Need {
    /// As the config has it.
    name: &'static str,
    /// As the command line has it.
    flag: &'static str,
    question: &'static str,
}

const fn need(name: &'static str, question: &'static str) -> Need {
    Need {
        name,
        flag: name,
        question,
    }
}

pub(super) fn run(global: &Global, args: AddArgs) -> Outcome {
    let path = global.paths()?.config;
    block_on(async {
        let mut asker = Asker::new()?;
        add(&mut asker, &path, args).await
    })
}

async fn add(asker: &mut Asker, path: &std::path::Path, args: AddArgs) -> Outcome {
    let mut draft = Draft::open(path)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            asker
                .word(
                    "Name of the account, which becomes a directory's",
                    "say lockerfs account add NAME",
                )
                .await?
        }
    };
    if draft.config()?.account(&name).is_ok() {
        return Err(Failure::new(format!(
            "there is an account {name} already: choose another name, or `lockerfs login {name}` to give its secret anew"
        )));
    }
    let kind = chosen_kind(asker, args.kind.as_deref()).await?;
    check_flags(kind, &args)?;
    let mut entries = vec![("kind".to_owned(), Entry::Text(kind.to_owned()))];
    entries.extend(plain_entries(asker, kind, &args).await?);
    let needs = needs(kind, &name, &args);
    let unprinted = needs.iter().any(|need| args.commands.of(need.flag).is_none());
    let keeper = match unprinted {
        true => {
            let keeper = keeper(args.store, &needs, &args);
            Some(asker.unless_stopped(UNCHANGED, keeper).await?)
        }
        false => None,
    };
    let (mut given, mut places) = (Vec::new(), Vec::new());
    for need in &needs {
        if let Some(command) = args.commands.of(need.flag) {
            entries.push((format!("{}_command", need.name), Entry::Text(command.to_owned())));
        } else if let Some(keeper) = keeper {
            let place = NewPlace::choose(keeper, &name, need.name);
            place.check(path)?;
            entries.push(place.entry());
            places.push(place);
            given.push(need);
        }
    }
    draft.add_account(&name, &entries)?;
    // What is wrong with it is told before anybody types a secret.
    let mut config = draft.config().map_err(|error| wrong_input(&error))?;
    let secrets = fetch(asker, &name, &given).await?;
    let account = config.accounts.iter_mut().find(|account| account.name == name);
    let account = account.ok_or_else(|| Failure::new("the account was not understood"))?;
    for (need, secret) in given.iter().zip(&secrets) {
        account.give(need.name, secret.clone());
    }
    asker.tell("Logging in ...");
    let account = config.account(&name)?;
    let info = asker
        .unless_stopped(UNCHANGED, login_check::log_in(&config, account))
        .await?;
    keep(draft, path, &places, &secrets).await?;
    putln!("Added {name}: {}.", login_check::owner(account, &info));
    if let Some(used) = login_check::used(&info) {
        putln!("Used: {used}");
    }
    tell_places(&config, keeper, &places);
    Ok(())
}

/// Asks for the kind where it is not given.
async fn chosen_kind(asker: &mut Asker, given: Option<&str>) -> Result<&'static str, Failure> {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let word = match given {
        Some(kind) => kind.to_owned(),
        None => {
            for kind in KINDS {
                asker.tell(&format!("  {:<12}{}", kind.name, kind.service));
            }
            let otherwise = format!("say --kind KIND (one of {})", names.join(", "));
            asker.word("Kind of the account", &otherwise).await?
        }
    };
    kind(&word).map_err(Failure::new)
}

fn is_yetishare(kind: &str) -> bool {
    matches!(kind, "1cloudfile" | "koramaup" | "yetishare")
}

/// Refuses what an account of another kind would have.
fn check_flags(kind: &str, args: &AddArgs) -> Result<(), Failure> {
    let yetishare = is_yetishare(kind);
    let (media, mirrors) = (kind == "mediafire", matches!(kind, "mirrorace" | "mirrored_to"));
    let is_given = |name| args.commands.of(name).is_some();
    let flags = [
        ("--email", args.email.is_some(), media || kind == "mirrored_to"),
        ("--username", args.username.is_some(), yetishare),
        ("--app-id", args.app_id.is_some(), media),
        ("--mirrors", !args.mirrors.is_empty(), mirrors),
        ("--session-token", args.session_token, media),
        ("--api-key", args.api_key, media),
        ("--file-password", args.file_password, mirrors),
        (
            "--password-command",
            is_given("password"),
            (media && !by_token(args)) || (yetishare && args.username.is_some()),
        ),
        (
            "--session-token-command",
            is_given("session_token"),
            media && args.email.is_none(),
        ),
        ("--api-key-command", is_given("api_key"), media || mirrors),
        ("--api-token-command", is_given("api_token"), kind == "mirrorace"),
        (
            "--key1-command",
            is_given("key1"),
            yetishare && args.username.is_none(),
        ),
        (
            "--key2-command",
            is_given("key2"),
            yetishare && args.username.is_none(),
        ),
        ("--file-password-command", is_given("file_password"), mirrors),
    ];
    match flags.iter().find(|(_, given, fits)| *given && !fits) {
        Some((flag, ..)) => Err(Failure::new(format!(
            "{flag} means nothing for this account of kind {kind}: leave it out"
        ))),
        None => Ok(()),
    }
}

fn by_token(args: &AddArgs) -> bool {
    args.session_token || args.commands.of("session_token").is_some()
}

/// What is no secret.
async fn plain_entries(
    asker: &mut Asker,
    kind: &str,
    args: &AddArgs,
) -> Result<Vec<(String, Entry)>, Failure> {
    let mut entries = Vec::new();
    let mut add = |key: &str, value: Option<&String>| {
        if let Some(value) = value {
            entries.push((key.to_owned(), Entry::Text(value.clone())));
        }
    };
    asker.tell(where_to_find(kind, by_token(args)));
    let email = match &args.email {
        None if kind == "mediafire" && !by_token(args) => {
            Some(asker.word("E-mail address", "say --email ADDRESS").await?)
        }
        email => email.clone(),
    };
    let base_url = match &args.base_url {
        None if kind == "yetishare" => {
            let question = "Address of the host's API, like https://host.example/api/v2/";
            Some(asker.word(question, "say --base-url URL").await?)
        }
        url => url.clone(),
    };
    add("base_url", base_url.as_ref());
    add("email", email.as_ref());
    add("username", args.username.as_ref());
    add("app_id", args.app_id.as_ref());
    if !args.mirrors.is_empty() {
        entries.push(("mirrors".to_owned(), Entry::List(args.mirrors.clone())));
    }
    Ok(entries)
}

/// Where a person finds what is asked for.
fn where_to_find(kind: &str, by_token: bool) -> &'static str {
    match kind {
        "mediafire" if by_token => {
            "A session token is what the call user/get_session_token of MediaFire's API gives; it ends when the \
             service says so."
        }
        "mediafire" => "This is the login of https://www.mediafire.com/.",
        "mirrorace" => "Key and token stand on https://mirrorace.com/api, when you are logged in there.",
        "mirrored_to" => "The key stands on https://www.mirrored.to/p/api, when you are logged in there.",
        _ => {
            "The two keys, of 64 characters each, are made on the host's site: account settings, API access. \
             Where a host takes user name and password instead, say --username."
        }
    }
}

/// The secrets of an account, in the order in which they are read.
fn needs(kind: &str, account: &str, args: &AddArgs) -> Vec<Need> {
    let is_given = |name: &str| {
        args.commands.of(name).is_some() || std::env::var_os(secret_variable(account, name)).is_some()
    };
    match kind {
        "mediafire" => {
            let mut needs = vec![match by_token(args) {
                true => need("session_token", "Session token"),
                false => need("password", "Password"),
            }];
            if args.api_key || is_given("api_key") {
                needs.push(need("api_key", "API key of the application"));
            }
            needs
        }
        "mirrorace" => {
            let mut needs = vec![need("api_key", "API key"), need("api_token", "API token")];
            if args.file_password || is_given("file_password") {
                needs.push(need("file_password", "Password for visitors of a link"));
            }
            needs
        }
        "mirrored_to" => {
            let mut needs = vec![need("api_key", "API key")];
            if args.file_password || args.commands.of("file_password").is_some() || is_given("password") {
                needs.push(Need {
                    name: "password",
                    flag: "file_password",
                    question: "Password for visitors of a link",
                });
            }
            needs
        }
        _ if args.username.is_some() => vec![need("password", "Password")],
        _ => vec![need("key1", "API key 1"), need("key2", "API key 2")],
    }
}

/// Where the secrets go that no command prints.
async fn keeper(store: Option<Store>, needs: &[Need], args: &AddArgs) -> Result<Keeper, Failure> {
    match store {
        Some(Store::File) => return Ok(Keeper::File),
        Some(Store::Command) => {
            let missing = needs.iter().find(|need| args.commands.of(need.flag).is_none());
            let flag = missing.map_or("password", |need| need.flag).replace('_', "-");
            return Err(Failure::new(format!(
                "no command is given that prints a secret: say --{flag}-command COMMAND, or another --store"
            )));
        }
        Some(Store::Keyring) | None => {}
    }
    match check_keyring().await {
        Ok(()) => Ok(Keeper::Keyring),
        Err(KeyringError::Absent(_)) if store.is_none() => Ok(Keeper::File),
        Err(error) => Err(Failure::new(format!("{error}; `--store file` does without it"))),
    }
}

/// The secrets that are to be kept, from the environment or from whoever is asked.
async fn fetch(asker: &mut Asker, account: &str, needs: &[&Need]) -> Result<Vec<SecretString>, Failure> {
    let mut secrets = Vec::new();
    for need in needs {
        let variable = secret_variable(account, need.name);
        secrets.push(match std::env::var(&variable) {
            Ok(secret) if !secret.is_empty() => SecretString::from(secret),
            Err(std::env::VarError::NotPresent) => asker.secret(need.name, need.question).await?,
            _ => {
                return Err(Failure::new(format!(
                    "the value of {variable} is empty or no text: give it a value, or unset it"
                )));
            }
        });
    }
    Ok(secrets)
}

/// Puts the secrets into their places and the account into the config: all of it, or nothing.
async fn keep(
    draft: Draft,
    path: &std::path::Path,
    places: &[NewPlace],
    secrets: &[SecretString],
) -> Outcome {
    let mut kept = Kept::beside(path);
    let mut done = Ok(());
    for (place, secret) in places.iter().zip(secrets) {
        if done.is_ok() {
            done = kept.put(place, secret).await;
        }
    }
    let written = done.and_then(|()| draft.write().map(drop));
    match written {
        Ok(()) => Ok(()),
        Err(error) => Err(super::taken_back(kept, error).await),
    }
}

fn tell_places(config: &Config, keeper: Option<Keeper>, places: &[NewPlace]) {
    let folder = config.path.parent().unwrap_or(std::path::Path::new("/"));
    match keeper {
        Some(Keeper::Keyring) => putln!("What proves the login is in the system's keyring."),
        Some(Keeper::File) => {
            for place in places {
                putln!("Kept in {}, for you alone.", folder.join(&place.value).display());
            }
        }
        None => {}
    }
    putln!("Written to {}; the next mount shows it.", config.path.display());
}

/// What a person gave, and why it cannot be.
fn wrong_input(error: &ConfigError) -> Failure {
    let key = error.key.as_deref().and_then(|key| key.rsplit_once('.'));
    let flag = key
        .map(|(_, key)| key)
        .filter(|key| ["email", "username", "base_url", "app_id", "mirrors"].contains(key));
    Failure::new(match flag {
        Some(flag) => format!("--{}: {}", flag.replace('_', "-"), error.message),
        None => format!("the account {}", error.message),
    })
}
