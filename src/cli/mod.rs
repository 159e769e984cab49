//! The command line: global flags, the table of commands, and the one place
//! where an error becomes a message and an exit status.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use clap::{ArgMatches, Args, Command};

use crate::error::{Error, Result};
use crate::log;

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod globals;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod scan;
mod spec;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod update;
mod values;

pub use globals::{Context, Globals};
pub use values::{signal, user};

const NAME: &str = env!("CARGO_PKG_NAME");

/// A command: its flags (by `Args`) and what it does with them.
trait Verb: Args {
    const NAME: &'static str;
    /// The words after the first one that is no flag belong to somebody else.
    const VERBATIM: bool = false;
    /// It enters a container, and makes sure that the binary is protected.
    const ENTERS: bool = false;
    /// Engines parse its stdout with stderr mixed in.
    const PARSED: bool = false;
    /// Exit status when we, not the container, fail.
    const FAILURE: i32 = 1;

    /// Does it; the value is the exit status.
    fn run(self, ctx: &Context) -> Result<i32>;
}

/// One line of the command table.
struct Entry {
    name: &'static str,
    about: &'static str,
    verbatim: bool,
    enters: bool,
    parsed: bool,
    failure: i32,
    flags: fn(Command) -> Command,
    run: fn(&ArgMatches, &Context) -> Result<i32>,
    /// Why `--help` fails, if it does.
    no_help: Option<fn(&Context) -> Option<Error>>,
}

const fn verb<V: Verb>(about: &'static str) -> Entry {
    Entry {
        name: V::NAME,
        about,
        verbatim: V::VERBATIM,
        enters: V::ENTERS,
        parsed: V::PARSED,
        failure: V::FAILURE,
        flags: V::augment_args,
        run: run_verb::<V>,
        no_help: None,
    }
}

fn run_verb<V: Verb>(matches: &ArgMatches, ctx: &Context) -> Result<i32> {
    V::from_arg_matches(matches).map_err(|e| scan::plain(&e))?.run(ctx)
}

static COMMANDS: &[Entry] = &[
    verb::<create::Create>("Set a container up, without starting its program"),
    verb::<start::Start>("Start the program of a created container"),
    verb::<run::Run>("Create, start and wait for a container"),
    verb::<state::State>("Print a container's state as JSON"),
    verb::<kill::Kill>("Send a signal to a container's first process"),
    verb::<delete::Delete>("Remove a stopped container"),
    verb::<exec::Exec>("Run another program in a container"),
    verb::<list::List>("List containers"),
    verb::<ps::Ps>("List a container's processes"),
    verb::<pause::Pause>("Freeze a container's processes"),
    verb::<resume::Resume>("Thaw a paused container"),
    verb::<spec::Spec>("Write an example config.json"),
    verb::<features::Features>("Print what this runtime supports as JSON"),
    verb::<update::Update>("Change a container's resource limits"),
    verb::<events::Events>("Print a container's statistics, and when it runs out of memory"),
    Entry {
        no_help: Some(checkpoint::unable),
        ..verb::<checkpoint::Checkpoint>("Save a running container to a directory")
    },
    verb::<restore::Restore>("Restore a container that was saved"),
];

impl Entry {
    fn command(&self) -> Command {
        (self.flags)(Command::new(self.name)).about(self.about)
    }

    /// Reads this command's words; `None` if help was asked for.
    fn matches(&self, words: Vec<OsString>) -> Result<Option<ArgMatches>> {
        let cmd = self.command();
        let scan = scan::scan(&cmd, words, self.verbatim);
        if scan.help {
            return Ok(None);
        }
        let hint = || format!("see '{NAME} {} --help'", self.name);
        scan.matches(cmd).map(Some).map_err(|e| e.during(self.name).hint(hint()))
    }

    fn execute(&self, words: Vec<OsString>, ctx: &Context) -> Result<i32> {
        match self.matches(words)? {
            Some(matches) => (self.run)(&matches, ctx),
            None => self.help(ctx),
        }
    }

