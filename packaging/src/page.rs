//! The man pages, in section 8: `orlop(8)` for all and one for each command.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::manual;

const SECTION: &str = "8";

/// What each rendering of a part begins with; a page needs it once.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

const DESCRIPTION: &str = "orlop runs a program in a container, as an OCI bundle describes it: a directory with a root \
    filesystem and a `config.json`. It takes the place of `runc` or `crun` under podman, containerd and docker, or is \
    used by hand. It is one static binary and leaves no daemon behind.";

/// Pages that say more: of what orlop reads, what grants ids, what limits.
const SEE_ALSO: &[&str] =
    &["crun(1)", "runc(8)", "podman(1)", "subuid(5)", "newuidmap(1)", "cgroups(7)", "namespaces(7)"];

/// File names and texts of all pages; the date (`YYYY-MM-DD`) is that of the source.
pub fn all(date: &str) -> Vec<(String, String)> {
    let commands = orlop::cli::commands().map(|c| command(c, date));
    std::iter::once(overview(date)).chain(commands).collect()
}

fn overview(date: &str) -> (String, String) {
    let program = orlop::cli::tree();
    let names: Vec<String> = program.get_subcommands().map(|c| format!("orlop-{}(8)", c.get_name())).collect();
    let mut page = Page::new(program, "orlop", date);
    page.roff(|roff| _ = roff.control("SH", ["DESCRIPTION"]).text(manual::inlines(DESCRIPTION)));
    page.part(Man::render_options_section);
    page.roff(|roff| manual::titled("Global flags").iter().for_each(|s| s.render(roff)));
    page.part(Man::render_subcommands_section);
    page.roff(|roff| manual::titled("Commands").iter().for_each(|s| s.render(roff)));
    for section in manual::sections().iter().filter(|s| s.level == 2) {
        if !matches!(section.title, "Global flags" | "Commands") {
            page.section(section);
        }
    }
    page.see_also(names.iter().map(String::as_str).chain(SEE_ALSO.iter().copied()));
    page.done()
}

fn command(command: Command, date: &str) -> (String, String) {
    let name = format!("orlop-{}", command.get_name());
    let about = manual::of_command(command.get_name());
    let about = about.unwrap_or_else(|| panic!("docs/commands.md has no chapter for {name}"));
    let mut page = Page::new(command, &name, date);
    page.roff(|roff| {
        roff.control("SH", ["DESCRIPTION"]);
        about.render(roff);
    });
    page.part(Man::render_options_section);
    manual::titled("Exit status").iter().for_each(|s| page.section(s));
    page.see_also(["orlop(8)"].into_iter());
    page.done()
}

/// A page that is being written.
struct Page {
    man: Man,
    text: String,
}

impl Page {
    /// Up to the description.
    fn new(command: Command, name: &str, date: &str) -> Self {
        let program = name.replacen('-', " ", 1);
        let mut command = command.bin_name(&program).display_name(name);
        // The same line as in `--help`, with the program's whole name.
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").to_owned();
        let command = command.override_usage(usage).subcommand_help_heading("COMMANDS");
        let man = Man::new(command)
            .title(name.to_uppercase())
            .section(SECTION)
            .date(date)
            .source(concat!("orlop ", env!("CARGO_PKG_VERSION")))
            .manual("System Administration");
        let mut page = Self { man, text: PREAMBLE.to_owned() };
        page.part(Man::render_title);
        page.part(Man::render_name_section);
        page.part(Man::render_synopsis_section);
        page
    }

    fn part(&mut self, render: impl Fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>) {
        let mut part = Vec::new();
        render(&self.man, &mut part).expect("a vector takes everything");
        self.text += &String::from_utf8(part).expect("made of text").replace(PREAMBLE, "");
    }

    fn roff(&mut self, write: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        write(&mut roff);
        self.text += roff.render().trim_start_matches(PREAMBLE);
    }

    fn section(&mut self, section: &manual::Section) {
        self.roff(|roff| {
            roff.control("SH", [section.title.to_uppercase().as_str()]);
            section.render(roff);
        });
    }

