//! The prose of `docs/commands.md` as roff(7): man pages and manual say the
//! same because they are the same text.

use roff::{Inline, Roff, bold, roman};

const TEXT: &str = include_str!("../../docs/commands.md");

/// A chapter: the lines between two headings.
pub struct Section {
    /// 2 for `##`.
    pub level: usize,
    /// The heading's text.
    pub title: &'static str,
    lines: Vec<&'static str>,
}

/// All chapters, in their order. What is before the first one is left out.
pub fn sections() -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    for line in TEXT.lines() {
        let level = line.bytes().take_while(|&b| b == b'#').count();
        match line[level..].strip_prefix(' ') {
            Some(title) if level > 1 => all.push(Section { level, title, lines: Vec::new() }),
            _ => all.last_mut().into_iter().for_each(|s| s.lines.push(line)),
        }
    }
    all
}

/// The chapter with this title.
pub fn titled(title: &str) -> Option<Section> {
    sections().into_iter().find(|s| s.title == title)
}

/// The chapter of a command: `### pause ID, resume ID` is that of two.
pub fn of_command(name: &str) -> Option<Section> {
    let is_its = |title: &str| title.split(", ").any(|usage| usage.split(' ').next() == Some(name));
    sections().into_iter().find(|s| s.level == 3 && is_its(s.title))
}

/// What a chapter is made of.
enum Block {
    Paragraph(String),
    Item(String),
    Code(Vec<&'static str>),
    /// The rows below the heading, cut into cells.
    Table(Vec<Vec<String>>),
}

impl Section {
    /// Appends the chapter's text without its heading. Tables of flags are left
    /// out: a page has those of `--help`.
    pub fn render(&self, roff: &mut Roff) {
        for block in self.blocks() {
            match block {
                Block::Paragraph(text) => _ = roff.control("PP", []).text(inlines(&text)),
                Block::Item(text) => _ = roff.control("IP", ["\\(bu", "2"]).text(inlines(&text)),
                Block::Code(lines) => {
                    roff.control("PP", []).control("RS", ["4"]).control("nf", []);
                    lines.iter().for_each(|line| _ = roff.text([roman(*line)]));
                    roff.control("fi", []).control("RE", []);
                }
                Block::Table(rows) => {
                    for cells in rows {
                        roff.control("TP", []).text(inlines(&cells[0])).text(inlines(&cells[1..].join(" ")));
                    }
                }
            }
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut flags = false;
        let mut apart = true;
        for line in &self.lines {
            let text = line.trim();
            match (text.strip_prefix("- "), text.strip_prefix('|'), line.strip_prefix("    ")) {
                _ if text.is_empty() => {}
                (_, Some(_), _) if text.starts_with("|---") => {}
                // The first row is the heading.
                (_, Some(row), _) if apart => {
                    flags = row.starts_with(" flag ");
                    blocks.push(Block::Table(Vec::new()));
                }
                (_, Some(_), _) if flags => {}
                (_, Some(row), _) => {
                    if let Some(Block::Table(rows)) = blocks.last_mut() {
                        rows.push(cells(row));
                    }
                }
                (Some(item), ..) => blocks.push(Block::Item(item.to_owned())),
                (.., Some(code)) => match blocks.last_mut() {
                    Some(Block::Code(lines)) if !apart => lines.push(code),
                    _ => blocks.push(Block::Code(vec![code])),
                },
                _ => match blocks.last_mut() {
                    Some(Block::Paragraph(before) | Block::Item(before)) if !apart => {
                        before.push(' ');
                        before.push_str(text);
                    }
                    _ => blocks.push(Block::Paragraph(text.to_owned())),
                },
            }
            apart = text.is_empty();
        }
        blocks
    }
}

/// A table's row; a bar that belongs to the text is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\0");
    row.trim_end_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// Code and what is `**strong**` is bold in a man page.
pub fn inlines(text: &str) -> Vec<Inline> {
    let mut all = Vec::new();
    for (n, part) in text.split('`').enumerate() {
        if n % 2 == 1 {
            all.push(bold(part));
            continue;
        }
        for (n, part) in part.split("**").enumerate().filter(|(_, part)| !part.is_empty()) {
            all.push(if n % 2 == 1 { bold(part) } else { roman(part) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roff(lines: &'static str) -> String {
        let mut roff = Roff::new();
        Section { level: 2, title: "", lines: lines.lines().collect() }.render(&mut roff);
        roff.to_roff()
    }

    #[test]
    fn prose_becomes_roff() {
        let text = "One `-f` and\n**two**.\n\n- item\n  more\n- last\n\n    code here\n\n.dot";
        let wanted = ".PP\nOne \\fB\\-f\\fR and \\fBtwo\\fR.\n.IP \\(bu 2\nitem more\n.IP \\(bu 2\nlast\n\
                      .PP\n.RS 4\n.nf\ncode here\n.fi\n.RE\n.PP\n\\&.dot\n";
        assert_eq!(roff(text), wanted);
    }

    #[test]
    fn tables_become_lists_unless_they_are_of_flags() {
        assert_eq!(roff("| status | |\n|---|---|\n| 0 | `a\\|b` |\n"), ".TP\n0\n\\fBa|b\\fR\n");
        assert_eq!(roff("| flag | |\n|---|---|\n| `-x` | no |\n\nyes\n"), ".PP\nyes\n");
    }

    #[test]
    fn chapters_are_found() {
        assert_eq!(of_command("resume").unwrap().title, of_command("pause").unwrap().title);
        assert!(of_command("no-such-command").is_none());
        assert!(titled("Exit status").is_some_and(|s| !s.blocks().is_empty()));
    }
}
