//! Reads the paths out of a Rust source: what each `use` and each `a::b` names, and where.
//!
//! This is a tokeniser and a walk over the tokens, not a compiler: it knows comments, strings, `use` trees, nested
//! modules and `#[cfg(test)]`, and does not expand macros. What a macro's definition names is seen where it is written.

use std::iter::Peekable;
use std::str::Chars;

/// A path as written, groups of `use` trees taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// The name it gets here: the last segment or what follows `as`.
    pub(crate) name: String,
    /// Modules of this file around it, outermost first.
    pub(crate) inside: Vec<String>,
}

/// What a source holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) paths: Vec<Named>,
    /// Lines with the keyword `unsafe`.
    pub(crate) unsafe_lines: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

#[derive(Debug, Clone)]
struct Token {
    line: usize,
    kind: Kind,
}

impl Token {
    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    fn word(&self) -> Option<&str> {
        if let Kind::Word(word) = &self.kind { Some(word) } else { None }
    }
}

/// Reads a whole file.
pub(crate) fn scan(text: &str) -> Scan {
    let tokens = Tokens { rest: text.chars().peekable(), line: 1 }.read();
    let mut found = Scan::default();
    let mut depth = 0usize;
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        let inside = || modules.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match token.word() {
            Some("unsafe") => found.unsafe_lines.push(token.line),
            Some("use") if !next.is_some_and(|t| t.is('<')) => {
                at = tree(&tokens, at + 1, &[], &inside(), &mut found.paths);
                continue;
            }
            Some("crate") if at > 0 && tokens[at - 1].word() == Some("extern") => {
                at = tree(&tokens, at + 1, &[], &inside(), &mut found.paths);
                continue;
            }
            Some("mod") => {
                if let (Some(name), Some(open)) = (next.and_then(Token::word), tokens.get(at + 2))
                    && open.is('{')
                {
                    modules.push((name.to_owned(), depth));
                }
            }
            Some(_) if next.is_some_and(|t| t.kind == Kind::Colons) => {
                at = inline(&tokens, at, inside(), &mut found.paths);
                continue;
            }
            _ if token.is('{') => depth += 1,
            _ if token.is('}') => {
                depth = depth.saturating_sub(1);
                if modules.last().is_some_and(|(_, opened)| *opened == depth) {
                    modules.pop();
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// `a::b::c` in code; returns where it ends.
fn inline(tokens: &[Token], start: usize, inside: Vec<String>, found: &mut Vec<Named>) -> usize {
    let (line, mut at, mut segments) = (tokens[start].line, start, Vec::new());
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        segments.push(word.to_owned());
        at += 1;
        if tokens.get(at).is_none_or(|t| t.kind != Kind::Colons) {
            break;
        }
        at += 1;
    }
    let name = segments.last().cloned().unwrap_or_default();
    found.push(Named { line, segments, name, inside });
    at
}

/// One branch of a `use` tree behind `before`; returns where it ends, at a comma, a closing brace or a semicolon.
fn tree(tokens: &[Token], start: usize, before: &[String], inside: &[String], found: &mut Vec<Named>) -> usize {
    let (mut at, mut segments, mut name) = (start, before.to_vec(), None);
    let line = tokens.get(start).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) if word == "as" => {
                name = tokens.get(at + 1).and_then(Token::word).map(str::to_owned);
                at += 1;
            }
            Kind::Word(word) => segments.push(word.clone()),
            Kind::Colons => {}
            Kind::Mark('*') => segments.push("*".to_owned()),
            Kind::Mark('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is('}')) {
                    at = tree(tokens, at, &segments, inside, found);
                    at += usize::from(tokens.get(at).is_some_and(|t| t.is(',')));
                }
                return at + 1;
            }
            Kind::Mark(_) => break,
        }
        at += 1;
    }
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let name = name.or_else(|| segments.last().cloned()).unwrap_or_default();
    found.push(Named { line, segments, name, inside: inside.to_vec() });
    at
}

struct Tokens<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn bump(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn read(mut self) -> Vec<Token> {
        let mut tokens = Vec::new();
        while let Some(c) = self.bump() {
            let line = self.line;
            let kind = match c {
                '/' if self.rest.peek() == Some(&'/') => {
                    while self.rest.peek().is_some_and(|c| *c != '\n') {
                        self.bump();
                    }
                    continue;
                }
                '/' if self.rest.peek() == Some(&'*') => {
                    self.block_comment();
                    continue;
                }
                '"' => {
                    self.string();
                    continue;
                }
                '\'' => {
                    self.letter_or_lifetime();
                    continue;
                }
                ':' if self.rest.peek() == Some(&':') => {
                    self.bump();
                    Kind::Colons
                }
                c if c.is_alphabetic() || c == '_' => match self.word(c) {
                    Some(word) => Kind::Word(word),
                    None => continue,
                },
                c if c.is_ascii_digit() => {
                    while self.rest.peek().is_some_and(|c| c.is_alphanumeric() || *c == '_') {
                        self.bump();
                    }
                    continue;
                }
                c if c.is_whitespace() => continue,
                c => Kind::Mark(c),
            };
            tokens.push(Token { line, kind });
        }
        tokens
    }

    /// A word, or nothing where it was the prefix of a raw string.
    fn word(&mut self, first: char) -> Option<String> {
        let mut word = String::from(first);
        while let Some(c) = self.rest.peek().copied().filter(|c| c.is_alphanumeric() || *c == '_') {
            word.push(c);
            self.bump();
        }
        if !matches!(word.as_str(), "r" | "br" | "cr") {
            return Some(word);
        }
        let mut ahead = self.rest.clone();
        let mut hashes = 0;
        while ahead.next_if_eq(&'#').is_some() {
            hashes += 1;
        }
        if ahead.peek() == Some(&'"') {
            self.raw_string(hashes);
            return None;
        }
        if hashes == 1 {
            self.bump();
            return self.bump().and_then(|c| self.word(c));
        }
        Some(word)
    }

    fn raw_string(&mut self, hashes: usize) {
        for _ in 0..=hashes {
            self.bump();
        }
        let mut closing = None;
        while let Some(c) = self.bump() {
            closing = match (c, closing) {
                ('"', _) => Some(0),
                ('#', Some(n)) => Some(n + 1),
                _ => None,
            };
            if closing == Some(hashes) {
                return;
            }
        }
    }

    fn string(&mut self) {
        while let Some(c) = self.bump() {
            match c {
                '\\' => drop(self.bump()),
                '"' => return,
                _ => {}
            }
        }
    }

    fn letter_or_lifetime(&mut self) {
        let first = self.bump();
        if first == Some('\\') {
            self.bump();
            while self.bump().is_some_and(|c| c != '\'') {}
        } else if self.rest.peek() == Some(&'\'') {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let (mut open, mut last) = (1, '/');
        self.bump();
        while let Some(c) = self.bump() {
            match (last, c) {
                ('/', '*') => (open, last) = (open + 1, ' '),
                ('*', '/') => (open, last) = (open - 1, ' '),
                _ => last = c,
            }
            if open == 0 {
                return;
            }
        }
    }
}
