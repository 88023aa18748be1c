//! An action's parameters as Juju hands them over. A wrong one is told by its name, with what is accepted.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::juju::Tools;

/// The parameters of this run, defaults of `actions.yaml` included.
#[derive(Debug, Default)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// As Juju would hand them over.
    #[cfg(test)]
    pub fn of(values: Value) -> Parameters {
        Parameters(values.as_object().cloned().unwrap_or_default())
    }

    /// Asks Juju.
    ///
    /// # Errors
    /// Juju does not answer.
    pub async fn read(tools: &Tools) -> Result<Parameters> {
        tools.action_parameters().await.map(Parameters).context("cannot read the action's parameters")
    }

    /// A text; `None` when missing or empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(other) => bail!("{name}: {other} is not a text"),
        }
    }

    /// A switch; off when missing.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, name: &str) -> Result<bool> {
        self.flag_or(name, false)
    }

    /// A switch with another default.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => bail!("{name}: {other} is neither true nor false"),
        }
    }

    /// A whole number from 1 up, as a number or as text; `None` when missing or empty.
    ///
    /// # Errors
    /// It is something else.
    pub fn positive(&self, name: &str) -> Result<Option<i64>> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            // Juju may hand over whole numbers as floating point: `5.0`, or `1e+06` as text of the same.
            Some(Value::Number(number)) => {
                number.as_i64().or_else(|| format!("{:.0}", whole(number.as_f64()?)?).parse().ok())
            }
            Some(_) => None,
        };
        match number {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => bail!("{name}: {} is not a whole number from 1 up", self.0[name]),
        }
    }
}

fn whole(number: f64) -> Option<f64> {
    (number.fract() == 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(value: Value) -> Parameters {
        Parameters([("it".to_owned(), value)].into_iter().collect())
    }

    #[test]
    fn what_is_missing_or_empty_is_none() {
        for parameters in [Parameters::default(), given(Value::Null), given(json!(" "))] {
            assert_eq!(parameters.positive("it").unwrap(), None);
            assert_eq!(parameters.text("it").unwrap(), None);
        }
        assert!(!Parameters::default().flag("it").unwrap());
    }

    #[test]
    fn numbers_are_read_in_every_form_that_juju_has() {
        for value in [json!(1_000_000), json!("1000000"), json!(1e6), json!(" 1000000 ")] {
            assert_eq!(given(value).positive("it").unwrap(), Some(1_000_000));
        }
        for value in
            [json!(0), json!(-5), json!(1.5), json!("five"), json!(true), json!("99999999999999999999")]
        {
            let error = given(value.clone()).positive("it").unwrap_err().to_string();
            assert_eq!(error, format!("it: {value} is not a whole number from 1 up"));
        }
    }

    #[test]
    fn another_type_is_told_by_the_parameters_name() {
        assert_eq!(given(json!(1)).text("it").unwrap_err().to_string(), "it: 1 is not a text");
        let error = given(json!("yes")).flag("it").unwrap_err().to_string();
        assert_eq!(error, "it: \"yes\" is neither true nor false");
        assert!(given(json!(true)).flag("it").unwrap());
    }
}
