//! What of a source is code, as far as that can be told without parsing it.

/// A language whose comments and texts are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    /// TypeScript too.
    JavaScript,
}

/// A source with spaces in place of comments and of what texts hold, but for the expressions in
/// them. Lines stay where they are.
pub(super) fn code_of(source: &str, language: Language) -> String {
    let mut scanner = Scanner {
        rest: source,
        code: String::with_capacity(source.len()),
        open: Vec::new(),
        language,
    };
    while let Some(next) = scanner.rest.chars().next() {
        match scanner.open.last().copied() {
            Some(Open::Text(text)) => scanner.text(text, next),
            Some(Open::Expression { braces }) => scanner.expression(braces, next),
            None => scanner.code(next),
        }
    }
    scanner.code
}

/// What is open where the scanner is.
#[derive(Clone, Copy)]
enum Open {
    Text(Text),
    /// An expression within a text, and how many braces are open in it.
    Expression {
        braces: usize,
    },
}

/// A text, from its quotes to its quotes.
#[derive(Clone, Copy)]
struct Text {
    quotes: &'static str,
    /// What begins an expression in it.
    hole: Option<&'static str>,
}

impl Text {
    /// Whether it may go on in the next line.
    fn has_lines(self) -> bool {
        self.quotes.len() > 1 || self.quotes == "`"
    }
}

struct Scanner<'a> {
    rest: &'a str,
    code: String,
    open: Vec<Open>,
    language: Language,
}

impl Scanner<'_> {
    fn text(&mut self, text: Text, next: char) {
        if next == '\\' {
            self.blank(2);
        } else if self.rest.starts_with(text.quotes) {
            self.blank(text.quotes.len());
            self.open.pop();
        } else if next == '\n' && !text.has_lines() {
            // It was none, or is broken.
            self.blank(1);
            self.open.pop();
        } else if self.language == Language::Python
            && text.hole.is_some()
            && self.rest.starts_with("{{")
        {
            self.blank(2);
        } else if let Some(hole) = text.hole.filter(|hole| self.rest.starts_with(hole)) {
            self.blank(hole.len());
            self.open.push(Open::Expression { braces: 0 });
        } else {
            self.blank(1);
        }
    }

    fn expression(&mut self, braces: usize, next: char) {
        match next {
            '}' if braces == 0 => {
                self.blank(1);
                self.open.pop();
            }
            '{' | '}' => {
                self.keep(1);
                let braces = if next == '{' { braces + 1 } else { braces - 1 };
                self.open.pop();
                self.open.push(Open::Expression { braces });
            }
            // In Python's f-strings it is of a format.
            '#' if self.language == Language::Python => self.keep(1),
            _ => self.code(next),
        }
    }

    fn code(&mut self, next: char) {
        match self.language {
            Language::Python if next == '#' => self.blank_until("\n"),
            Language::JavaScript if self.rest.starts_with("//") => self.blank_until("\n"),
            Language::JavaScript if self.rest.starts_with("/*") => {
                self.blank_until("*/");
                self.blank(2);
            }
            Language::JavaScript if next == '/' && self.begins_pattern() => self.pattern(),
            _ => match self.text_begun() {
                Some(text) => {
                    // What is left of it shows that the line is not empty.
                    self.keep(1);
                    self.blank(text.quotes.len() - 1);
                    self.open.push(Open::Text(text));
                }
                None => self.keep(1),
            },
        }
    }

    /// The text that begins here.
    fn text_begun(&self) -> Option<Text> {
        let (quotes, hole): (&[&'static str], _) = match self.language {
            Language::Python => {
                let letters = self.code.chars().rev().take(2);
                let mut prefix = letters.take_while(char::is_ascii_alphabetic);
                (&["\"\"\"", "'''", "\"", "'"], prefix.any(|c| "fFtT".contains(c)).then_some("{"))
            }
            Language::JavaScript => (&["\"", "'", "`"], self.rest.starts_with('`').then_some("${")),
        };
        let quotes = quotes.iter().find(|quotes| self.rest.starts_with(**quotes))?;
        Some(Text { quotes, hole })
    }

    /// Whether a slash begins a regular expression: it stands where a value does.
    fn begins_pattern(&self) -> bool {
        let before = self.code.trim_end();
        let word = before.rsplit(|c: char| !c.is_alphanumeric()).next();
        before.is_empty()
            || before.ends_with(|c: char| "(,=:[!&|?{;+-*%~^<>".contains(c))
            || word == Some("return")
    }

    /// A regular expression, whose quotes begin no text; it ends within its line.
    fn pattern(&mut self) {
        self.keep(1);
        let mut in_class = false;
        while let Some(next) = self.rest.chars().next().filter(|next| *next != '\n') {
            self.blank(if next == '\\' { 2 } else { 1 });
            match next {
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => return,
                _ => {}
            }
        }
    }

    fn keep(&mut self, count: usize) {
        self.take(count, |c| c);
    }

    fn blank(&mut self, count: usize) {
        self.take(count, |c| if c == '\n' { c } else { ' ' });
    }

    fn blank_until(&mut self, end: &str) {
        let text = self.rest.find(end).map_or(self.rest, |at| &self.rest[..at]);
        self.blank(text.chars().count());
    }

    fn take(&mut self, count: usize, shown: impl Fn(char) -> char) {
        let mut chars = self.rest.chars();
        self.code.extend(chars.by_ref().take(count).map(shown));
        self.rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tight(source: &str, language: Language) -> String {
        let code = code_of(source, language);
        assert_eq!(code.lines().count(), source.lines().count(), "{code}");
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn python_s_comments_and_texts_are_left_out() {
        for (source, code) in [
            ("a = 1  # b()", "a = 1"),
            ("a = '# \\' b()' + c", "a = ' + c"),
            ("\"\"\"a\nb() \" c\n\"\"\"\nd", "\" d"),
            ("f'''{{a}} {b('x')}\n{c:#x} d''' + e", "f' b(' ) c:#x + e"),
            ("r'{a}' + rb'''\n''' + b", "r' + rb' + b"),
            ("a = 'broken\nb = 1", "a = ' b = 1"),
            ("a = ''\nb = \"\" + c", "a = ' b = \" + c"),
            ("é = 'ü' # ä", "é = '"),
        ] {
            assert_eq!(tight(source, Language::Python), code, "{source}");
        }
    }

    #[test]
    fn javascript_s_comments_and_texts_are_left_out() {
        for (source, code) in [
            ("a / b; // c()", "a / b;"),
            ("/* a()\n * b() */ c", "c"),
            ("a = '// b' + \"/*\" + d", "a = ' + \" + d"),
            ("`a ${b({c: `d${e}f`})} g\n${h}` + i", "` b({c: ` e }) h + i"),
            ("a.replace(/[\"'/]\\/`/g, 'b()') + c", "a.replace(/ g, ' ) + c"),
            ("return /\"/.test(a) / 2 / 'b'", "return / .test(a) / 2 / '"),
            ("a = /* b", "a ="),
        ] {
            assert_eq!(tight(source, Language::JavaScript), code, "{source}");
        }
    }
}
