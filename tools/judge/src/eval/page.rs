//! The report as one page that needs nothing else: the table, and plots as inline SVG.

use super::metrics::{METRICS, Metric, Unit};
use super::plot::{Bar, Line, Point, bars, escape, lines, mark, scatter};
use super::report::{Report, cell, label, layer_errors};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(report: &Report) -> String {
    let labels = report.labels();
    let title = escape(&format!("Models compared: {}", labels.join(", ")));
    let mut page = format!(
        "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n\
         <meta name='viewport' content='width=device-width'>\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <h1>Models compared</h1>\n<p class='soft'>{}. siskin {}.</p>\n",
        escape(&report.subject()),
        env!("CARGO_PKG_VERSION")
    );
    legend(&mut page, &labels);
    table(&mut page, report, &labels);
    requirements(&mut page, report, &labels);
    quality(&mut page, report, &labels);
    tasks(&mut page, report, &labels);
    costs(&mut page, report, &labels);
    weights(&mut page, report, &labels);
    page
}

fn legend(page: &mut String, labels: &[String]) {
    page.push_str("<ul class='legend' aria-label='Models and their marks'>");
    for (series, label) in labels.iter().enumerate() {
        let mark = mark(series, 8.0, 8.0);
        let _ = write!(
            page,
            "<li><svg viewBox='0 0 16 16' aria-hidden='true'>{mark}</svg>{}</li>",
            escape(label)
        );
    }
    page.push_str("</ul>\n");
}

