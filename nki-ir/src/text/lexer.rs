//! Tokens of a `.nkir` text, one at a time. Comments run from `;` to the end of the line.

use std::borrow::Cow;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Tok<'a> {
    /// `[A-Za-z_][A-Za-z0-9_]*`
    Word(&'a str),
    /// `%name` or `%"odd name"`: a buffer, register or loop variable.
    Value(Cow<'a, str>),
    /// `@name` or `@"odd name"`: a kernel.
    Symbol(Cow<'a, str>),
    /// `"..."`
    Str(Cow<'a, str>),
    /// Digits, or `0x` and hexadecimal digits; no sign.
    Int(u64),
    /// Digits with a fraction or an exponent; no sign.
    Float(f32),
    /// One of `( ) { } [ ] < > , : . = * + - ?`, or `..` or `+:`.
    Punct(&'static str),
    /// Something that no token starts with, or a malformed token; what is wrong with it.
    Bad(String),
    End,
}

impl std::fmt::Display for Tok<'_> {
    /// How an error message names the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tok::Word(w) => write!(f, "`{w}`"),
            Tok::Value(v) => write!(f, "`%{}`", shorten(v)),
            Tok::Symbol(v) => write!(f, "`@{}`", shorten(v)),
            Tok::Str(s) => write!(f, "the string \"{}\"", shorten(s)),
            Tok::Int(n) => write!(f, "`{n}`"),
            Tok::Float(x) => write!(f, "`{x:?}`"),
            Tok::Punct(p) => write!(f, "`{p}`"),
            Tok::Bad(why) => f.write_str(why),
            Tok::End => f.write_str("the end of the file"),
        }
    }
}

/// `s` escaped and cut to a length fit for one line of a message.
pub fn shorten(s: &str) -> String {
    let mut out: String = s.chars().take(40).flat_map(char::escape_debug).collect();
    if s.chars().nth(40).is_some() {
        out.push_str("...");
    }
    out
}

/// A position in the file: line and column (in characters), both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos {
    pub line: u32,
    pub column: u32,
}

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    pub tok: Tok<'a>,
    pub pos: Pos,
    /// Whether it is the first token on its line.
    pub first: bool,
}

/// Splits a text into tokens. Never fails: what it cannot read becomes [`Tok::Bad`].
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    rest: &'a str,
    pos: Pos,
    first: bool,
}

