//! What a breaker's condition may ask, and the counts that it is answered from: only those that it asks for are kept.

use std::time::Duration;

use super::rolling::{Histogram, Window};
use crate::middleware::expression::{self, Condition, Given, Kind, Value};

/// A function of the condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    /// How many of all answers were failures of the network: 502 and 504.
    NetworkErrorRatio,
    /// How many answers with a status of the first range there were for each of the second; either without its end.
    ResponseCodeRatio([u16; 4]),
    /// Milliseconds within which so many percent were answered.
    LatencyAtQuantile(f64),
    /// How many answers there were.
    RequestThreshold,
}

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Condition<Function>, String> {
    expression::parse(text, &build)
}

fn build(name: &str, values: &[Value]) -> Result<(Function, Kind), String> {
    let none = |function| match values {
        [] => Ok(function),
        _ => Err(format!("`{name}` takes no values")),
    };
    let function = match name {
        "NetworkErrorRatio" => none(Function::NetworkErrorRatio)?,
        "RequestThreshold" => none(Function::RequestThreshold)?,
        "LatencyAtQuantileMS" => match values {
            [Value::Number(quantile)] if (0.0..=100.0).contains(quantile) => {
                Function::LatencyAtQuantile(*quantile)
            }
            [Value::Number(_)] => return Err(format!("`{name}`: a quantile is 0 to 100")),
            _ => return Err(format!("`{name}` takes one value, the quantile: 50.0 is the median")),
        },
        "ResponseCodeRatio" => Function::ResponseCodeRatio(codes(values).ok_or_else(|| {
            format!("`{name}` takes four values, status codes: those from the first to before the second, for each \
                     of those from the third to before the fourth")
        })?),
        _ => {
            return Err(format!(
                "there is no `{name}`: known are NetworkErrorRatio, ResponseCodeRatio, LatencyAtQuantileMS and \
                 RequestThreshold"
            ));
        }
    };
    Ok((function, Kind::Number))
}

fn codes(values: &[Value]) -> Option<[u16; 4]> {
    let code = |value: &Value| match value {
        // Checked to be a whole number of that size.
        #[allow(clippy::cast_sign_loss)]
        Value::Number(number) if number.fract() == 0.0 && (0.0..=1000.0).contains(number) => {
            Some(*number as u16)
        }
        _ => None,
    };
    let codes: Vec<u16> = values.iter().map(code).collect::<Option<_>>()?;
    codes.try_into().ok()
}

/// The counts.
#[derive(Debug)]
pub(super) struct Gauges {
    total: Window,
    failed: Window,
    ratios: Vec<Ratio>,
    latency: Option<Box<Histogram>>,
}

#[derive(Debug)]
struct Ratio {
    codes: [u16; 4],
    part: Window,
    whole: Window,
}

impl Gauges {
    /// Those that the condition asks for.
    pub(super) fn of(condition: &Condition<Function>) -> Self {
        let mut gauges =
            Self { total: Window::default(), failed: Window::default(), ratios: Vec::new(), latency: None };
        condition.visit(&mut |function| match function {
            Function::ResponseCodeRatio(codes) if gauges.ratios.iter().all(|ratio| ratio.codes != *codes) => {
                let (part, whole) = (Window::default(), Window::default());
                gauges.ratios.push(Ratio { codes: *codes, part, whole });
            }
            Function::LatencyAtQuantile(_) => gauges.latency = Some(Box::default()),
            _ => {}
        });
        gauges
    }

    pub(super) fn record(&self, now: u64, status: u16, took: Duration) {
        self.total.add(now);
        if matches!(status, 502 | 504) {
            self.failed.add(now);
        }
        for Ratio { codes: [from, to, all_from, all_to], part, whole } in &self.ratios {
            if (*from..*to).contains(&status) {
                part.add(now);
            }
            if (*all_from..*all_to).contains(&status) {
                whole.add(now);
            }
        }
        if let Some(latency) = &self.latency {
            latency.add(now, took);
        }
    }

    /// What a function gives at this time.
    pub(super) fn give(&self, function: &Function, now: u64) -> Given<'static> {
        let ratio = |part: &Window, whole: &Window| match whole.count(now) {
            0 => 0.0,
            whole => part.count(now) as f64 / whole as f64,
        };
        Given::Number(match function {
            Function::NetworkErrorRatio => ratio(&self.failed, &self.total),
            Function::RequestThreshold => self.total.count(now) as f64,
            Function::ResponseCodeRatio(codes) => self
                .ratios
                .iter()
                .find(|ratio| ratio.codes == *codes)
                .map_or(0.0, |found| ratio(&found.part, &found.whole)),
            Function::LatencyAtQuantile(quantile) => {
                self.latency.as_ref().map_or(0.0, |latency| latency.at_quantile(*quantile).as_millis() as f64)
            }
        })
    }

    pub(super) fn reset(&self) {
        self.total.reset();
        self.failed.reset();
        for ratio in &self.ratios {
            ratio.part.reset();
            ratio.whole.reset();
        }
        if let Some(latency) = &self.latency {
            latency.reset();
        }
    }
}
