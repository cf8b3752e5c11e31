//! From text to an [`Expression`], by recursive descent.
//!
//! ```text
//! either  = both *( "||" both )
//! both    = term *( "&&" term )
//! term    = "!" term / "(" either ")" / NAME "(" [ VALUE *( "," VALUE ) ] ")"
//! ```

use super::Expression;

/// Rules nest at most this deep; a deeper one is somebody's attack on the stack.
const DEPTH_MAX: usize = 64;

/// Why a rule can't be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", position + 1)]
pub struct RuleError {
    /// Bytes into the text.
    pub position: usize,
    /// What was found, and what was expected.
    pub message: String,
}

/// Makes a matcher of its name and values, or says what is wrong with them.
pub(crate) type Build<'a, M> = &'a dyn Fn(&str, &[String]) -> Result<Expression<M>, String>;

/// Reads a rule whose matchers `build` makes from their name and values.
pub(crate) fn parse<M>(text: &str, build: Build<'_, M>) -> Result<Expression<M>, RuleError> {
    let mut parser = Parser { text, position: 0, depth: 0, build };
    let rule = parser.either()?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(
            parser.error(format!("unexpected `{}`: expected `&&`, `||` or the end", parser.rest_start()))
        );
    }
    Ok(rule)
}

struct Parser<'a, M> {
    text: &'a str,
    position: usize,
    depth: usize,
    build: Build<'a, M>,
}

impl<'a, M> Parser<'a, M> {
    fn either(&mut self) -> Result<Expression<M>, RuleError> {
        let mut parts = vec![self.both()?];
        while self.take("||") {
            parts.push(self.both()?);
        }
        Ok(Expression::any(parts))
    }

    fn both(&mut self) -> Result<Expression<M>, RuleError> {
        let mut parts = vec![self.term()?];
        while self.take("&&") {
            parts.push(self.term()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expression::And(parts) })
    }

    fn term(&mut self) -> Result<Expression<M>, RuleError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX}")));
        }
        let term = if self.take("!") {
            Expression::Not(Box::new(self.term()?))
        } else if self.take("(") {
            let inner = self.either()?;
            self.expect(")")?;
            inner
        } else {
            self.matcher()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn matcher(&mut self) -> Result<Expression<M>, RuleError> {
        self.skip_space();
        let start = self.position;
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(match self.rest_start() {
                "" => "the rule ends where a matcher was expected, such as Host(`example.com`)".to_owned(),
                found => format!("unexpected `{found}`: expected a matcher such as Host(`example.com`)"),
            }));
        }
        self.expect("(")?;
        let mut values = Vec::new();
        if !self.take(")") {
            values.push(self.value()?);
            while self.take(",") {
                values.push(self.value()?);
            }
            self.expect(")")?;
        }
        (self.build)(name, &values).map_err(|message| RuleError { position: start, message })
    }

    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.position..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        self.position += length;
        &rest[..length]
    }

    /// A value: in backticks as it stands, in double quotes with Go's escapes.
    fn value(&mut self) -> Result<String, RuleError> {
        self.skip_space();
        let rest = &self.text[self.position..];
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '`' | '"')) else {
            return Err(self.error("expected a value in backticks or double quotes".to_owned()));
        };
        let mut value = String::new();
        let mut letters = rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.position += at + 1;
                return Ok(value);
            }
            if letter != '\\' || quote == '`' {
                value.push(letter);
                continue;
            }
            let escaped = letters.next().map(|(_, letter)| letter);
            let read = match escaped {
                Some(letter @ ('\\' | '"')) => Some(letter),
                Some('n') => Some('\n'),
                Some('t') => Some('\t'),
                Some('r') => Some('\r'),
                Some('x') => code(&mut letters, 2),
                Some('u') => code(&mut letters, 4),
                Some('U') => code(&mut letters, 8),
                _ => None,
            };
            match read {
                Some(letter) => value.push(letter),
                None => {
                    let shown = escaped.map_or(String::new(), |letter| letter.to_string());
                    self.position += at;
                    let message = format!("`\\{shown}` is not an escape: write `\\\\`, or use backticks");
                    return Err(self.error(message));
                }
            }
        }
        Err(self.error(format!("this {quote} is never closed")))
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.position..].starts_with(token);
        if found {
            self.position += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), RuleError> {
        if self.take(token) {
            return Ok(());
        }
        Err(self.error(match self.rest_start() {
            "" => format!("the rule ends where `{token}` was expected"),
            found => format!("unexpected `{found}`: expected `{token}`"),
        }))
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    /// The next character, to show in an error.
    fn rest_start(&self) -> &'a str {
        let rest = &self.text[self.position..];
        &rest[..rest.chars().next().map_or(0, char::len_utf8)]
    }

    fn error(&self, message: String) -> RuleError {
        RuleError { position: self.position, message }
    }
}

/// The character that so many hexadecimal digits stand for.
fn code(letters: &mut impl Iterator<Item = (usize, char)>, digits: usize) -> Option<char> {
    let digits: String = letters.take(digits).map(|(_, letter)| letter).collect();
    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
}
