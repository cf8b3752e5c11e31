//! Conditions in the words of Traefik's middlewares: `NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(50.0) > 100`.
//!
//! ```text
//! either  = both *( "||" both )
//! both    = term *( "&&" term )
//! term    = "!" term / "(" either ")" / NAME "(" [ value *( "," value ) ] ")" [ COMPARISON value ]
//! value   = NUMBER / STRING
//! ```
//!
//! Knows nothing of what the functions mean: whoever reads a condition says which there are.

use std::cmp::Ordering;

/// Conditions nest at most this deep; a deeper one is somebody's attack on the stack.
const DEPTH_MAX: usize = 64;

/// A condition over functions `F`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition<F> {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    /// A function that is true or false.
    Is(F),
    /// A function beside a number or a text.
    Compare(F, Comparison, Value),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Text(String),
}

/// What kind of value a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
    Truth,
}

/// What a function gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given<'a> {
    Number(f64),
    Text(&'a str),
    Truth(bool),
}

/// Makes a function of its name and values, and says what it gives; or says what is wrong with them.
pub(crate) type Build<'a, F> = &'a dyn Fn(&str, &[Value]) -> Result<(F, Kind), String>;

/// Reads a condition.
pub(crate) fn parse<F>(text: &str, build: Build<'_, F>) -> Result<Condition<F>, String> {
    let mut parser = Parser { text, at: 0, depth: 0, build };
    let condition = parser.either()?;
    parser.skip_space();
    if parser.rest().is_empty() { Ok(condition) } else { Err(parser.unexpected("`&&`, `||` or the end")) }
}

impl<F> Condition<F> {
    /// Whether it holds, for what the functions give now.
    pub(crate) fn holds<'a>(&'a self, give: &dyn Fn(&'a F) -> Given<'a>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(give)),
            Self::All(parts) => parts.iter().all(|part| part.holds(give)),
            Self::Not(part) => !part.holds(give),
            Self::Is(function) => give(function) == Given::Truth(true),
            Self::Compare(function, comparison, value) => {
                let order = match (give(function), value) {
                    (Given::Number(given), Value::Number(value)) => given.partial_cmp(value),
                    (Given::Text(given), Value::Text(value)) => Some(given.cmp(value.as_str())),
                    _ => None,
                };
                order.is_some_and(|order| comparison.is_met(order))
            }
        }
    }

    /// Gives each function to `visit`.
    pub(crate) fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a F)) {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Self::Not(part) => part.visit(visit),
            Self::Is(function) | Self::Compare(function, ..) => visit(function),
        }
    }
}

impl Comparison {
    fn is_met(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

struct Parser<'a, F> {
    text: &'a str,
    at: usize,
    depth: usize,
    build: Build<'a, F>,
}

impl<'a, F> Parser<'a, F> {
    fn either(&mut self) -> Result<Condition<F>, String> {
        let mut parts = vec![self.both()?];
        while self.take("||") {
            parts.push(self.both()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::Any(parts) })
    }

    fn both(&mut self) -> Result<Condition<F>, String> {
        let mut parts = vec![self.term()?];
        while self.take("&&") {
            parts.push(self.term()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::All(parts) })
    }

