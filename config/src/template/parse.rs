//! From text to a template's parts.

use super::functions::FUNCTIONS;
use super::{Command, Operand, Part, Pipeline, Value};
use crate::dynamic::nearest::hint;

/// Blocks and parentheses within each other, at most.
const DEPTH_MAX: usize = 32;

/// Why a template can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

fn fault<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(message.into()))
}

/// Text, or what stands in braces.
enum Piece<'a> {
    Text(&'a str),
    Action(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word: a function, a keyword, `true`.
    Word(String),
    /// `.Labels.key`; `.` alone has no names.
    Field(Vec<String>),
    Variable(String),
    Text(String),
    Number(i64),
    /// `|`, `(`, `)`, `:=`
    Sign(&'static str),
}

pub(super) fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    let pieces = pieces(text)?;
    let mut at = 0;
    let parts = block(&pieces, &mut at, 0)?;
    match pieces.get(at) {
        None => Ok(parts),
        Some(_) => fault("`end` without a block that it ends"),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let mut before = &rest[..open];
        let inner = &rest[open + 2..];
        let (inner, trims) = match inner.strip_prefix('-') {
            Some(trimmed) if trimmed.starts_with(char::is_whitespace) => (trimmed, true),
            _ => (inner, false),
        };
        if trims {
            before = before.trim_end();
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let close = closing(inner)?;
        let (mut action, after) = (&inner[..close], &inner[close + 2..]);
        rest = after;
        if let Some(trimmed) = action.strip_suffix('-')
            && trimmed.ends_with(char::is_whitespace)
        {
            action = trimmed;
            rest = after.trim_start();
        }
        let action = action.trim();
        if action.starts_with("/*") && action.ends_with("*/") {
            continue;
        }
        pieces.push(Piece::Action(tokens(action)?));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Where the braces close; those within quotes do not count.
fn closing(text: &str) -> Result<usize, TemplateError> {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if open == letter => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '`') => quote = Some(letter),
            None if text[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    fault("a `{{` is never closed")
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = action;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { break };
        let word = |from: &str| from.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(from.len());
        let taken = match first {
            '"' | '`' => {
                let (text, length) = quoted(rest, first)?;
                tokens.push(Token::Text(text));
                length
            }
            '|' | '(' | ')' => {
                tokens.push(Token::Sign(match first {
                    '|' => "|",
                    '(' => "(",
                    _ => ")",
                }));
                1
            }
            ':' if rest.starts_with(":=") => {
                tokens.push(Token::Sign(":="));
                2
            }
            '.' => {
                let length = rest
                    .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '.'))
                    .unwrap_or(rest.len());
                let names = rest[1..length].split('.').filter(|name| !name.is_empty());
                tokens.push(Token::Field(names.map(str::to_owned).collect()));
                length
            }
            '$' => {
                let length = 1 + word(&rest[1..]);
                tokens.push(Token::Variable(rest[1..length].to_owned()));
                length
            }
            '-' | '0'..='9' => {
                let length = 1 + word(&rest[1..]);
                let number = rest[..length].parse();
                tokens.push(Token::Number(
                    number.map_err(|_| TemplateError(format!("`{}` is not a number", &rest[..length])))?,
                ));
                length
            }
            letter if letter.is_alphabetic() => {
                let length = word(rest);
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            other => return fault(format!("unexpected `{other}`")),
        };
        rest = &rest[taken..];
    }
    Ok(tokens)
}

/// The text in quotes at the beginning, and the bytes that it takes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), TemplateError> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Ok((value, at + 1)),
            '\\' if quote == '"' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, letter)) => value.push(letter),
                None => break,
            },
            letter => value.push(letter),
        }
    }
    fault(format!("a {quote} is never closed"))
}

fn keyword<'a>(piece: &'a Piece<'_>) -> Option<&'a str> {
    match piece {
        Piece::Action(tokens) => match tokens.first() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        },
        Piece::Text(_) => None,
    }
}

