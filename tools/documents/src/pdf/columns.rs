//! Two columns that are drawn line by line across both, as some programs do: they are read one behind the other.
//!
//! A page has columns where at least four of its lines have words on both sides of one gap, and there are sentences on both
//! sides: a table's cells are shorter. What is as wide as the page, such as a heading, parts what is above from what is below.

use super::layout::{Mark, distance};
use std::ops::Range;

/// The least gap between columns, in sizes of the font.
const GAP: f64 = 1.0;
/// The fewest lines that columns have side by side.
const LINES: usize = 4;
/// The fewest characters of a line of a column, but for its last lines.
const CHARACTERS: usize = 20;

/// Characters that follow one another in a line.
struct Run {
    of: Range<usize>,
    left: f64,
    right: f64,
    /// Whether the run before it is in the same line.
    goes_on: bool,
}

/// Puts what is on a page in the order in which it is read.
pub(super) fn put_in_order(page: &mut Vec<(String, Mark)>) {
    let runs = runs(page);
    let Some(gutter) = gutter(&runs) else { return };
    let mut order: Vec<&Run> = Vec::with_capacity(runs.len());
    let mut right: Vec<&Run> = Vec::new();
    for run in &runs {
        if run.left >= gutter {
            right.push(run);
        } else {
            if run.right > gutter {
                order.append(&mut right);
            }
            order.push(run);
        }
    }
    order.append(&mut right);
    *page = order.into_iter().flat_map(|run| page.get(run.of.clone()).unwrap_or_default()).cloned().collect();
}

fn runs(page: &[(String, Mark)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last: Option<Mark> = None;
    for (index, (_, mark)) in page.iter().enumerate() {
        let end = mark.origin.0 + mark.along.0 * mark.advance;
        let (mut same_line, mut near) = (false, false);
        if let Some(last) = last {
            let size = last.along.0;
            let ahead = mark.origin.0 - (last.origin.0 + size * last.advance);
            same_line = (mark.origin.1 - last.origin.1).abs() <= distance::LINE * size;
            near = same_line && ahead <= GAP * size && ahead >= -distance::BACK * size;
            same_line &= ahead > 0.0;
        }
        match runs.last_mut() {
            Some(run) if near => {
                run.of.end = index + 1;
                run.right = run.right.max(end);
            }
            _ => runs.push(Run { of: index..index + 1, left: mark.origin.0, right: end, goes_on: same_line }),
        }
        last = Some(*mark);
    }
    runs
}

/// Where the right column begins at the latest, if there are two.
fn gutter(runs: &[Run]) -> Option<f64> {
    let (mut ends, mut begins, mut lines) = (f64::MIN, f64::MAX, 0);
    for pair in runs.windows(2) {
        let [left, right] = pair else { continue };
        if right.goes_on && left.of.len() >= CHARACTERS && right.of.len() >= CHARACTERS {
            ends = ends.max(left.right);
            begins = begins.min(right.left);
            lines += 1;
        }
    }
    (lines >= LINES && ends < begins).then_some(begins)
}

#[cfg(test)]
mod tests {
    use crate::pdf::{Layout, Mark};

    fn text(lines: &[(&str, f64, f64)]) -> String {
        let mut layout = Layout::default();
        for &(line, x, y) in lines {
            for (index, letter) in line.chars().enumerate() {
                let origin = (x + 5.0 * index as f64, y);
                layout.push(&letter.to_string(), Mark { origin, along: (10.0, 0.0), advance: 0.5 });
            }
        }
        layout.end_page();
        layout.finish()
    }

    #[test]
    fn columns_drawn_across_are_read_one_behind_the_other() {
        let mut lines = vec![("A heading that is as wide as both of the columns are together", 0.0, 100.0)];
        let left = [
            "The left column is of a ",
            "sentence which goes on a",
            "while until it comes to ",
            "its end in a fourth line",
            "here.",
        ];
        let right = [
            "And the right column has",
            "its own, which nobody is",
            "to read before the left ",
            "one has been read to its",
            "end.",
        ];
        for (row, (left, right)) in left.into_iter().zip(right).enumerate() {
            let y = 88.0 - 12.0 * row as f64;
            lines.extend([(left, 0.0, y), (right, 160.0, y)]);
        }
        let text = text(&lines).replace(" \n", "\n");
        let expected =
            format!("{}\n{}\n{}\n\n", lines[0].0, left.join("\n"), right.join("\n")).replace(" \n", "\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn a_table_is_read_row_by_row() {
        let rows = ["one", "two", "three", "four", "five"];
        let mut cells = Vec::new();
        for (row, name) in rows.iter().enumerate() {
            let y = 88.0 - 12.0 * row as f64;
            cells.extend([(*name, 0.0, y), ("12.5 V", 160.0, y)]);
        }
        assert!(text(&cells).starts_with("one 12.5 V\ntwo 12.5 V\n"));
    }
}
