//! Where messages go: `--log`, `--log-format`, `--log-level`, `--debug`.
//!
//! Engines read both ends: containerd and podman take the error from the log
//! file, go-runc and conmon from stderr, so an error goes to both. podman
//! decodes its whole log file as *one* JSON object, so nothing but the final
//! error is written there unless more was asked for (engine-contract §1.1).

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result, Step};

/// How much a message matters. The numbers are syslog's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// The reason for a failure; the default threshold.
    #[default]
    Error = 3,
    /// Something was not done as asked, and the verb went on.
    Warning = 4,
    /// What a verb did.
    Info = 6,
    /// How it did it.
    Debug = 7,
}

impl Level {
    /// Reads `--log-level`, with the names of crun, logrus and conmon-rs.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "error" | "fatal" | "panic" | "off" => Self::Error,
            "warning" | "warn" => Self::Warning,
            "info" => Self::Info,
            "debug" | "trace" => Self::Debug,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What the global flags say about messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    /// `--log`: a file, `file:PATH`, `journald:ID` or `syslog:ID`.
    pub target: Option<&'a OsStr>,
    /// `--log-format json`.
    pub json: bool,
    /// The least urgent level that is written.
    pub level: Level,
    /// With a log, keep everything but errors off stderr: go-runc parses
    /// stdout and stderr of `state` and `ps` together as JSON, also when
    /// containerd passes `--debug`.
    pub quiet: bool,
}

enum Sink {
    File(File),
    Journald(UnixDatagram, String),
    Syslog(UnixDatagram, String),
}

struct Logger {
    sink: Option<Sink>,
    json: bool,
    level: Level,
    quiet: bool,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Opens the log and sets the level, once per process; a second call changes nothing.
///
/// # Errors
/// The log cannot be opened. Messages then go to stderr alone.
pub fn init(settings: &Settings<'_>) -> Result<()> {
    let logger = Logger::open(settings)?;
    let _ = LOGGER.set(logger);
    Ok(())
}

/// Reports the reason for a failure, to stderr and the log. Only `cli::run`
/// calls this: one failure is one line, everything else returns its error.
pub fn error(message: &str) {
    emit(Level::Error, message);
}

/// Reports something that was not done as asked, if the level allows.
pub fn warn(message: &str) {
    emit(Level::Warning, message);
}

/// Reports what is being done, if the level allows.
pub fn info(message: &str) {
    emit(Level::Info, message);
}

/// Reports how it is being done, if the level allows.
pub fn debug(message: &str) {
    emit(Level::Debug, message);
}

/// True when a message of this level would be written: for messages that are costly to make.
pub fn enabled(level: Level) -> bool {
    level <= LOGGER.get().map_or(Level::Error, |l| l.level)
}

/// Tells the person at the terminal something whatever the level, and keeps
/// it out of the log (`list` and the containers it could not read).
pub fn note(message: &str) {
    write_stderr(message);
}

fn emit(level: Level, message: &str) {
    if !enabled(level) {
        return;
    }
    let logger = LOGGER.get();
    if level == Level::Error {
        // Bare: engines match and show the text from its start.
        write_stderr(message);
    } else if !logger.is_some_and(|l| l.quiet && l.sink.is_some()) {
        write_stderr(&format!("{}: {message}", level.name()));
    }
    if let Some(logger) = logger {
        logger.write(level, message);
    }
}

/// One line in one write: conmon reads stderr with a single `read()`.
fn write_stderr(message: &str) {
    let mut line = message.replace('\n', " ");
    line.push('\n');
    // Nobody is left to tell if stderr is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl Logger {
    fn open(settings: &Settings<'_>) -> Result<Self> {
        let sink = settings.target.filter(|t| !t.is_empty()).map(Sink::open).transpose()?;
        Ok(Self { sink, json: settings.json, level: settings.level, quiet: settings.quiet })
    }

    fn write(&self, level: Level, message: &str) {
        // A log that cannot be written is no reason to fail a container; the
        // error itself went to stderr.
        let _ = match &self.sink {
            None => Ok(()),
            Some(Sink::File(file)) => (&*file).write_all(self.line(level, message).as_bytes()),
            Some(Sink::Journald(socket, id)) => socket.send(journald_entry(level, id, message).as_bytes()).map(drop),
            Some(Sink::Syslog(socket, id)) => socket.send(syslog_entry(level, id, message).as_bytes()).map(drop),
        };
    }

    fn line(&self, level: Level, message: &str) -> String {
        let (level, time) = (level.name(), timestamp(SystemTime::now()));
        let msg = serde_json::Value::from(message);
        if self.json {
            format!("{{\"level\":\"{level}\",\"msg\":{msg},\"time\":\"{time}\"}}\n")
        } else {
            format!("time=\"{time}\" level={level} msg={msg}\n")
        }
    }
}

impl Sink {
    fn open(target: &OsStr) -> Result<Self> {
        let bytes = target.as_bytes();
        let id = |rest: &[u8]| String::from_utf8_lossy(rest).replace(['\n', '\0'], " ");
        if let Some(rest) = bytes.strip_prefix(b"journald:") {
            Ok(Self::Journald(connect("/run/systemd/journal/socket")?, id(rest)))
        } else if let Some(rest) = bytes.strip_prefix(b"syslog:") {
            Ok(Self::Syslog(connect("/dev/log")?, id(rest)))
        } else {
            let path = OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes));
            let file = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
            Ok(Self::File(file.step_at("cannot open log file", path)?))
        }
    }
}

