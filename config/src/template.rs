//! `defaultRule`: a Go template, as far as Docker users write them.
//!
//! Text with actions in double braces: fields (`.Name`, `.ContainerName`, `.Labels`), variables, pipelines, `if`, `else`,
//! `with`, and the functions of Go and sprig that make names. What is beyond that is a fault when the template is read,
//! not when a container comes.

use std::collections::BTreeMap;

mod functions;
mod parse;

use functions::{FUNCTIONS, Function};
pub use parse::TemplateError;

/// A template, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// What a template is carried out for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `.Name`: the service's name.
    pub name: &'a str,
    /// `.ContainerName`
    pub container_name: &'a str,
    /// `.Labels`
    pub labels: &'a BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Show(Pipeline),
    Set(String, Pipeline),
    If { condition: Pipeline, then: Vec<Part>, otherwise: Vec<Part>, with: bool },
}

/// Commands, each given the result of the one before as its last argument.
#[derive(Clone, Debug, PartialEq)]
struct Pipeline(Vec<Command>);

#[derive(Clone, Debug, PartialEq)]
enum Command {
    Value(Operand),
    Call(&'static str, Vec<Operand>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// `.`, `.Name`, `.Labels.key`
    Field(Vec<String>),
    /// `$name`
    Variable(String),
    Constant(Value),
    Inner(Pipeline),
}

/// A value within a template.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nothing,
    Text(String),
    Number(i64),
    Truth(bool),
    List(Vec<String>),
    Labels,
    Subject,
}

impl Value {
    /// What counts as true in Go: whatever is not empty.
    fn is_true(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Truth(truth) => *truth,
            Self::List(list) => !list.is_empty(),
            Self::Labels => !subject.labels.is_empty(),
            Self::Subject => true,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Nothing | Self::Labels | Self::Subject => String::new(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::List(list) => format!("[{}]", list.join(" ")),
        }
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text).map(|parts| Self { text: text.to_owned(), parts })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Carries it out. An error says what could not be done.
    pub fn render(&self, subject: &Subject<'_>) -> Result<String, String> {
        let mut run = Run { subject, variables: BTreeMap::new(), dot: Value::Subject, out: String::new() };
        run.parts(&self.parts)?;
        Ok(run.out)
    }
}

struct Run<'a> {
    subject: &'a Subject<'a>,
    variables: BTreeMap<String, Value>,
    dot: Value,
    out: String,
}

