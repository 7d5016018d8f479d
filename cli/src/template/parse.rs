//! Text of a template to its parts.

use super::{Part, Pipe, TemplateError, Term};
use serde_json::Value;

pub(super) enum Piece {
    Text(String),
    Code(String),
}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(at) = rest.find("{{") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let Some(end) = after.find("}}") else {
            return Err(TemplateError::Parse("unclosed {{".to_owned()));
        };
        let code = &after[..end];
        let before = if trim_next {
            before.trim_start()
        } else {
            before
        };
        let code_inner = code.strip_prefix("- ");
        let before = match code_inner {
            Some(_) => before.trim_end(),
            None => before,
        };
        let code = code_inner.unwrap_or(code);
        let stripped = code.strip_suffix(" -");
        trim_next = stripped.is_some();
        out.push(Piece::Text(before.to_owned()));
        out.push(Piece::Code(stripped.unwrap_or(code).trim().to_owned()));
        rest = &after[end + 2..];
    }
    let rest = if trim_next { rest.trim_start() } else { rest };
    out.push(Piece::Text(rest.to_owned()));
    Ok(out)
}

/// Deepest nesting of blocks.
const MOST_NESTING: usize = 32;

/// Parts up to the word that ends the block.
pub(super) fn block(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Part>, Option<String>), TemplateError> {
    if depth > MOST_NESTING {
        return Err(TemplateError::Parse("nested too deeply".to_owned()));
    }
    let mut parts = Vec::new();
    while let Some(piece) = pieces.next() {
        let code = match piece {
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => {
                parts.push(Part::Text(text));
                continue;
            }
            Piece::Code(code) => code,
        };
        if code.starts_with("/*") {
            continue;
        }
        let (word, rest) = code.split_once(char::is_whitespace).unwrap_or((&code, ""));
        match word {
            "end" => return Ok((parts, Some("end".to_owned()))),
            "else" => {
                let rest = rest.trim();
                return Ok((parts, Some(format!("else {rest}").trim_end().to_owned())));
            }
            "range" | "if" | "with" => {
                parts.push(conditional(word, rest, pieces, depth)?);
            }
            _ => parts.push(Part::Print(pipe(&code)?)),
        }
    }
    Ok((parts, None))
}

fn conditional(
    word: &str,
    condition: &str,
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<Part, TemplateError> {
    let unclosed = || TemplateError::Parse(format!("{{{{{word}}}}} without {{{{end}}}}"));
    let condition = pipe(condition)?;
    let (then, end) = block(pieces, depth + 1)?;
    let end = end.ok_or_else(unclosed)?;
    let otherwise = match end.as_str() {
        "end" => Vec::new(),
        "else" => {
            let (parts, end) = block(pieces, depth + 1)?;
            if end.as_deref() != Some("end") {
                return Err(unclosed());
            }
            parts
        }
        other => match other.strip_prefix("else if ") {
            Some(inner) => vec![conditional("if", inner, pieces, depth + 1)?],
            None => {
                return Err(TemplateError::Parse(format!(
                    "{{{{{other}}}}} is not known"
                )));
            }
        },
    };
    Ok(match word {
        "range" => Part::Range(condition, then, otherwise),
        "with" => Part::With(condition, then, otherwise),
        _ => Part::If(condition, then, otherwise),
    })
}

fn pipe(code: &str) -> Result<Pipe, TemplateError> {
    let mut letters = code.chars().peekable();
    let pipe = calls(&mut letters, code, 0)?;
    if letters.next().is_some() {
        return Err(TemplateError::Parse(format!("unexpected ) in {code:?}")));
    }
    Ok(pipe)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Calls up to the end, or up to a closing bracket that is left to the caller.
fn calls(letters: &mut Letters<'_>, code: &str, depth: usize) -> Result<Pipe, TemplateError> {
    let bad = |what: &str| TemplateError::Parse(format!("{what} in {code:?}"));
    if depth > MOST_NESTING {
        return Err(bad("brackets too deep"));
    }
    let mut pipe: Pipe = vec![Vec::new()];
    while let Some(&letter) = letters.peek() {
        let term = match letter {
            ' ' | '\t' | '\n' => {
                letters.next();
                continue;
            }
            ')' => break,
            '|' => {
                letters.next();
                pipe.push(Vec::new());
                continue;
            }
            '(' => {
                letters.next();
                let inner = calls(letters, code, depth + 1)?;
                if letters.next() != Some(')') {
                    return Err(bad("unclosed ("));
                }
                Term::Group(inner)
            }
            '"' | '`' => {
                letters.next();
                let mut text = String::new();
                loop {
                    match letters.next() {
                        None => return Err(bad("unclosed quote")),
                        Some(end) if end == letter => break,
                        Some('\\') if letter == '"' => match letters.next() {
                            Some('n') => text.push('\n'),
                            Some('t') => text.push('\t'),
                            Some(other) => text.push(other),
                            None => return Err(bad("unclosed quote")),
                        },
                        Some(other) => text.push(other),
                    }
                }
                Term::Literal(Value::String(text))
            }
            _ => {
                let mut word = String::new();
                while let Some(&next) = letters.peek() {
                    if next.is_whitespace() || "()|\"`".contains(next) {
                        break;
                    }
                    word.push(next);
                    letters.next();
                }
                term(&word).ok_or_else(|| bad(&format!("unexpected {word:?}")))?
            }
        };
        if let Some(call) = pipe.last_mut() {
            call.push(term);
        }
    }
    if pipe.iter().any(Vec::is_empty) {
        return Err(bad("missing value"));
    }
    Ok(pipe)
}

fn term(word: &str) -> Option<Term> {
    if let Some(path) = word
        .strip_prefix('$')
        .or(Some(word))
        .filter(|p| p.starts_with('.') || word == "$")
    {
        let names: Vec<String> = path
            .split('.')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        return Some(Term::Path {
            from_root: word.starts_with('$'),
            names,
        });
    }
    match word {
        "true" => return Some(Term::Literal(true.into())),
        "false" => return Some(Term::Literal(false.into())),
        _ => {}
    }
    if let Ok(number) = word.parse::<i64>() {
        return Some(Term::Literal(number.into()));
    }
    let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| Term::Name(word.to_owned()))
}