    fn term(&mut self) -> Result<Condition<F>, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        self.skip_space();
        let term = if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            Condition::Not(Box::new(self.term()?))
        } else if self.take("(") {
            let inner = self.either()?;
            if !self.take(")") {
                return Err(self.unexpected("`)`"));
            }
            inner
        } else {
            self.call()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn call(&mut self) -> Result<Condition<F>, String> {
        let length = self.rest().find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest().len());
        let name = &self.rest()[..length];
        if name.is_empty() {
            return Err(self.unexpected("a function, `!` or `(`"));
        }
        self.at += length;
        if !self.take("(") {
            return Err(self.unexpected("`(`"));
        }
        let mut values = Vec::new();
        while !self.take(")") {
            if !values.is_empty() && !self.take(",") {
                return Err(self.unexpected("`,` or `)`"));
            }
            values.push(self.value()?);
        }
        let (function, kind) = (self.build)(name, &values)?;
        let Some(comparison) = self.comparison() else {
            return match kind {
                Kind::Truth => Ok(Condition::Is(function)),
                Kind::Number | Kind::Text => Err(self.unexpected(&format!("a comparison of `{name}`"))),
            };
        };
        let value = self.value()?;
        match (kind, &value, comparison) {
            (Kind::Number, Value::Number(_), _)
            | (Kind::Text, Value::Text(_), Comparison::Equal | Comparison::Unequal) => {
                Ok(Condition::Compare(function, comparison, value))
            }
            (Kind::Number, ..) => Err(format!("`{name}` is compared with a number")),
            (Kind::Text, ..) => Err(format!("`{name}` is compared with a text, by `==` or `!=`")),
            (Kind::Truth, ..) => Err(format!("`{name}` is true or false, and compared with nothing")),
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        // The longer ones first: `<` is also how `<=` begins.
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        signs.into_iter().find(|(sign, _)| self.take(sign)).map(|(_, comparison)| comparison)
    }

    fn value(&mut self) -> Result<Value, String> {
        self.skip_space();
        let rest = self.rest();
        if let Some(quote @ ('"' | '`')) = rest.chars().next() {
            let text = rest[1..].split_once(quote).map(|(text, _)| text.to_owned());
            let text = text.ok_or_else(|| format!("a text without its closing `{quote}`"))?;
            self.at += text.len() + 2;
            return Ok(Value::Text(text));
        }
        let length = rest.find(|c: char| !(c.is_ascii_digit() || ".-".contains(c))).unwrap_or(rest.len());
        let number = rest[..length].parse().map_err(|_| self.unexpected("a number"))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    fn take(&mut self, expected: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn unexpected(&self, expected: &str) -> String {
        let at = self.at + 1;
        match self.rest().chars().next() {
            Some(found) => format!("unexpected `{found}`: expected {expected} (at character {at})"),
            None => format!("it ends too soon: expected {expected} (at character {at})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Function {
        Ratio,
        Method,
        Failed,
        Constant(f64),
    }

    fn build(name: &str, values: &[Value]) -> Result<(Function, Kind), String> {
        match (name, values) {
            ("Ratio", []) => Ok((Function::Ratio, Kind::Number)),
            ("Method", []) => Ok((Function::Method, Kind::Text)),
            ("Failed", []) => Ok((Function::Failed, Kind::Truth)),
            ("Constant", [Value::Number(number)]) => Ok((Function::Constant(*number), Kind::Number)),
            _ => Err(format!("no function `{name}`")),
        }
    }

    fn holds(text: &str) -> bool {
        parse(text, &build).unwrap().holds(&|function| match function {
            Function::Ratio => Given::Number(0.25),
            Function::Method => Given::Text("GET"),
            Function::Failed => Given::Truth(true),
            Function::Constant(number) => Given::Number(*number),
        })
    }

    #[test]
    fn conditions_hold_as_they_are_written() {
        for (text, expected) in [
            ("Ratio() > 0.2", true),
            ("Ratio() > 0.25", false),
            ("Ratio()>=0.25", true),
            ("Ratio() <= 0.25 && Ratio() == 0.25", true),
            ("Ratio() != 0.25", false),
            ("Ratio() < 1", true),
            ("Constant(-3) < 0", true),
            ("Failed()", true),
            ("!Failed()", false),
            ("!(Failed() && Ratio() > 1)", true),
            ("Method() == \"GET\"", true),
            ("Method() != `GET`", false),
            // `&&` binds tighter.
            ("Failed() || Failed() && !Failed()", true),
            ("(Failed() || Failed()) && !Failed()", false),
            ("  Constant( 50.0 )  >  49 ", true),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_said_with_its_place() {
        for (text, expected) in [
            ("", "it ends too soon: expected a function"),
            ("Ratio()", "expected a comparison of `Ratio`"),
            ("Ratio() >", "expected a number"),
            ("Ratio() > 1 Ratio()", "unexpected `R`: expected `&&`, `||` or the end (at character 13)"),
            ("Ratio( > 1", "expected a number"),
            ("Ratio(1 2) > 1", "expected `,` or `)`"),
            ("(Failed()", "expected `)`"),
            ("Failed() == 1", "true or false"),
            ("Ratio() > \"x\"", "compared with a number"),
            ("Method() < \"x\"", "by `==` or `!=`"),
            ("Method() == \"x", "closing"),
            ("Other() > 1", "no function `Other`"),
            ("0.5 > Ratio()", "expected `(`"),
        ] {
            let message = parse(text, &build).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(parse(&"!".repeat(10_000), &build).is_err());
        assert!(parse(&"(".repeat(10_000), &build).is_err());
    }

    #[test]
    fn every_function_is_visited() {
        let condition = parse("Failed() && (Ratio() > 1 || !(Method() == \"x\"))", &build).unwrap();
        let mut seen = 0;
        condition.visit(&mut |_| seen += 1);
        assert_eq!(seen, 3);
    }
}