impl Run<'_> {
    fn parts(&mut self, parts: &[Part]) -> Result<(), String> {
        for part in parts {
            match part {
                Part::Text(text) => self.out.push_str(text),
                Part::Show(pipeline) => {
                    let shown = self.pipeline(pipeline)?.shown();
                    self.out.push_str(&shown);
                }
                Part::Set(name, pipeline) => {
                    let value = self.pipeline(pipeline)?;
                    self.variables.insert(name.clone(), value);
                }
                Part::If { condition, then, otherwise, with } => {
                    let value = self.pipeline(condition)?;
                    if !value.is_true(self.subject) {
                        self.parts(otherwise)?;
                    } else if *with {
                        let outer = std::mem::replace(&mut self.dot, value);
                        self.parts(then)?;
                        self.dot = outer;
                    } else {
                        self.parts(then)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline) -> Result<Value, String> {
        let mut last = None;
        for command in &pipeline.0 {
            last = Some(match command {
                Command::Value(operand) => self.operand(operand)?,
                Command::Call(name, operands) => {
                    let mut arguments: Vec<Value> =
                        operands.iter().map(|operand| self.operand(operand)).collect::<Result<_, _>>()?;
                    arguments.extend(last);
                    call(name, &arguments, self.subject)?
                }
            });
        }
        Ok(last.unwrap_or(Value::Nothing))
    }

    fn operand(&self, operand: &Operand) -> Result<Value, String> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Inner(pipeline) => self.pipeline(pipeline),
            Operand::Variable(name) if name.is_empty() => Ok(Value::Subject),
            Operand::Variable(name) => {
                self.variables.get(name).cloned().ok_or_else(|| format!("there is no variable `${name}`"))
            }
            Operand::Field(names) => {
                let mut value = self.dot.clone();
                for name in names {
                    value = match (&value, name.as_str()) {
                        (Value::Subject, "Name") => Value::Text(self.subject.name.to_owned()),
                        (Value::Subject, "ContainerName") => {
                            Value::Text(self.subject.container_name.to_owned())
                        }
                        (Value::Subject, "Labels") => Value::Labels,
                        (Value::Labels, key) => {
                            Value::Text(self.subject.labels.get(key).cloned().unwrap_or_default())
                        }
                        _ => {
                            return Err(format!(
                                "there is no `.{name}` here: .Name, .ContainerName and .Labels are"
                            ));
                        }
                    };
                }
                Ok(value)
            }
        }
    }
}

fn call(name: &str, arguments: &[Value], subject: &Subject<'_>) -> Result<Value, String> {
    let Function { least, most, run, .. } =
        FUNCTIONS.iter().find(|function| function.name == name).expect("only known functions are read");
    if arguments.len() < *least || arguments.len() > *most {
        return Err(format!("`{name}` is given {} values, and takes {least}", arguments.len()));
    }
    run(arguments, subject).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, String> {
        let labels = BTreeMap::from([
            ("com.docker.compose.service".to_owned(), "web".to_owned()),
            ("domain".to_owned(), "Shop.Example".to_owned()),
            ("empty".to_owned(), String::new()),
        ]);
        let subject = Subject { name: "web_shop", container_name: "shop-web-1", labels: &labels };
        Template::parse(text).map_err(|error| error.to_string())?.render(&subject)
    }

    #[test]
    fn templates_that_docker_users_write_are_carried_out() {
        for (text, expected) in [
            ("Host(`{{ normalize .Name }}`)", "Host(`web-shop`)"),
            ("Host(`{{ .Name | normalize | upper }}.test`)", "Host(`WEB-SHOP.test`)"),
            (
                "Host(`{{ index .Labels \"com.docker.compose.service\" }}.example.com`)",
                "Host(`web.example.com`)",
            ),
            ("Host(`{{ trimPrefix `/` .Name }}.docker.localhost`)", "Host(`web_shop.docker.localhost`)"),
            ("{{ trimSuffix \"-1\" .ContainerName }}", "shop-web"),
            ("{{ .Name | replace \"_\" \".\" }}", "web.shop"),
            ("{{ lower .Labels.domain }}", "shop.example"),
            ("{{ printf \"%s-%d%%\" .Name 7 }}", "web_shop-7%"),
            ("{{ if .Labels.domain }}a{{ else }}b{{ end }}", "a"),
            ("{{ if index .Labels \"no\" }}a{{ else if eq .Name \"web_shop\" }}b{{ else }}c{{ end }}", "b"),
            ("{{ if and (ne .Name \"x\") (not .Labels.empty) }}yes{{ end }}", "yes"),
            ("{{ if or .Labels.empty (hasPrefix \"web\" .Name) }}yes{{ end }}", "yes"),
            ("{{ with .Labels.domain }}{{ . }}{{ end }}", "Shop.Example"),
            ("{{ $n := normalize .Name }}{{ $n }}.{{ $n }}", "web-shop.web-shop"),
            ("a {{- \" b \" -}} c", "a b c"),
            ("{{/* nothing */}}x", "x"),
            ("{{ default \"d\" .Labels.empty }} {{ .Labels.empty | default \"e\" }}", "d e"),
            ("{{ index (splitList \"-\" .ContainerName) 0 }}", "shop"),
            ("{{ splitList \"-\" .ContainerName | join \".\" }}", "shop.web.1"),
            ("{{ regexReplaceAll \"_.*$\" .Name \"\" }}", "web"),
            ("{{ contains \"shop\" .Name }} {{ len .Name }} {{ trunc 3 .Name }}", "true 8 web"),
            ("{{ coalesce .Labels.empty .Name }} {{ ternary \"a\" \"b\" true }}", "web_shop a"),
            ("{{ quote .Name }}", "\"web_shop\""),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_template_is_said() {
        for (text, expected) in [
            ("{{ .Name", "is never closed"),
            ("{{ nomalize .Name }}", "there is no function `nomalize`: did you mean `normalize`?"),
            ("{{ env \"HOME\" }}", "there is no function `env`"),
            ("{{ range .Labels }}{{ end }}", "`range` is not carried out here"),
            ("{{ if .Name }}a", "`end` is missing"),
            ("{{ end }}", "`end` without"),
            ("{{ .Image }}", "there is no `.Image` here"),
            ("{{ index .Labels }}", "`index` is given 1 values"),
            ("{{ $x }}", "there is no variable `$x`"),
            ("{{ \"a }}", "is never closed"),
            ("{{ }}", "is empty"),
        ] {
            let error = render(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
