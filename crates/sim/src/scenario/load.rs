//! Scenario files, and the files that they stand on.

use std::path::Path;

use serde::Deserialize;

use super::Scenario;

/// Most bytes of a file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most files that stand on one another.
const MAX_BASES: usize = 4;

impl Scenario {
    /// Reads a file, and those that it stands on.
    ///
    /// # Errors
    /// Where a file can't be read or says what can't be: which file and field, what was given and what was
    /// expected.
    pub fn load(path: &Path) -> Result<Self, String> {
        let (mut table, text) = read(path)?;
        let mut based = false;
        let mut at = path.to_path_buf();
        for _ in 0..MAX_BASES {
            let Some(base) = table.remove("base") else {
                // Where the text is the whole, errors can show the line.
                let parsed = if based {
                    Self::deserialize(toml::Value::Table(table)).map_err(|e| e.to_string())
                } else {
                    toml::from_str(&text).map_err(|e| e.to_string())
                };
                let scenario = parsed.and_then(|s: Self| s.check().map(|()| s));
                return scenario.map_err(|why| format!("{}: {}", path.display(), why.trim_end()));
            };
            let Some(name) = base.as_str() else {
                return Err(format!(
                    "{}: base: {base} given, expected the name of a file",
                    at.display()
                ));
            };
            at = at.parent().unwrap_or(Path::new("")).join(name);
            let (below, _) = read(&at)?;
            table = lay_over(below, table);
            based = true;
        }
        Err(format!(
            "{}: base: files stand on one another more than {MAX_BASES} deep, the most",
            path.display()
        ))
    }

    /// Reads a scenario without a base.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self =
            toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        scenario.check()?;
        Ok(scenario)
    }
}

fn read(path: &Path) -> Result<(toml::Table, String), String> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(|e| format!("can't read {shown}: {e}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{shown} is over {MAX_FILE_BYTES} bytes, the most"));
    }
    let table = text
        .parse::<toml::Table>()
        .map_err(|e| format!("{shown}: {}", e.to_string().trim_end()))?;
    Ok((table, text))
}

fn lay_over(mut below: toml::Table, above: toml::Table) -> toml::Table {
    for (key, value) in above {
        let laid = match (below.remove(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                toml::Value::Table(lay_over(old, new))
            }
            (_, value) => value,
        };
        below.insert(key, laid);
    }
    below
}
