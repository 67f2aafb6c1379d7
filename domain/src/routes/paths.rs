//! A table of path patterns, each with a value, in which several patterns may match one path: the
//! most exact one wins.
//!
//! It is a tree of segments. A path is matched from the left; at each segment the text itself goes
//! before a parameter, and a parameter before the rest. Where that leads to nothing, the next one
//! is tried, so `/a/{*rest}` answers `/a/b/d` beside `/a/{x}/c`. Segments are compared as RFC 3986
//! has it (section 6.2.2.2): percent-encoded or not, a letter is the same, so nobody gets past a
//! literal by writing it otherwise. No node is visited twice for one path, as each is reached by
//! one way only.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::manifest::http::PathPattern;

/// Values by path patterns.
#[derive(Debug)]
pub(super) struct PathTree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    /// Of a pattern that ends with `{*rest}` here.
    rest: Option<T>,
    /// Of a pattern that ends here.
    end: Option<T>,
}

/// A part of a pattern.
enum Segment<'a> {
    Literal(&'a str),
    Parameter,
    Rest,
}

impl<T> Default for PathTree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, rest: None, end: None }
    }
}

/// A segment with every character that need not be percent-encoded as it is, and capitals in the
/// codes of others.
pub(super) fn normal(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut normal = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        let code = after.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| Some((code, u8::from_str_radix(code, 16).ok()?))) {
            Some((_, b)) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                normal.push(char::from(b));
            }
            Some((code, _)) => {
                normal.push('%');
                normal.push_str(&code.to_ascii_uppercase());
            }
            None => normal.push('%'),
        }
        rest = if code.is_some() { &after[2..] } else { after };
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

fn segments(pattern: &PathPattern) -> impl Iterator<Item = Segment<'_>> {
    // The text before the first slash is empty.
    pattern.as_str().split('/').skip(1).map(|segment| match segment.strip_prefix('{') {
        Some(rest) if rest.starts_with('*') => Segment::Rest,
        Some(_) => Segment::Parameter,
        None => Segment::Literal(segment),
    })
}

impl<T: Default> PathTree<T> {
    /// The value at a pattern, made where there is none. The names of parameters make no
    /// difference.
    pub(super) fn entry(&mut self, pattern: &PathPattern) -> &mut T {
        let mut node = &mut self.root;
        for segment in segments(pattern) {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(normal(text).into()).or_default(),
                Segment::Parameter => node.parameter.get_or_insert_default(),
                // A pattern has it at its end only.
                Segment::Rest => return node.rest.get_or_insert_default(),
            };
        }
        node.end.get_or_insert_default()
    }
}

impl<T> PathTree<T> {
    /// The value of the most exact pattern that matches a path, and what its parameters stand for,
    /// in order, as they are in the path. A parameter stands for a segment that is not empty, the
    /// rest for what follows the slash, which may be nothing.
    pub(super) fn find<'a>(&'a self, path: &'a str) -> Option<(&'a T, Vec<&'a str>)> {
        let mut values = Vec::new();
        let value = self.root.find(path.strip_prefix('/')?, &mut values)?;
        Some((value, values))
    }
}

