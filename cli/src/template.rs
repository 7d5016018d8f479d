//! `--format` templates: the part of Go's text/template that people write on a
//! command line: `{{.Name}}`, `{{json .}}`, `{{range .Ports}}…{{end}}`,
//! `{{if .Leader}}…{{else}}…{{end}}`, pipes, and a few functions.

mod functions;
mod parse;

use functions::{apply, show, truth};
use serde_json::Value;

/// A template that cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Its text is wrong.
    #[error("template parsing error: {0}")]
    Parse(String),
    /// The value has no such field.
    #[error("template: there is no field {field}; there are {known}")]
    NoField {
        /// The field asked for.
        field: String,
        /// Those there are.
        known: String,
    },
    /// A function cannot work on what it was given.
    #[error("template: {0}")]
    Call(String),
}

/// What a missing field becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error: rows of tables have a fixed set of fields.
    Refused,
    /// `<no value>`: objects leave out what is empty.
    NoValue,
}

/// A template, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Print(Pipe),
    Range(Pipe, Vec<Part>, Vec<Part>),
    If(Pipe, Vec<Part>, Vec<Part>),
    With(Pipe, Vec<Part>, Vec<Part>),
}

/// Calls, each fed with the result of the one before as its last argument.
type Pipe = Vec<Vec<Term>>;

#[derive(Debug, Clone, PartialEq)]
enum Term {
    /// `.A.B`; from the outermost value where it began with `$`.
    Path {
        from_root: bool,
        names: Vec<String>,
    },
    Literal(Value),
    Name(String),
    Group(Pipe),
}

impl Template {
    /// Reads a template. `\t` and `\n` stand for tab and new line.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut pieces = parse::pieces(&text)?.into_iter();
        let (parts, end) = parse::block(&mut pieces, 0)?;
        match end {
            None => Ok(Template(parts)),
            Some(word) => Err(TemplateError::Parse(format!("unexpected {{{{{word}}}}}"))),
        }
    }

    /// Applies the template to a value.
    ///
    /// # Errors
    /// When it asks for what is not there.
    pub fn render(&self, value: &Value, missing: Missing) -> Result<String, TemplateError> {
        let mut out = String::new();
        let scope = Scope {
            root: value,
            missing,
        };
        scope.run(&self.0, value, &mut out)?;
        Ok(out)
    }
}

struct Scope<'a> {
    root: &'a Value,
    missing: Missing,
}