fn connect(path: &'static str) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound().step("cannot make a log socket")?;
    socket.connect(path).map_err(|e| Error::sys("cannot connect to log socket", e).path(path))?;
    Ok(socket)
}

fn journald_entry(level: Level, id: &str, message: &str) -> String {
    // A newline would begin another field of the journal's text protocol.
    let message = message.replace('\n', " ");
    format!("PRIORITY={}\nSYSLOG_IDENTIFIER={id}\nMESSAGE={message}\n", level as u8)
}

fn syslog_entry(level: Level, id: &str, message: &str) -> String {
    // Facility 3 is "daemon"; the daemon adds the time itself.
    format!("<{}>{id}[{}]: {}", (3 << 3) | level as u8, std::process::id(), message.replace('\n', " "))
}

/// A time as RFC 3339 in UTC with nanoseconds: `2026-01-02T03:04:05.000000006Z`.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day of a day number since 1970-01-01, Gregorian.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March so that the leap day is the last one; the
    // eras of 400 years (146097 days) all look alike.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64, nanos: u32) -> String {
        timestamp(UNIX_EPOCH + Duration::new(seconds, nanos))
    }

    #[test]
    fn time_is_rfc3339() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_399, 5), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(1_709_251_199, 999_999_999), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    fn logger(target: &OsStr, json: bool) -> Logger {
        Logger::open(&Settings { target: Some(target), json, ..Settings::default() }).unwrap()
    }

    #[test]
    fn json_file_is_appended_one_object_per_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        logger(path.as_os_str(), true).write(Level::Error, "a \"b\"\n\u{1}c");
        let mut prefixed = std::ffi::OsString::from("file:");
        prefixed.push(&path);
        logger(&prefixed, true).write(Level::Warning, "second");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((lines[0]["level"].as_str(), lines[0]["msg"].as_str()), (Some("error"), Some("a \"b\"\n\u{1}c")));
        assert_eq!((lines.len(), lines[1]["level"].as_str()), (2, Some("warning")));
        assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        logger(path.as_os_str(), false).write(Level::Error, "broken \"thing\"");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("time=\"2"), "{text}");
        assert!(text.ends_with(" level=error msg=\"broken \\\"thing\\\"\"\n"), "{text}");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error() {
        let settings = Settings { target: Some(OsStr::new("/nowhere/at/all")), ..Settings::default() };
        let e = Logger::open(&settings).err().unwrap().to_string();
        assert_eq!(e, "cannot open log file: /nowhere/at/all: no such file or directory");
        assert!(Logger::open(&Settings { target: Some(OsStr::new("")), ..settings }).unwrap().sink.is_none());
    }

    #[test]
    fn datagrams() {
        assert_eq!(journald_entry(Level::Error, "id", "a\nB=c"), "PRIORITY=3\nSYSLOG_IDENTIFIER=id\nMESSAGE=a B=c\n");
        assert_eq!(syslog_entry(Level::Debug, "id", "a"), format!("<31>id[{}]: a", std::process::id()));
    }

    #[test]
    fn levels() {
        for (text, level) in [("error", Level::Error), ("WARN", Level::Warning), ("trace", Level::Debug)] {
            assert_eq!(Level::parse(text), Some(level));
        }
        assert_eq!(Level::parse("loud"), None);
    }
}
