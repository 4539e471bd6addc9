//! A chart's title and the numbers it keeps a copy of.

use crate::parse::ParseError;
use crate::parse::docx::xml::{self, Step};
use quick_xml::events::BytesStart;
use std::collections::BTreeMap;

/// Series and points of a series that are read.
const SERIES_MAX: usize = 64;
const POINTS_MAX: u32 = 2_000;

/// Values by the index of their point.
type Points = BTreeMap<u32, String>;

#[derive(Debug, Default)]
struct Series {
    name: Points,
    categories: Points,
    values: Points,
}

/// A chart; a title of axes is none of the chart's.
#[derive(Debug, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    series: Vec<Series>,
}

/// Where the next value belongs.
#[derive(Debug, Default)]
struct Reading {
    chart: Chart,
    /// `tx`, `cat` or `val` of an open series.
    part: Option<&'static str>,
    point: u32,
    is_value: bool,
    is_plot: bool,
    is_title: bool,
    is_text: bool,
}

impl Chart {
    pub(super) fn read(xml: &[u8]) -> Result<Self, ParseError> {
        let mut reading = Reading::default();
        xml::walk(xml, |step| match step {
            Step::Open { name, element } => reading.begin(name, element),
            Step::Close { name } => reading.end(name),
            Step::Text(text) => reading.take(&text),
        })?;
        Ok(reading.chart)
    }

    /// One row for each category, one column for each series; the first row names them.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let Some(first) = self.series.first() else { return Vec::new() };
        let header = std::iter::once("Category".to_owned()).chain(self.series.iter().map(Series::name));
        let points: BTreeMap<u32, ()> = self.series.iter().flat_map(|series| series.values.keys().map(|point| (*point, ()))).collect();
        let cell = |points: &Points, point: u32| points.get(&point).cloned().unwrap_or_default();
        let row = |point: u32| {
            let values = self.series.iter().map(|series| cell(&series.values, point));
            std::iter::once(cell(&first.categories, point)).chain(values).collect()
        };
        std::iter::once(header.collect()).chain(points.into_keys().map(row)).collect()
    }
}

impl Series {
    fn name(&self) -> String {
        self.name.values().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Reading {
    fn begin(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "plotArea" => self.is_plot = true,
            "title" => self.is_title = !self.is_plot,
            "t" => self.is_text = true,
            "ser" if self.chart.series.len() < SERIES_MAX => self.chart.series.push(Series::default()),
            "tx" => self.part = Some("tx"),
            "cat" | "xVal" => self.part = Some("cat"),
            "val" | "yVal" => self.part = Some("val"),
            "pt" => self.point = xml::attribute(element, "idx").and_then(|index| index.parse().ok()).unwrap_or_default(),
            "v" => self.is_value = true,
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "plotArea" => self.is_plot = false,
            "title" => self.is_title = false,
            "t" => self.is_text = false,
            "tx" | "cat" | "xVal" | "val" | "yVal" => self.part = None,
            "v" => self.is_value = false,
            _ => {}
        }
    }

    fn take(&mut self, text: &str) {
        if self.is_title && self.is_text {
            self.chart.title.push_str(text);
        }
        if !(self.is_plot && self.is_value && self.point < POINTS_MAX) {
            return;
        }
        let Some(series) = self.chart.series.last_mut() else { return };
        let points = match self.part {
            Some("tx") => &mut series.name,
            Some("cat") => &mut series.categories,
            Some("val") => &mut series.values,
            _ => return,
        };
        points.entry(self.point).or_default().push_str(text);
    }
}
