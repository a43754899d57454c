//! Plots as SVG that takes its colours from the page's style: class `sN` for the model of number N.

use std::fmt::Write;

/// Colours that models have; more models share them.
const COLOURS: usize = 8;
const WIDTH: f64 = 480.0;
/// Approximate width of a character of a plot's text.
const CHARACTER: f64 = 6.6;

/// A name for HTML's eyes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The style class of a model's marks.
pub(super) fn class(series: usize) -> String {
    format!("s{}", series % COLOURS)
}

/// A mark that the model keeps in all plots, at a place: no two of the first eight look alike without colour.
pub(super) fn mark(series: usize, x: f64, y: f64) -> String {
    let class = class(series);
    match series % 4 {
        0 => format!("<circle class='{class}' cx='{x:.1}' cy='{y:.1}' r='5.5'/>"),
        1 => format!("<rect class='{class}' x='{:.1}' y='{:.1}' width='10' height='10'/>", x - 5.0, y - 5.0),
        2 => polygon(&class, x, y, &[(0.0, -6.5), (6.5, 5.0), (-6.5, 5.0)]),
        _ => polygon(&class, x, y, &[(0.0, -7.0), (7.0, 0.0), (0.0, 7.0), (-7.0, 0.0)]),
    }
}

fn polygon(class: &str, x: f64, y: f64, corners: &[(f64, f64)]) -> String {
    let points: Vec<_> = corners.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
    format!("<polygon class='{class}' points='{}'/>", points.join(" "))
}

/// An axis: the numbers from `low` to `high` on the pixels from `start` to `end`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// An axis for some values, with room around them and round numbers at its ends.
    fn around(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        // A single value stands in the middle of what is near to it.
        let margin = if high > low { 0.08 * (high - low) } else { (0.1 * high.abs()).max(1e-9) };
        // No negative numbers where none are.
        let below = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
        Axis::over(below, high + margin, start, end)
    }

    fn over(low: f64, high: f64, start: f64, end: f64) -> Axis {
        let step = round_step((high - low) / 4.0);
        Axis { low: (low / step).floor() * step, high: (high / step).ceil() * step, step, start, end }
    }

    fn place(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// The round numbers along the axis, each with its text.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        let count = ((self.high - self.low) / self.step).round() as usize;
        let (low, step) = (self.low, self.step);
        (0..=count).map(move |n| low + n as f64 * step).map(move |value| (value, format!("{value:.digits$}")))
    }
}

/// 1, 2 or 5 times a power of ten: the first that is no smaller than `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-12).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&step| step >= least * 0.999).unwrap_or(power)
}

fn open(height: f64, what: &str) -> String {
    let what = escape(what);
    format!("<svg viewBox='0 0 {WIDTH} {height:.0}' role='img' aria-label='{what}'><title>{what}</title>")
}

/// A model's place in a plot.
#[derive(Clone, Debug)]
pub(super) struct Point<'a> {
    pub(super) series: usize,
    pub(super) label: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Points with their names beside them.