    fn help(&self, ctx: &Context) -> Result<i32> {
        match self.no_help.and_then(|unable| unable(ctx)) {
            Some(error) => Err(error),
            None => print(&self.command().bin_name(format!("{NAME} {}", self.name)).render_help().to_string()),
        }
    }
}

fn find(name: &OsStr) -> Option<&'static Entry> {
    COMMANDS.iter().find(|e| name == e.name)
}

/// May this command line enter a container? A word that only looks like such
/// a command is taken for one.
pub fn may_enter(args: impl IntoIterator<Item = OsString>) -> bool {
    args.into_iter().skip(1).any(|word| find(&word).is_some_and(|e| e.enters))
}

/// Runs one command line, program name included; the value is the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let cmd = globals::command();
    let mut scan = scan::scan(&cmd, args.into_iter().skip(1), true);
    let words = std::mem::take(&mut scan.rest);
    let entry = words.first().and_then(|name| find(name));
    let opened = globals::open_log(&scan, entry.is_some_and(|e| e.parsed));
    match opened.and_then(|()| dispatch(scan, entry, words)) {
        Ok(status) => status,
        Err(e) => {
            log::error(&e.to_string());
            e.exit_code().unwrap_or(entry.map_or(1, |e| e.failure))
        }
    }
}

fn dispatch(scan: scan::Scan, entry: Option<&Entry>, words: Vec<OsString>) -> Result<i32> {
    if scan.help {
        return print(&tree().render_help().to_string());
    }
    if let Some(fault) = scan.fault {
        return Err(fault.hint(format!("see '{NAME} --help'")));
    }
    if scan.is_set("version") {
        return print(&version_text());
    }
    let ctx = Context::new(&scan)?;
    let mut words = words.into_iter();
    match (entry, words.next()) {
        (Some(entry), _) => entry.execute(words.collect(), &ctx),
        (None, Some(name)) if name == "help" => help(words.next().as_deref(), &ctx),
        (None, Some(name)) => Err(no_such_command(&name)),
        (None, None) => Err(Error::new("no command given").hint(format!("see '{NAME} --help'"))),
    }
}

fn no_such_command(name: &OsStr) -> Error {
    Error::new(format!("unknown command {name:?}")).hint(format!("see '{NAME} --help'"))
}

fn help(name: Option<&OsStr>, ctx: &Context) -> Result<i32> {
    match name {
        Some(name) => find(name).ok_or_else(|| no_such_command(name))?.help(ctx),
        None => print(&tree().render_help().to_string()),
    }
}

/// The whole grammar. Each command's flags are deferred, so that the list of
/// commands costs nothing but their names.
pub fn tree() -> Command {
    let commands = COMMANDS.iter().map(|e| Command::new(e.name).about(e.about).defer(e.flags));
    globals::command().disable_help_subcommand(true).subcommands(commands)
}

/// The commands with their flags, as `COMMAND --help` shows them. Man pages and
/// completions are made of these and of [`tree`] (`packaging/`).
pub fn commands() -> impl Iterator<Item = Command> {
    COMMANDS.iter().map(Entry::command)
}

/// docker takes what follows the last "version" of a line that has the word,
/// so no other line may have it (engine-contract §1.9).
fn version_text() -> String {
    format!(
        "{NAME} version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("ORLOP_COMMIT"),
        globals::SPEC_VERSION
    )
}

/// Writes to stdout. A reader that went away (`orlop list | head -1`) is no failure.
fn print(text: &str) -> Result<i32> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::sys("cannot write to stdout", e)),
        _ => Ok(0),
    }
}

/// Writes a value to stdout as JSON that is pleasant to read.
fn print_json(value: &impl serde::Serialize) -> Result<i32> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::new("cannot write JSON").message(e.to_string()))?;
    print(&(text + "\n"))
}