    fn see_also<'a>(&mut self, pages: impl Iterator<Item = &'a str>) {
        self.roff(|roff| {
            roff.control("SH", ["SEE ALSO"]);
            let mut line = Vec::new();
            for page in pages {
                let (name, section) = page.split_once('(').expect("NAME(SECTION)");
                line.extend([roman(if line.is_empty() { "" } else { ", " }), bold(name), roman(format!("({section}"))]);
            }
            roff.text(line);
        });
    }

    fn done(self) -> (String, String) {
        (self.man.get_filename(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What roff has in place of a dash.
    fn plain(page: &str) -> String {
        page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "").replace("\\*(Aq", "'")
    }

    fn chapter<'a>(page: &'a str, title: &str) -> &'a str {
        let title = if title.contains(' ') { format!("\"{title}\"") } else { title.to_owned() };
        let heading = format!(".SH {title}\n");
        let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no {title} in\n{page}"));
        rest.split("\n.SH ").next().unwrap_or_default()
    }

    fn page_of(name: &str) -> String {
        let file = format!("{name}.8");
        plain(&all("2026-01-31").into_iter().find(|(n, _)| *n == file).unwrap_or_else(|| panic!("no {file}")).1)
    }

    fn names_all_flags_of(page: &str, command: &Command) {
        let options = chapter(page, "OPTIONS");
        let options: Vec<(&str, &str)> = options.split(".TP\n").filter_map(|o| o.split_once('\n')).collect();
        for argument in command.get_arguments().filter(|a| !a.is_positional() && !a.is_hide_set()) {
            let long = format!("--{}", argument.get_long().expect("all have a long name"));
            let its = options.iter().find(|(flags, _)| flags.split([' ', ',']).any(|word| word == long));
            let (_, text) = its.unwrap_or_else(|| panic!("{}: no {long} in {options:?}", command.get_name()));
            let help = argument.get_help().expect("all have a text").to_string();
            assert!(text.starts_with(&help), "{long}: {text}");
        }
    }

    #[test]
    fn each_command_has_a_page_with_all_its_flags() {
        let commands: Vec<Command> = orlop::cli::commands().collect();
        assert_eq!(all("2026-01-31").len(), commands.len() + 1);
        for mut command in commands {
            let page = page_of(&format!("orlop-{}", command.get_name()));
            // With `--help`, which clap adds.
            command.build();
            names_all_flags_of(&page, &command);
            let about = command.get_about().unwrap().to_string();
            assert_eq!(chapter(&page, "NAME"), format!("orlop-{} - {about}", command.get_name()));
            assert!(chapter(&page, "SYNOPSIS").starts_with(&format!("orlop {}", command.get_name())), "{page}");
            assert!(chapter(&page, "EXIT STATUS").contains("255"), "{page}");
            assert_eq!(chapter(&page, "SEE ALSO").trim(), "orlop(8)");
        }
    }

    #[test]
    fn overview_has_flags_commands_and_chapters() {
        let (page, tree) = (page_of("orlop"), orlop::cli::tree());
        names_all_flags_of(&page, &tree);
        for command in tree.get_subcommands() {
            let line = format!("orlop-{}(8)\n{}", command.get_name(), command.get_about().unwrap());
            assert!(chapter(&page, "COMMANDS").contains(&line), "{line}\n{page}");
        }
        assert!(page.contains("\n.TH ORLOP 8 2026-01-31 \"orlop "), "{page}");
        for (title, word) in [("EXIT STATUS", "255"), ("FILES", "/run/orlop"), ("ENVIRONMENT", "XDG_RUNTIME_DIR")] {
            assert!(chapter(&page, title).contains(word), "{title}\n{page}");
        }
        assert!(chapter(&page, "SEE ALSO").contains("orlop-exec(8), "), "{page}");
    }

    /// What `docs/commands.md` says of a command is in its page.
    #[test]
    fn commands_are_described_in_the_manual() {
        for command in orlop::cli::commands() {
            let (name, about) = (command.get_name(), command.get_about().unwrap().to_string());
            let page = page_of(&format!("orlop-{name}"));
            assert_ne!(chapter(&page, "DESCRIPTION").trim(), about, "no ### {name} in docs/commands.md");
        }
    }
}
