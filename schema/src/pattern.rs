//! What a regular expression will cost, from its text.

/// The bytes that a compiled pattern takes for each atom, roughly.
const ATOM_BYTES: u64 = 32;

/// What a regular expression will cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatternCost {
    /// How many characters and classes it has once its counted repetitions are written out.
    pub(crate) atoms: u64,
    /// Whether it looks around or back, so that it may have to try again and again.
    pub(crate) backtracks: bool,
}

impl PatternCost {
    /// Reads `pattern`, in the syntax of ECMA-262. One that is not well formed costs something,
    /// too; the compiler refuses it.
    pub(crate) fn of(pattern: &str) -> Self {
        let mut reader =
            Reader { rest: pattern, groups: Vec::new(), sum: 0, last: 0, backtracks: false };
        while reader.step() {}
        let atoms = reader.groups.iter().fold(reader.sum, |sum, outer| sum.saturating_add(*outer));
        Self { atoms, backtracks: reader.backtracks }
    }

    /// The bytes that it takes when it is compiled, roughly.
    pub(crate) fn bytes(self) -> u64 {
        self.atoms.saturating_mul(ATOM_BYTES)
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// The sums of the groups around.
    groups: Vec<u64>,
    /// The sum of this group until now.
    sum: u64,
    /// What a repetition would repeat.
    last: u64,
    backtracks: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    fn atom(&mut self, atoms: u64) {
        self.last = atoms;
        self.sum = self.sum.saturating_add(atoms);
    }

    fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        match next {
            '\\' => {
                let atoms = self.escape();
                self.atom(atoms);
            }
            '[' => {
                let atoms = self.class();
                self.atom(atoms);
            }
            '(' => {
                self.backtracks |= ["?=", "?!", "?<=", "?<!", "?>", "?("]
                    .iter()
                    .any(|around| self.rest.starts_with(around));
                self.groups.push(self.sum);
                (self.sum, self.last) = (1, 0);
            }
            ')' => {
                self.last = self.sum;
                self.sum = self.sum.saturating_add(self.groups.pop().unwrap_or_default());
            }
            '{' => self.repetition(),
            // A possessive repetition never goes back, and so needs the engine that can.
            '*' | '+' | '?' => self.backtracks |= self.rest.starts_with('+'),
            '|' => {}
            // Any character takes more than one.
            '.' => self.atom(12),
            other => self.atom(if other.is_ascii() { 1 } else { 4 }),
        }
        true
    }

    /// What follows a backslash.
    fn escape(&mut self) -> u64 {
        match self.next() {
            // A class of Unicode has hundreds of ranges.
            Some('p' | 'P') => {
                self.skip_braces();
                150
            }
            Some('u') => {
                self.skip_braces();
                4
            }
            Some('W' | 'D' | 'S' | 's') => 12,
            // The engine for what a finite automaton cannot do has boundaries of words as well.
            Some('1'..='9' | 'k' | 'b' | 'B' | 'G' | 'K') => {
                self.backtracks = true;
                1
            }
            _ => 1,
        }
    }

    /// Braces that name something rather than repeat it.
    fn skip_braces(&mut self) {
        if self.rest.starts_with('{') {
            self.rest = self.rest.split_once('}').map_or("", |(_, rest)| rest);
        }
    }

    /// A class in brackets.
    fn class(&mut self) -> u64 {
        let mut atoms = 1_u64;
        if self.rest.starts_with('^') {
            atoms = 12;
        }
        while let Some(next) = self.next() {
            match next {
                ']' => break,
                // A back-reference is none within a class.
                '\\' => {
                    atoms = atoms.saturating_add(match self.next() {
                        Some('p' | 'P') => 150,
                        Some('W' | 'D' | 'S' | 's') => 12,
                        _ => 0,
                    });
                }
                other => atoms = atoms.saturating_add(if other.is_ascii() { 0 } else { 4 }),
            }
        }
        atoms
    }

    /// What follows an opening brace; nothing where it stands for itself.
    fn repetition(&mut self) {
        let Some((inner, rest)) = self.rest.split_once('}') else { return self.atom(1) };
        let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
        let Ok(least) = least.parse::<u64>() else { return self.atom(1) };
        let times = most.parse::<u64>().unwrap_or(least).max(1);
        self.sum = self.sum.saturating_add(self.last.saturating_mul(times - 1));
        self.last = self.last.saturating_mul(times);
        self.rest = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        for (pattern, atoms) in [
            ("abc", 3),
            ("^evt_[0-9]{12}$", 18),
            ("a{2,5}", 5),
            ("a{3,}", 3),
            ("(?:ab){10}", 40),
            ("((a{10}){10}){10}", 1_110),
            (r"\{a\}{2}", 4),
            ("[{a}]{3}", 3),
            (r"\p{L}{10}", 1_500),
            ("a{", 2),
        ] {
            assert_eq!(PatternCost::of(pattern).atoms, atoms, "{pattern}");
        }
        assert!(
            PatternCost::of("(((((((a{1000}){1000}){1000}){1000}){1000}){1000}){1000})").bytes()
                > 1 << 60
        );
    }

    #[test]
    fn what_goes_back_is_known() {
        for pattern in [
            "^(?=.*[0-9])",
            "(?!a)",
            "(?<=a)b",
            "(?<!a)b",
            r"(a)\1",
            r"(?<n>a)\k<n>",
            r"a\b",
            r"\Ba",
            "a++",
            "a*+b",
            "(?>a)",
        ] {
            assert!(PatternCost::of(pattern).backtracks, "{pattern}");
        }
        for pattern in ["^(?:a|b)+$", "(?<name>a)", r"\d{2}", r"[\1\b]", r"\(?=a", "a+?", r"a\++"] {
            assert!(!PatternCost::of(pattern).backtracks, "{pattern}");
        }
    }
}