fn table(page: &mut String, report: &Report, labels: &[String]) {
    page.push_str("<h2>Figures</h2>\n<div class='scroll'><table><thead><tr><th></th>");
    labels.iter().for_each(|label| page.push_str(&format!("<th scope='col'>{}</th>", escape(label))));
    page.push_str("</tr></thead>\n<tbody>\n");
    for (name, metric) in report.metrics() {
        let class = if name.contains('.') { " class='kind'" } else { "" };
        let _ = write!(page, "<tr{class}><th scope='row'>{}</th>", escape(label(&name, metric).trim()));
        let values = || report.rows.iter().filter_map(|row| row.evaluation.figures.get(&name).copied());
        let best = values().reduce(if metric.more { f64::max } else { f64::min });
        let alike = values().all(|value| Some(value) == best);
        for row in &report.rows {
            let value = row.evaluation.figures.get(&name).copied();
            let class = match value {
                None => " class='missing'",
                Some(_) if value == best && !alike => " class='best'",
                Some(_) => "",
            };
            let _ = write!(page, "<td{class}>{}</td>", cell(&row.evaluation.figures, &name, metric));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n<p class='soft'>The best of each row is bold.</p>\n");
}

fn requirements(page: &mut String, report: &Report, labels: &[String]) {
    if report.requirements.is_empty() {
        return;
    }
    page.push_str("<h2>Bounds</h2>\n<div class='scroll'><table><thead><tr><th></th>");
    labels.iter().for_each(|label| page.push_str(&format!("<th scope='col'>{}</th>", escape(label))));
    page.push_str("</tr></thead>\n<tbody>\n");
    for requirement in &report.requirements {
        let _ = write!(page, "<tr><th scope='row'>{}</th>", escape(&requirement.to_string()));
        for row in &report.rows {
            page.push_str(match row.evaluation.figures.get(&requirement.metric) {
                None => "<td class='missing'>not measured</td>",
                Some(&value) if requirement.holds(value) => "<td class='pass'>kept</td>",
                Some(_) => "<td class='fail'>not kept</td>",
            });
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

/// A plot of each quality over the size of the file.
fn quality(page: &mut String, report: &Report, labels: &[String]) {
    let plots: Vec<_> = ["ppl", "kl", "same_top", "exact"]
        .into_iter()
        .filter_map(|name| {
            let metric = Metric::find(name)?;
            let most = (metric.unit == Unit::Percent).then_some(100.0);
            let scale = most.unwrap_or(1.0);
            let points: Vec<_> = report
                .rows
                .iter()
                .zip(labels)
                .enumerate()
                .filter_map(|(series, (row, label))| {
                    let figures = &row.evaluation.figures;
                    let (&x, &y) = (figures.get("file_mib")?, figures.get(name)?);
                    Some(Point { series, label, x, y: scale * y })
                })
                .collect();
            let better = if metric.more { "higher is better" } else { "lower is better" };
            let what = format!("{} over size of the file", capital(metric.label));
            let axis = format!("{}: {better}", metric.label);
            (!points.is_empty())
                .then(|| figure(&what, "", &scatter(&what, "file, MiB", &axis, &points, most)))
        })
        .collect();
    section(page, "Quality over size", "", &plots);
}

/// Bars for each kind of task.
fn tasks(page: &mut String, report: &Report, labels: &[String]) {
    let of_tasks = |(_, metric): &(String, &'static Metric)| metric.needs == "--tasks";
    let plots: Vec<_> = report
        .metrics()
        .iter()
        .filter(|metric| of_tasks(metric))
        .map(|(name, metric)| {
            let kind = name.split_once('.').map_or("all tasks", |(_, kind)| kind);
            let what = format!("{}: {}", capital(metric.label), kind);
            figure(&what, "", &bars(&what, &metric_bars(report, labels, name, metric), Some(1.0)))
        })
        .collect();
    section(page, "Answers to tasks", "A full bar is 100 %.", &plots);
}

/// Bars of time, memory and energy.
fn costs(page: &mut String, report: &Report, labels: &[String]) {
    let costs = METRICS.iter().filter(|metric| metric.needs.is_empty());
    let plots: Vec<_> = costs
        .filter_map(|metric| {
            let better = if metric.more { "more is better" } else { "less is better" };
            let what = format!("{} ({better})", capital(metric.label));
            let found = metric_bars(report, labels, metric.name, metric);
            (!found.is_empty()).then(|| figure(&what, "", &bars(&what, &found, None)))
        })
        .collect();
    section(page, "Speed, memory and size", "", &plots);
}

fn metric_bars<'a>(report: &Report, labels: &'a [String], name: &str, metric: &Metric) -> Vec<Bar<'a>> {
    let rows = report.rows.iter().zip(labels).enumerate();
    let bar = |(series, (row, label)): (usize, (&super::report::Row, &'a String))| {
        let value = *row.evaluation.figures.get(name)?;
        Some(Bar { series, label, value, text: metric.show(value) })
    };
    rows.filter_map(bar).collect()
}

/// The error of the weights by layer.
fn weights(page: &mut String, report: &Report, labels: &[String]) {
    let rows = report.rows.iter().zip(labels).enumerate();
    let found: Vec<_> = rows
        .map(|(series, (row, label))| {
            let percent = |(layer, error): (u32, f64)| (layer, 100.0 * error);
            let points = layer_errors(&row.evaluation.weights).into_iter().map(percent).collect();
            Line { series, label, points }
        })
        .filter(|line: &Line<'_>| !line.points.is_empty())
        .collect();
    if found.is_empty() {
        return;
    }
    let what = "Relative RMS error of each layer's weights";
    let plot = lines(what, "layer", "weight error, %: lower is better", &found);
    let note = "The matrices of a layer in the file, decoded, less those of the reference: the root of the sum of \
                squares, relative to that of the reference's weights. It tells where a file is coarse, not how much \
                that harms the answers: KL divergence tells that.";
    section(page, "Error of the weights", note, &[figure(what, "wide", &plot)]);
}

fn figure(title: &str, class: &str, svg: &str) -> String {
    format!("<figure class='{class}'><h3>{}</h3>{svg}</figure>\n", escape(title))
}

fn section(page: &mut String, title: &str, note: &str, plots: &[String]) {
    if plots.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{}</h2>", escape(title));
    if !note.is_empty() {
        let _ = writeln!(page, "<p class='soft'>{}</p>", escape(note));
    }
    let _ = writeln!(page, "<div class='plots'>\n{}</div>", plots.concat());
}

/// A text whose first letter is large.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