impl<T> Node<T> {
    /// Matches what is left of a path. A pattern's length bounds the depth.
    fn find<'a>(&'a self, path: &'a str, values: &mut Vec<&'a str>) -> Option<&'a T> {
        let (segment, left) = match path.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (path, None),
        };
        let known = values.len();
        let below = |node: &'a Self, values: &mut Vec<&'a str>| {
            let found = match left {
                Some(left) => node.find(left, values),
                None => node.end.as_ref(),
            };
            if found.is_none() {
                values.truncate(known);
            }
            found
        };
        if let Some(found) =
            self.literals.get(&*normal(segment)).and_then(|node| below(node, values))
        {
            return Some(found);
        }
        if let Some(node) = self.parameter.as_deref().filter(|_| !segment.is_empty()) {
            values.push(segment);
            if let Some(found) = below(node, values) {
                return Some(found);
            }
        }
        let found = self.rest.as_ref()?;
        values.push(path);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree(patterns: &[&str]) -> PathTree<String> {
        let mut tree = PathTree::<String>::default();
        for pattern in patterns {
            *tree.entry(&pattern.parse().unwrap()) = (*pattern).to_owned();
        }
        tree
    }

    fn found(tree: &PathTree<String>, path: &str) -> String {
        let Some((pattern, values)) = tree.find(path) else { return "-".into() };
        values.iter().fold(pattern.clone(), |text, value| format!("{text} {value}"))
    }

    #[test]
    fn the_most_exact_pattern_wins() {
        let patterns =
            ["/u/{id}", "/u/{*rest}", "/u/x", "/{a}/b", "/a/{x}/c", "/a/{*rest}", "/{*all}"];
        for patterns in [patterns.to_vec(), patterns.iter().rev().copied().collect()] {
            let tree = tree(&patterns);
            for (path, expected) in [
                ("/u/5", "/u/{id} 5"),
                ("/u/5/6", "/u/{*rest} 5/6"),
                ("/u/x", "/u/x"),
                ("/u/x/y", "/u/{*rest} x/y"),
                ("/u/", "/u/{*rest} "),
                ("/u", "/{*all} u"),
                ("/z/b", "/{a}/b z"),
                ("/a/b", "/a/{*rest} b"),
                ("/a/1/c", "/a/{x}/c 1"),
                ("/a/1/d", "/a/{*rest} 1/d"),
                ("/a//c", "/a/{*rest} /c"),
                ("/", "/{*all} "),
                ("//", "/{*all} /"),
            ] {
                assert_eq!(found(&tree, path), expected, "{path}");
            }
        }
    }

    #[test]
    fn a_path_with_a_slash_at_its_end_is_another() {
        let tree = tree(&["/web", "/web/", "/files/{*p}", "/one/{id}"]);
        for (path, expected) in [
            ("/web", "/web"),
            ("/web/", "/web/"),
            ("/web//", "-"),
            ("/files", "-"),
            ("/files/", "/files/{*p} "),
            ("/one/", "-"),
            ("/one/a/", "-"),
            ("", "-"),
            ("web", "-"),
        ] {
            assert_eq!(found(&tree, path), expected, "{path}");
        }
    }

    #[test]
    fn a_literal_is_the_same_however_it_is_written() {
        let tree = tree(&["/u/me", "/u/{id}", "/~x", "/a%2fb"]);
        for (path, expected) in [
            ("/u/%6de", "/u/me"),
            ("/%75/%6D%65", "/u/me"),
            ("/u/%6dee", "/u/{id} %6dee"),
            ("/%7ex", "/~x"),
            ("/%7Ex", "/~x"),
            ("/a%2Fb", "/a%2fb"),
            ("/a/b", "-"),
            ("/u/%zz", "/u/{id} %zz"),
            ("/u/%", "/u/{id} %"),
            ("/u/%ü", "/u/{id} %ü"),
        ] {
            assert_eq!(found(&tree, path), expected, "{path}");
        }
    }

    /// What the tree finds, by trying every pattern on the path.
    fn slowly(patterns: &[String], path: &str) -> Option<String> {
        let rank = |pattern: &str| -> Option<Vec<u8>> {
            let (pattern, path): (Vec<&str>, Vec<&str>) =
                (pattern.split('/').collect(), path.split('/').collect());
            let mut ranks = Vec::new();
            for (i, segment) in pattern.iter().enumerate() {
                let is_there = path.get(i)?;
                ranks.push(match segment.strip_prefix('{') {
                    Some(rest) if rest.starts_with('*') => return Some([ranks, vec![2]].concat()),
                    Some(_) if is_there.is_empty() => return None,
                    Some(_) => 1,
                    None if segment == is_there => 0,
                    None => return None,
                });
            }
            (pattern.len() == path.len()).then_some(ranks)
        };
        let ranked = patterns.iter().filter_map(|pattern| Some((rank(pattern)?, pattern)));
        ranked.min().map(|(_, pattern)| pattern.clone())
    }

    fn pattern() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            Just("a".to_owned()),
            Just("b".to_owned()),
            Just("{}".to_owned()),
            Just(String::new())
        ];
        (proptest::collection::vec(segment, 0..4), any::<bool>()).prop_map(
            |(mut segments, rest)| {
                for (i, segment) in segments.iter_mut().enumerate() {
                    *segment = segment.replace("{}", &format!("{{p{i}}}"));
                }
                if rest || segments.is_empty() {
                    segments.push("{*rest}".into());
                }
                format!("/{}", segments.join("/"))
            },
        )
    }

    proptest! {
        #[test]
        fn every_path_is_found_as_by_trying_all(
            patterns in proptest::collection::vec(pattern(), 1..8), path in "(/[abc]?){1,5}",
        ) {
            let mut tree = PathTree::<String>::default();
            for pattern in &patterns {
                tree.entry(&pattern.parse().unwrap()).clone_from(pattern);
            }
            prop_assert_eq!(tree.find(&path).map(|(pattern, _)| pattern.clone()), slowly(&patterns, &path));
        }
    }
}