///
/// No point is above `most`, and no number on the axis.
pub(super) fn scatter(
    what: &str,
    x_label: &str,
    y_label: &str,
    points: &[Point<'_>],
    most: Option<f64>,
) -> String {
    const HEIGHT: f64 = 330.0;
    let x = Axis::around(points.iter().map(|point| point.x), 64.0, WIDTH - 20.0);
    let mut y = Axis::around(points.iter().map(|point| point.y), HEIGHT - 50.0, 34.0);
    y.high = most.map_or(y.high, |most| y.high.min(most));
    let mut svg = open(HEIGHT, what);
    grid(&mut svg, &y);
    for (value, text) in x.ticks() {
        let _ = write!(
            svg,
            "<text class='tick' x='{:.1}' y='{:.1}' text-anchor='middle'>{text}</text>",
            x.place(value),
            y.start + 20.0
        );
    }
    labels(&mut svg, &x, &y, x_label, y_label);
    // No label covers another model's mark.
    let places = points.iter().map(|point| (x.place(point.x), y.place(point.y)));
    let mut taken: Vec<_> = places.map(|(px, py)| (px - 7.0, px + 7.0, py + 4.0)).collect();
    for point in points {
        let (px, py) = (x.place(point.x), y.place(point.y));
        let width = CHARACTER * point.label.chars().count() as f64;
        let (left, anchor) =
            if px + 12.0 + width > WIDTH { (px - 10.0 - width, "end") } else { (px + 10.0, "start") };
        let text_y = free_line(&mut taken, left, left + width, py + 4.0);
        let text_x = if anchor == "end" { px - 10.0 } else { px + 10.0 };
        let _ = write!(
            svg,
            "<g><title>{}</title>{}<text x='{text_x:.1}' y='{text_y:.1}' text-anchor='{anchor}'>{}</text></g>",
            escape(&format!("{}: {x_label} {:.4}, {y_label} {:.5}", point.label, point.x, point.y)),
            mark(point.series, px, py),
            escape(point.label)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The height nearest to `y` at which a text from `left` to `right` covers none of those before.
fn free_line(taken: &mut Vec<(f64, f64, f64)>, left: f64, right: f64, y: f64) -> f64 {
    const LINE: f64 = 15.0;
    let free =
        |at: f64| taken.iter().all(|&(l, r, other)| right < l || r < left || (at - other).abs() >= LINE);
    let moves = (0..40).map(|n| f64::from(n / 2) * LINE * if n % 2 == 0 { 1.0 } else { -1.0 });
    let found = moves.map(|by| y + by).find(|&at| free(at)).unwrap_or(y);
    taken.push((left, right, found));
    found
}

/// A line across the plot for each round number of a vertical axis.
fn grid(svg: &mut String, y: &Axis) {
    for (value, text) in y.ticks() {
        let at = y.place(value);
        let _ = write!(
            svg,
            "<line class='grid' x1='64' x2='{:.1}' y1='{at:.1}' y2='{at:.1}'/>\
             <text class='tick' x='56' y='{:.1}' text-anchor='end'>{text}</text>",
            WIDTH - 20.0,
            at + 4.0
        );
    }
}

fn labels(svg: &mut String, x: &Axis, y: &Axis, x_label: &str, y_label: &str) {
    let _ = write!(
        svg,
        "<text class='axis' x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>\
         <text class='axis' x='4' y='16'>{}</text>",
        x.end,
        y.start + 42.0,
        escape(x_label),
        escape(y_label)
    );
}

/// A bar for each model.
#[derive(Clone, Debug)]
pub(super) struct Bar<'a> {
    pub(super) series: usize,
    pub(super) label: &'a str,
    pub(super) value: f64,
    /// The value as it is shown.
    pub(super) text: String,
}

/// Bars from 0, up to `most` or the longest; each with its value behind it.
pub(super) fn bars(what: &str, bars: &[Bar<'_>], most: Option<f64>) -> String {
    const STEP: f64 = 28.0;
    let longest = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0).min(32) as f64;
    let start = (CHARACTER * longest + 16.0).max(60.0);
    let end = WIDTH - 84.0;
    let largest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(1e-12);
    let scale = (end - start) / most.unwrap_or(largest);
    let mut svg = open(STEP * bars.len() as f64 + 4.0, what);
    for (bar, y) in bars.iter().zip((0..).map(|n| STEP * f64::from(n) + 2.0)) {
        let width = (bar.value * scale).clamp(1.0, end - start);
        let name: String = bar.label.chars().take(32).collect();
        let _ = write!(
            svg,
            "<g><title>{}: {1}</title><text x='{2:.1}' y='{3:.1}' text-anchor='end'>{4}</text>\
             <rect class='{5}' x='{start:.1}' y='{y:.1}' width='{width:.1}' height='20' rx='2'/>\
             <text class='value' x='{6:.1}' y='{3:.1}'>{1}</text></g>",
            escape(bar.label),
            escape(&bar.text),
            start - 8.0,
            y + 14.5,
            escape(&name),
            class(bar.series),
            start + width + 7.0
        );
    }
    let _ = write!(
        svg,
        "<line class='base' x1='{start:.1}' x2='{start:.1}' y1='0' y2='{:.1}'/></svg>",
        STEP * bars.len() as f64
    );
    svg
}

/// A line for each model over whole numbers, from 0 up.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) series: usize,
    pub(super) label: &'a str,
    pub(super) points: Vec<(u32, f64)>,
}

/// Lines with a mark at every point.
pub(super) fn lines(what: &str, x_label: &str, y_label: &str, lines: &[Line<'_>]) -> String {
    const HEIGHT: f64 = 300.0;
    let points = || lines.iter().flat_map(|line| &line.points);
    let last = points().map(|&(x, _)| x).max().unwrap_or(0);
    let most = points().map(|&(_, y)| y).fold(0.0, f64::max).max(1e-9);
    let x = Axis { low: 0.0, high: f64::from(last.max(1)), step: 1.0, start: 76.0, end: WIDTH - 32.0 };
    let y = Axis::over(0.0, most * 1.05, HEIGHT - 50.0, 34.0);
    let mut svg = open(HEIGHT, what);
    grid(&mut svg, &y);
    let every = (last / 16 + 1) as usize;
    for layer in (0..=last).step_by(every) {
        let at = x.place(f64::from(layer));
        let _ = write!(
            svg,
            "<text class='tick' x='{at:.1}' y='{:.1}' text-anchor='middle'>{layer}</text>",
            y.start + 20.0
        );
    }
    labels(&mut svg, &x, &y, x_label, y_label);
    for line in lines {
        let places: Vec<_> =
            line.points.iter().map(|&(px, py)| (x.place(f64::from(px)), y.place(py))).collect();
        let path: Vec<_> = places.iter().map(|(px, py)| format!("{px:.1},{py:.1}")).collect();
        let _ = write!(
            svg,
            "<g><title>{}</title><polyline class='{}' points='{}'/>",
            escape(line.label),
            class(line.series),
            path.join(" ")
        );
        svg.extend(places.iter().map(|&(px, py)| mark(line.series, px, py)));
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let texts = |values: &[f64]| -> Vec<String> {
            Axis::around(values.iter().copied(), 0.0, 100.0).ticks().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(&[92.0, 93.1]), ["91.5", "92.0", "92.5", "93.0", "93.5"]);
        assert_eq!(texts(&[0.0, 0.004]), ["0.000", "0.002", "0.004", "0.006"]);
        assert_eq!(texts(&[5.0]), ["4.5", "5.0", "5.5"]);
        // One value of nothing must not divide by nothing.
        assert!(Axis::around([0.0].into_iter(), 0.0, 100.0).place(0.0).is_finite());
    }

    #[test]
    fn names_cannot_become_markup() {
        let label = "<script>&'\"";
        let bar = Bar { series: 0, label, value: 1.0, text: "1".to_owned() };
        let point = Point { series: 0, label, x: 1.0, y: 1.0 };
        for svg in [bars(label, &[bar], None), scatter(label, label, label, &[point], None)] {
            assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&amp;&#39;&quot;"));
        }
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let mut taken = Vec::new();
        let lines = [10.0, 10.0, 12.0].map(|y| free_line(&mut taken, 0.0, 50.0, y));
        assert!(lines.iter().enumerate().all(|(i, a)| lines[..i].iter().all(|b| (a - b).abs() >= 15.0)));
        assert_eq!(free_line(&mut taken, 60.0, 90.0, 10.0), 10.0);
    }
}