impl Scope<'_> {
    fn run(&self, parts: &[Part], dot: &Value, out: &mut String) -> Result<(), TemplateError> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Print(pipe) => out.push_str(&show(&self.pipe(pipe, dot)?)),
                Part::If(pipe, then, otherwise) => {
                    let branch = if truth(&self.pipe(pipe, dot)?) {
                        then
                    } else {
                        otherwise
                    };
                    self.run(branch, dot, out)?;
                }
                Part::With(pipe, then, otherwise) => {
                    let value = self.pipe(pipe, dot)?;
                    match truth(&value) {
                        true => self.run(then, &value, out)?,
                        false => self.run(otherwise, dot, out)?,
                    }
                }
                Part::Range(pipe, then, otherwise) => {
                    let items: Vec<Value> = match self.pipe(pipe, dot)? {
                        Value::Array(items) => items,
                        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
                        _ => Vec::new(),
                    };
                    if items.is_empty() {
                        self.run(otherwise, dot, out)?;
                    }
                    for item in &items {
                        self.run(then, item, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut carried: Option<Value> = None;
        for call in pipe {
            carried = Some(self.call(call, dot, carried)?);
        }
        Ok(carried.unwrap_or(Value::Null))
    }

    fn call(
        &self,
        call: &[Term],
        dot: &Value,
        carried: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let [first, rest @ ..] = call else {
            return Ok(Value::Null);
        };
        let Term::Name(function) = first else {
            if !rest.is_empty() || carried.is_some() {
                return Err(TemplateError::Call(
                    "only functions take arguments".to_owned(),
                ));
            }
            return self.term(first, dot);
        };
        let mut arguments = rest
            .iter()
            .map(|term| self.term(term, dot))
            .collect::<Result<Vec<_>, _>>()?;
        arguments.extend(carried);
        apply(function, &arguments)
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, TemplateError> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Group(pipe) => self.pipe(pipe, dot),
            Term::Name(name) => apply(name, &[]),
            Term::Path { from_root, names } => {
                let mut value = if *from_root { self.root } else { dot };
                for name in names {
                    value = match (value.get(name), self.missing) {
                        (Some(value), _) => value,
                        (None, Missing::NoValue) => return Ok(Value::Null),
                        (None, Missing::Refused) => {
                            let known = value.as_object().map_or_else(
                                || "none".to_owned(),
                                |map| {
                                    map.keys()
                                        .map(|k| format!(".{k}"))
                                        .collect::<Vec<_>>()
                                        .join(" ")
                                },
                            );
                            return Err(TemplateError::NoField {
                                field: format!(".{name}"),
                                known,
                            });
                        }
                    };
                }
                Ok(value.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, TemplateError> {
        let value = json!({
            "Name": "web",
            "ID": "abc",
            "Spec": {"Labels": {"a.b": "c"}, "Replicas": 3, "Ports": [80, 443]},
            "Leader": false,
        });
        Template::parse(template)?.render(&value, Missing::Refused)
    }

    #[test]
    fn what_people_write_works() {
        for (template, text) in [
            ("{{.Name}} {{.ID}}", "web abc"),
            ("{{ .Spec.Replicas }}\\t{{.Name}}", "3\tweb"),
            ("{{json .Spec.Labels}}", r#"{"a.b":"c"}"#),
            ("{{.Spec.Labels | json}}", r#"{"a.b":"c"}"#),
            ("{{.Spec.Ports}} {{len .Spec.Ports}}", "[80 443] 2"),
            ("{{range .Spec.Ports}}<{{.}}>{{end}}", "<80><443>"),
            (
                "{{range .Spec.Ports}}{{$.Name}}:{{.}} {{end}}",
                "web:80 web:443 ",
            ),
            ("{{if .Leader}}yes{{else}}no{{end}}", "no"),
            (
                "{{if .Leader}}a{{else if eq .Name \"web\"}}b{{else}}c{{end}}",
                "b",
            ),
            ("{{with .Spec}}{{.Replicas}}{{end}}", "3"),
            ("{{index .Spec.Labels \"a.b\"}}", "c"),
            ("{{(index .Spec.Ports 1)}}", "443"),
            ("{{join (split .Name \"e\") \"-\"}}", "w-b"),
            ("{{printf \"%s/%q\" .Name .ID}}", "web/\"abc\""),
            ("{{upper .Name}} {{.Name | title}}", "WEB Web"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{not .Leader}}", "true"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_cannot_work_says_why() {
        for (template, says) in [
            (
                "{{.Nam}}",
                "no field .Nam; there are .Name .ID .Spec .Leader",
            ),
            ("{{.Name", "unclosed {{"),
            ("{{range .Spec.Ports}}", "{{range}} without {{end}}"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{foo .Name}}", "function \"foo\" is not defined"),
            ("{{(.Name}}", "unclosed ("),
            ("{{.Name)}}", "unexpected )"),
            ("{{index .Spec.Ports 5}}", "index 5 is out of range"),
            ("{{}}", "missing value"),
            ("{{.Name | }}", "missing value"),
        ] {
            let text = render(template).unwrap_err().to_string();
            assert!(text.contains(says), "{template}: {text}");
        }
    }

    #[test]
    fn objects_leave_out_what_is_empty() -> Result<(), TemplateError> {
        let template = Template::parse("{{.A.B}}")?;
        assert_eq!(template.render(&json!({}), Missing::NoValue)?, "<no value>");
        Ok(())
    }
}
