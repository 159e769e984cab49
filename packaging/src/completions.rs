//! Completions for bash, zsh and fish: clap_complete's, and the ids of
//! containers where a command wants one that exists.

use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;

/// Commands whose ID is that of a container that is not there yet.
const NEW: &[&str] = &["create", "run", "restore"];

/// Nothing of orlop's takes one: in its place come the ids.
const MARK: ValueHint = ValueHint::Hostname;

/// File names, as the shells want them, and texts.
pub fn all() -> Vec<(String, String)> {
    vec![
        ("orlop".to_owned(), bash(&generated(Shell::Bash))),
        ("_orlop".to_owned(), zsh(&generated(Shell::Zsh))),
        ("orlop.fish".to_owned(), fish(generated(Shell::Fish))),
    ]
}

fn takes_existing_id(command: &Command) -> bool {
    !NEW.contains(&command.get_name()) && command.get_arguments().any(|a| a.get_id() == "id")
}

/// The grammar with all flags of all commands.
fn grammar() -> Command {
    let help = || Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::SetTrue);
    let commands = orlop::cli::commands().map(|command| {
        let hint = if takes_existing_id(&command) { MARK } else { ValueHint::Other };
        command.arg(help()).mut_args(|a| if a.get_id() == "id" { a.value_hint(hint) } else { a })
    });
    commands.fold(orlop::cli::tree(), |tree, command| {
        let name = command.get_name().to_owned();
        tree.mut_subcommand(name, |_| command)
    })
}

fn generated(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "orlop", &mut text);
    String::from_utf8(text).expect("made of text")
}

/// In bash's script each command's words are a list in double quotes.
fn bash(script: &str) -> String {
    let ids = "_orlop_ids() {\n    orlop list -q 2>/dev/null\n}\n\n";
    let mut script = ids.to_owned() + script;
    for command in orlop::cli::commands().filter(takes_existing_id) {
        let case = format!("orlop__subcmd__{})\n            opts=\"", command.get_name());
        script = replaced(&script, &case, &format!("{case}$(_orlop_ids) "));
    }
    script
}

fn zsh(script: &str) -> String {
    let ids = "(( $+functions[_orlop_ids] )) ||\n_orlop_ids() {\n    local ids\n    \
               ids=(${(f)\"$(orlop list -q 2>/dev/null)\"})\n    _describe -t containers 'container' ids\n}\n\n";
    replaced(&replaced(script, ":_hosts'", ":_orlop_ids'"), "_orlop() {\n", &format!("{ids}_orlop() {{\n"))
}

/// fish's script has no words of a command that are no flags.
fn fish(mut script: String) -> String {
    for command in orlop::cli::commands().filter(takes_existing_id) {
        let name = command.get_name();
        script += &format!(
            "complete -c orlop -n \"__fish_orlop_using_subcommand {name}\" -f -a \"(orlop list -q 2>/dev/null)\" -d Container\n"
        );
    }
    script
}

/// Like `str::replace`, for what has to be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "clap_complete's script has no {from:?}");
    text.replace(from, to)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command as Process;

    use super::*;

    fn script(name: &str, dir: &Path) -> String {
        let (_, text) = all().into_iter().find(|(n, _)| n == name).unwrap();
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What a program prints, with an `orlop` in its path that knows two containers.
    fn output(program: &str, arguments: &[&str], dir: &Path) -> String {
        let fake = dir.join("bin/orlop");
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(&fake, "#!/bin/sh\ntest \"$*\" = 'list -q' && printf 'web\\ndb\\n'\n").unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
        let out = Process::new(program).args(arguments).env("PATH", path).env("HOME", dir).output().unwrap();
        let (text, errors) =
            (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned());
        assert!(out.status.success() && errors.is_empty(), "{program}: {}: {errors}{text}", out.status);
        text
    }

    fn there(program: &str) -> bool {
        Process::new(program).args(["-c", ":"]).status().is_ok_and(|s| s.success())
    }

    /// What bash completes the last of the words to.
    fn bash_completes(words: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let script = script("orlop", dir.path());
        let (last, before) = (words.last().unwrap(), words[words.len() - 2]);
        let code = "source \"$1\"; shift; cur=$1 prev=$2; shift 2; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                    compopt() { :; }; _orlop orlop \"$cur\" \"$prev\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let arguments = [&["--norc", "-c", code, "bash", &script, last, before], words].concat();
        output("bash", &arguments, dir.path()).lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn bash_takes_the_script() {
        let dir = tempfile::tempdir().unwrap();
        output("bash", &["-n", &script("orlop", dir.path())], dir.path());
    }

    #[test]
    fn bash_completes_commands_flags_and_ids() {
        assert_eq!(bash_completes(&["orlop", "cre"]), ["create"]);
        assert_eq!(bash_completes(&["orlop", "--log-f"]), ["--log-format"]);
        assert_eq!(bash_completes(&["orlop", "create", "--bun"]), ["--bundle"]);
        assert_eq!(bash_completes(&["orlop", "--debug", "exec", "--ignore"]), ["--ignore-paused"]);
        assert_eq!(bash_completes(&["orlop", "features", "--he"]), ["--help"]);
        assert_eq!(bash_completes(&["orlop", "start", "w"]), ["web"]);
        assert_eq!(bash_completes(&["orlop", "delete", "--force", "d"]), ["db"]);
        assert_eq!(bash_completes(&["orlop", "create", "w"]), Vec::<String>::new());
    }

    /// Is the shell here? Else a part of the test is skipped, which is said past
    /// libtest's capture, for `.ci/suites.sh` to count.
    fn asked(shell: &str) -> bool {
        let here = there(shell);
        if !here {
            let text = format!("skip: completions[{shell}]: {shell} is not installed\n");
            std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
        }
        here
    }

    /// bash is on every machine that builds this; these may not be.
    #[test]
    fn zsh_and_fish_take_their_scripts() {
        let dir = tempfile::tempdir().unwrap();
        if asked("zsh") {
            output("zsh", &["-n", &script("_orlop", dir.path())], dir.path());
        }
        if asked("fish") {
            let script = script("orlop.fish", dir.path());
            output("fish", &["-n", &script], dir.path());
            let complete = |line: &str| format!("source {script}; complete -C '{line}'");
            assert!(output("fish", &["-c", &complete("orlop cre")], dir.path()).starts_with("create\t"));
            let ids = output("fish", &["-c", &complete("orlop kill ")], dir.path());
            assert!(ids.contains("web\t") && ids.contains("db\t"), "{ids}");
        }
    }

    #[test]
    fn all_scripts_name_all_commands_and_flags() {
        for (file, text) in all() {
            for command in orlop::cli::commands() {
                assert!(text.contains(command.get_name()), "{file}: {}", command.get_name());
                for long in command.get_arguments().filter_map(Arg::get_long) {
                    let flag = if file.ends_with(".fish") { format!(" -l {long} ") } else { format!("--{long}") };
                    assert!(text.contains(&flag), "{file}: {} {long}", command.get_name());
                }
            }
        }
    }
}