const PUNCTUATION: &[&str] =
    &["..", "+:", "(", ")", "{", "}", "[", "]", "<", ">", ",", ":", ".", "=", "*", "+", "-", "?"];

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Lexer { rest: text, pos: Pos { line: 1, column: 1 }, first: true }
    }

    /// Consumes `bytes` bytes, which end at a character boundary, and returns them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.pos = Pos { line: self.pos.line.saturating_add(1), column: 1 };
                self.first = true;
            } else {
                self.pos.column = self.pos.column.saturating_add(1);
            }
        }
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with(';') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    /// The next token; [`Tok::End`] for ever after the last one.
    pub fn next_token(&mut self) -> Token<'a> {
        self.skip_blank();
        let (pos, first) = (self.pos, self.first);
        self.first = false;
        let tok = self.scan();
        Token { tok, pos, first }
    }

    fn scan(&mut self) -> Tok<'a> {
        let Some(c) = self.rest.chars().next() else {
            return Tok::End;
        };
        match c {
            'a'..='z' | 'A'..='Z' | '_' => Tok::Word(self.take_while(is_name_char)),
            '0'..='9' => self.number(),
            '"' => match self.string() {
                Ok(s) => Tok::Str(s),
                Err(why) => Tok::Bad(why),
            },
            '%' | '@' => {
                self.take(1);
                match self.name(c) {
                    Ok(name) if c == '%' => Tok::Value(name),
                    Ok(name) => Tok::Symbol(name),
                    Err(why) => Tok::Bad(why),
                }
            }
            _ => match PUNCTUATION.iter().find(|p| self.rest.starts_with(**p)) {
                Some(p) => {
                    self.take(p.len());
                    Tok::Punct(p)
                }
                None => {
                    self.take(c.len_utf8());
                    Tok::Bad(format!("the character `{}`", c.escape_debug()))
                }
            },
        }
    }

    fn name(&mut self, sigil: char) -> Result<Cow<'a, str>, String> {
        if self.rest.starts_with('"') {
            return self.string();
        }
        match self.take_while(is_name_char) {
            "" => Err(format!("`{sigil}` without a name")),
            name => Ok(Cow::Borrowed(name)),
        }
    }

    fn number(&mut self) -> Tok<'a> {
        if let Some(hex) = self.rest.strip_prefix("0x") {
            let digits = hex.find(|c: char| !is_name_char(c)).unwrap_or(hex.len());
            let text = self.take(2 + digits);
            return match u64::from_str_radix(&text[2..], 16) {
                Ok(n) => Tok::Int(n),
                Err(_) => Tok::Bad(format!("the malformed number `{}`", shorten(text))),
            };
        }
        let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let bytes = self.rest.as_bytes();
        let mut end = digits(self.rest);
        let mut float = false;
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            float = true;
            end += 1 + digits(&self.rest[end + 1..]);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(&self.rest[end + 1 + sign..]);
            if exponent > 0 {
                float = true;
                end += 1 + sign + exponent;
            }
        }
        let tail = &self.rest[end..];
        let junk = tail.find(|c: char| !is_name_char(c)).unwrap_or(tail.len());
        let text = self.take(end + junk);
        let parsed = match (junk, float) {
            (0, true) => text.parse().ok().map(Tok::Float),
            (0, false) => text.parse().ok().map(Tok::Int),
            _ => None,
        };
        parsed.unwrap_or_else(|| Tok::Bad(format!("the malformed number `{}`", shorten(text))))
    }

    /// A quoted string; it ends on the line it starts on.
    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.take(1);
        let plain = self.rest.find(['"', '\\', '\n']).unwrap_or(self.rest.len());
        let head = self.take(plain);
        if self.rest.starts_with('"') {
            self.take(1);
            return Ok(Cow::Borrowed(head));
        }
        let mut out = head.to_string();
        loop {
            let Some(c) = self.rest.chars().next().filter(|c| *c != '\n') else {
                return Err("a string without its closing `\"`".into());
            };
            self.take(c.len_utf8());
            match c {
                '"' => return Ok(Cow::Owned(out)),
                '\\' => match self.escape() {
                    Some(c) => out.push(c),
                    None => {
                        self.take_while(|c| c != '"' && c != '\n');
                        if self.rest.starts_with('"') {
                            self.take(1);
                        }
                        return Err("a string with an unknown escape after `\\`".into());
                    }
                },
                c => out.push(c),
            }
        }
    }

    /// What follows a backslash: `n`, `t`, `r`, `"`, `\` or `u{hex}`.
    fn escape(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '"' | '\\' => c,
            'u' => {
                let hex = self.rest.strip_prefix("u{")?;
                let end = hex.find(|c: char| !c.is_ascii_hexdigit())?;
                if !hex[end..].starts_with('}') {
                    return None;
                }
                let decoded = u32::from_str_radix(&hex[..end], 16).ok().and_then(char::from_u32)?;
                self.take(end + 3);
                return Some(decoded);
            }
            _ => return None,
        };
        self.take(1);
        Some(plain)
    }
}

/// Whether `c` may occur in a name without quotes.
pub fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Tok<'_>> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next_token().tok).filter(|t| *t != Tok::End)).collect()
    }

    #[test]
    fn ranges_are_not_floats() {
        use Tok::*;
        assert_eq!(all("0..8"), [Int(0), Punct(".."), Int(8)]);
        assert_eq!(all("1.5e-3 2e3 7"), [Float(1.5e-3), Float(2e3), Int(7)]);
        assert_eq!(all("%i*4 +: 2"), [Value("i".into()), Punct("*"), Int(4), Punct("+:"), Int(2)]);
        assert_eq!(all("0x7fc00001"), [Int(0x7fc0_0001)]);
        assert!(matches!(all("12ab")[..], [Bad(_)]));
        assert!(matches!(all("99999999999999999999")[..], [Bad(_)]));
        assert!(matches!(all("0x")[..], [Bad(_)]));
    }

    #[test]
    fn strings_unescape_and_end_with_their_line() {
        assert_eq!(all(r#"%"a \"b\" \u{1F600}\n""#), [Tok::Value("a \"b\" \u{1F600}\n".into())]);
        assert!(matches!(all("\"abc\nx")[..], [Tok::Bad(_), Tok::Word("x")]));
        assert!(matches!(all(r#""a\q" x"#)[..], [Tok::Bad(_), Tok::Word("x")]));
        assert!(matches!(all(r#""\u{d800}" x"#)[..], [Tok::Bad(_), Tok::Word("x")]));
    }

    #[test]
    fn positions_count_characters_and_skip_comments() {
        let mut lexer = Lexer::new("é ; c\n  x y");
        assert!(matches!(lexer.next_token().tok, Tok::Bad(_)));
        let x = lexer.next_token();
        assert_eq!((x.pos, x.first), (Pos { line: 2, column: 3 }, true));
        let y = lexer.next_token();
        assert_eq!((y.pos, y.first), (Pos { line: 2, column: 5 }, false));
    }
}
