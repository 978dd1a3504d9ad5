//! Reading TOML by hand, so that every refusal says where it is, which field, what was given and what was
//! expected. Numbers are whole.

use std::io::Read as _;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// Most bytes of a file.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// A value given is shown up to this many characters.
const SHOWN: usize = 140;

/// Reads a file, or stdin where the path is `-`.
pub fn read(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
    };
    let shown = shown_path(path);
    read.map_err(|e| Failure::usage(format!("can't read {shown}: {e}")))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let most = crate::output::bytes(MAX_FILE_BYTES);
        return Err(Failure::usage(format!("{shown} is over {most}, the most")));
    }
    Ok(text)
}

/// A path as messages name it.
pub fn shown_path(path: &str) -> &str {
    if path == "-" { "stdin" } else { path }
}

/// A TOML table whose fields are taken one by one; [`Fields::done`] refuses what is left.
#[derive(Debug)]
pub struct Fields<'i> {
    /// The whole text, to find line numbers in.
    text: &'i str,
    /// Such as `region "normandie"`; empty at the top.
    what: String,
    table: DeTable<'i>,
    known: Vec<&'static str>,
}

impl<'i> Fields<'i> {
    /// The top of a document.
    ///
    /// # Errors
    /// Where the text is no TOML.
    pub fn parse(text: &'i str) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        Ok(Self {
            text,
            what: String::new(),
            table: table.into_inner(),
            known: Vec::new(),
        })
    }

    /// Says what this table is, for messages from now on.
    pub fn name(&mut self, what: String) {
        self.what = what;
    }

    /// A refusal of `field`, which was given as `given`.
    pub fn refuse(&self, field: &str, given: &str, expected: &str) -> String {
        format!("{}: {given} given, expected {expected}", self.path(field))
    }

    fn path(&self, field: &str) -> String {
        if self.what.is_empty() {
            field.to_owned()
        } else {
            format!("{}: {field}", self.what)
        }
    }

    fn refuse_value(&self, field: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> String {
        let line = 1 + self.text[..value.span().start].matches('\n').count();
        let source: String = self.text[value.span()].chars().take(SHOWN).collect();
        let given = match value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            _ if source.len() < value.span().len() => format!("{source}…"),
            _ => source,
        };
        format!("line {line}: {}", self.refuse(field, &given, expected))
    }

    fn take(&mut self, field: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.known.push(field);
        self.table.remove(field)
    }

    /// A whole number in `range`.
    pub fn number(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, String> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let number = match value.get_ref() {
            DeValue::Integer(int) => u64::from_str_radix(int.as_str(), int.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("a whole number, {} to {}", range.start(), range.end());
                Err(self.refuse_value(field, &value, &expected))
            }
        }
    }

    /// As [`Fields::number`], of a field that must be there.
    pub fn required_number(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let expected = format!("a whole number, {} to {}", range.start(), range.end());
        self.number(field, range)?
            .ok_or_else(|| self.refuse(field, "nothing", &expected))
    }

    /// A name of a pool or region, which must be there.
    pub fn required_name(&mut self, field: &'static str) -> Result<String, String> {
        let most = quota::limits::MAX_NAME_BYTES;
        let expected =
            format!("1 to {most} bytes of printable text without white space at either end");
        let Some(value) = self.take(field) else {
            return Err(self.refuse(field, "nothing", &expected));
        };
        match value.get_ref() {
            DeValue::String(name)
                if (1..=most).contains(&name.len())
                    && name.trim() == name
                    && !name.chars().any(char::is_control) =>
            {
                Ok(name.to_string())
            }
            _ => Err(self.refuse_value(field, &value, &expected)),
        }
    }

    /// Text of at most so many bytes, without control characters.
    pub fn text(&mut self, field: &'static str, most: usize) -> Result<Option<String>, String> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::String(text) if text.len() <= most && !text.chars().any(char::is_control) => {
                Ok(Some(text.to_string()))
            }
            _ => {
                let expected = format!("text of at most {most} bytes");
                Err(self.refuse_value(field, &value, &expected))
            }
        }
    }

    /// What `read` makes of a text; `expected` says what it can read.
    pub fn parsed<T>(
        &mut self,
        field: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let parsed = match value.get_ref() {
            DeValue::String(text) => read(text),
            _ => None,
        };
        match parsed {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(self.refuse_value(field, &value, expected)),
        }
    }

    /// `true` or `false`; `false` where nothing is said.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, String> {
        match self.take(field) {
            None => Ok(false),
            Some(value) => match value.get_ref() {
                DeValue::Boolean(flag) => Ok(*flag),
                _ => Err(self.refuse_value(field, &value, "true or false")),
            },
        }
    }

    /// A table, `[field]`.
    pub fn table(&mut self, field: &'static str) -> Result<Option<Fields<'i>>, String> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let expected = format!("a [{field}] table");
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            return Err(self.refuse_value(field, &value, &expected));
        }
        Ok(match value.into_inner() {
            DeValue::Table(table) => Some(Fields {
                text: self.text,
                what: self.path(field),
                table,
                known: Vec::new(),
            }),
            _ => None,
        })
    }

    /// An array of tables, `[[field]]`, in the order of the file. Each is named by its place until it says
    /// its own name.
    pub fn tables(&mut self, field: &'static str, most: usize) -> Result<Vec<Fields<'i>>, String> {
        let Some(value) = self.take(field) else {
            return Ok(Vec::new());
        };
        let expected = format!("[[{field}]] tables, at most {most}");
        let is_table = |v: &Spanned<DeValue<'_>>| matches!(v.get_ref(), DeValue::Table(_));
        match value.get_ref() {
            DeValue::Array(array) if !array.iter().all(is_table) => {
                return Err(self.refuse_value(field, &value, &expected));
            }
            DeValue::Array(array) if array.len() > most => {
                return Err(self.refuse(field, &array.len().to_string(), &expected));
            }
            DeValue::Array(_) => {}
            _ => return Err(self.refuse_value(field, &value, &expected)),
        }
        let DeValue::Array(array) = value.into_inner() else {
            return Ok(Vec::new());
        };
        let tables = array.into_iter().enumerate();
        Ok(tables
            .filter_map(|(i, value)| match value.into_inner() {
                DeValue::Table(table) => Some(Fields {
                    text: self.text,
                    what: self.path(&format!("{field} {}", i + 1)),
                    table,
                    known: Vec::new(),
                }),
                _ => None,
            })
            .collect())
    }

    /// Every value with the path of its keys, dotted; arrays are refused by whoever reads them.
    pub fn flat(self) -> Vec<(String, Spanned<DeValue<'i>>)> {
        let mut flat = Vec::new();
        flatten("", self.table, &mut flat);
        flat
    }

    /// Refuses the first field that nobody took.
    pub fn done(self) -> Result<(), String> {
        let Some((key, _)) = self.table.iter().next() else {
            return Ok(());
        };
        let line = 1 + self.text[..key.span().start].matches('\n').count();
        let known = self.known.join(", ");
        let path = self.path(key.get_ref());
        Err(format!(
            "line {line}: {path}: unknown field; expected one of {known}"
        ))
    }
}

fn flatten<'i>(prefix: &str, table: DeTable<'i>, into: &mut Vec<(String, Spanned<DeValue<'i>>)>) {
    for (key, value) in table {
        let path = match prefix {
            "" => key.get_ref().to_string(),
            prefix => format!("{prefix}.{}", key.get_ref()),
        };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => flatten(&path, table, into),
            other => into.push((path, Spanned::new(span, other))),
        }
    }
}
