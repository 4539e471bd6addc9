//! Recall against throughput, as a picture.

use anyhow::Context;
use plotters::prelude::*;
use std::path::Path;

/// Writes dots of (recall, searches a second) as SVG.
pub(super) fn plot(dots: &[(f64, f64)], file: &Path) -> anyhow::Result<()> {
    draw(dots, file).with_context(|| format!("can't write the plot {}", file.display()))
}

fn draw(dots: &[(f64, f64)], file: &Path) -> anyhow::Result<()> {
    let mut dots = dots.to_vec();
    dots.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let least = dots.first().map_or(0.9, |dot| dot.0);
    let most = dots.iter().map(|dot| dot.1).fold(1.0, f64::max);
    let area = SVGBackend::new(file, (720, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("recall and throughput", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((least - 0.01).max(0.0)..1.005, 0.0..most * 1.1)?;
    chart.configure_mesh().x_desc("recall against exact search").y_desc("searches a second, one thread").draw()?;
    chart.draw_series(LineSeries::new(dots.iter().copied(), &BLUE))?;
    chart.draw_series(dots.iter().map(|dot| Circle::new(*dot, 4, BLUE.filled())))?;
    area.present()?;
    Ok(())
}