/// Parts up to the `else` or `end` of the block around them.
fn block(pieces: &[Piece<'_>], at: &mut usize, depth: usize) -> Result<Vec<Part>, TemplateError> {
    if depth > DEPTH_MAX {
        return fault(format!("blocks go deeper than {DEPTH_MAX}"));
    }
    let mut parts = Vec::new();
    while let Some(piece) = pieces.get(*at) {
        let tokens = match piece {
            Piece::Text(text) => {
                parts.push(Part::Text((*text).to_owned()));
                *at += 1;
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match keyword(piece) {
            Some("end" | "else") => return Ok(parts),
            Some(word @ ("if" | "with")) => {
                let with = word == "with";
                *at += 1;
                parts.push(branch(&tokens[1..], with, pieces, at, depth)?);
            }
            Some(word @ ("range" | "define" | "template" | "block" | "break" | "continue")) => {
                return fault(format!("`{word}` is not carried out here: if, else and with are"));
            }
            _ => {
                parts.push(match tokens.as_slice() {
                    [Token::Variable(name), Token::Sign(":="), value @ ..] => {
                        Part::Set(name.clone(), whole_pipeline(value)?)
                    }
                    tokens => Part::Show(whole_pipeline(tokens)?),
                });
                *at += 1;
            }
        }
    }
    Ok(parts)
}

fn branch(
    condition: &[Token],
    with: bool,
    pieces: &[Piece<'_>],
    at: &mut usize,
    depth: usize,
) -> Result<Part, TemplateError> {
    if depth > DEPTH_MAX {
        return fault(format!("blocks go deeper than {DEPTH_MAX}"));
    }
    let condition = whole_pipeline(condition)?;
    let then = block(pieces, at, depth + 1)?;
    let Some(Piece::Action(tokens)) = pieces.get(*at) else {
        return fault("an `end` is missing: `end` is missing");
    };
    *at += 1;
    let otherwise = match tokens.as_slice() {
        [Token::Word(word)] if word == "end" => Vec::new(),
        [Token::Word(_)] => {
            let otherwise = block(pieces, at, depth + 1)?;
            match pieces.get(*at).and_then(keyword) {
                Some("end") => *at += 1,
                _ => return fault("`end` is missing"),
            }
            otherwise
        }
        [Token::Word(_), Token::Word(word), condition @ ..] if word == "if" || word == "with" => {
            vec![branch(condition, word == "with", pieces, at, depth + 1)?]
        }
        _ => return fault("after `else` comes nothing, `if` or `with`"),
    };
    Ok(Part::If { condition, then, otherwise, with })
}

fn whole_pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut at = 0;
    let read = pipeline(tokens, &mut at, 0)?;
    if at < tokens.len() {
        return fault("a `)` without its `(`");
    }
    Ok(read)
}

fn pipeline(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Pipeline, TemplateError> {
    if depth > DEPTH_MAX {
        return fault(format!("parentheses go deeper than {DEPTH_MAX}"));
    }
    let mut commands = vec![command(tokens, at, depth)?];
    while tokens.get(*at) == Some(&Token::Sign("|")) {
        *at += 1;
        commands.push(command(tokens, at, depth)?);
    }
    Ok(Pipeline(commands))
}

fn command(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Command, TemplateError> {
    if let Some(Token::Word(word)) = tokens.get(*at)
        && !matches!(word.as_str(), "true" | "false" | "nil")
    {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        let Some(name) = names.iter().copied().find(|name| name == word) else {
            return fault(format!("there is no function `{word}`: {}", hint(word, &names)));
        };
        *at += 1;
        let mut operands = Vec::new();
        while let Some(token) = tokens.get(*at)
            && !matches!(token, Token::Sign("|" | ")"))
        {
            operands.push(operand(tokens, at, depth)?);
        }
        return Ok(Command::Call(name, operands));
    }
    let value = operand(tokens, at, depth)?;
    match tokens.get(*at) {
        None | Some(Token::Sign("|" | ")")) => Ok(Command::Value(value)),
        Some(_) => fault("expected `|` or the end of the action: only functions take values"),
    }
}

fn operand(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Operand, TemplateError> {
    let Some(token) = tokens.get(*at) else { return fault("an action is empty, or a value is missing") };
    *at += 1;
    Ok(match token {
        Token::Field(names) => Operand::Field(names.clone()),
        Token::Variable(name) => Operand::Variable(name.clone()),
        Token::Text(text) => Operand::Constant(Value::Text(text.clone())),
        Token::Number(number) => Operand::Constant(Value::Number(*number)),
        Token::Word(word) if word == "true" || word == "false" => {
            Operand::Constant(Value::Truth(word == "true"))
        }
        Token::Word(word) if word == "nil" => Operand::Constant(Value::Nothing),
        Token::Word(word) => return fault(format!("`{word}` is given as a value: put it in parentheses")),
        Token::Sign("(") => {
            let inner = pipeline(tokens, at, depth + 1)?;
            if tokens.get(*at) != Some(&Token::Sign(")")) {
                return fault("a `(` is never closed");
            }
            *at += 1;
            Operand::Inner(inner)
        }
        Token::Sign(sign) => return fault(format!("unexpected `{sign}`")),
    })
}
