use super::layout::{Layout, Mark};
use crate::DocumentError;
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect};
use hayro_interpret::{BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask};
use hayro_interpret::{Context, InterpreterCache, InterpreterSettings, interpret_page};

/// The text of all pages of a PDF file, read in this process: memory and time are bounded by [`super::work`] alone.
///
/// # Errors
/// A file that is damaged, needs a password to be opened, holds no text, or has more than `most` pages.
pub fn extract(bytes: Vec<u8>, most: Option<usize>) -> Result<String, DocumentError> {
    if !has_end(&bytes) {
        let said = "a PDF file that is cut off: its end is missing, and pages with it";
        return Err(DocumentError::Worker(said.to_owned()));
    }
    let pdf = Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            DocumentError::Password { what: "a PDF file" }
        }
        LoadPdfError::Decryption(_) => {
            DocumentError::Worker("a PDF file encrypted in a way that is not known".to_owned())
        }
        LoadPdfError::Invalid => DocumentError::Worker("a damaged PDF file".to_owned()),
    })?;
    let pages = pdf.pages().len();
    if let Some(most) = most.filter(|most| pages > *most) {
        return Err(DocumentError::Worker(format!("a PDF file of {pages} pages, expected {most} at most")));
    }
    let mut drawn = Drawn::default();
    let cache = InterpreterCache::new();
    for page in pdf.pages().iter() {
        let settings = InterpreterSettings::default();
        let everywhere = Rect::new(f64::MIN, f64::MIN, f64::MAX, f64::MAX);
        let mut context = Context::new(Affine::IDENTITY, everywhere, &cache, pdf.xref(), settings);
        interpret_page(page, &mut context, &mut drawn);
        drawn.layout.end_page();
    }
    let text = drawn.layout.finish();
    if text.trim().is_empty() {
        return Err(DocumentError::Scan);
    }
    Ok(text)
}

/// Whether the mark that ends a file is where readers look for it. What fills up the last sector is none of the file.
fn has_end(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"%%EOF";
    const TAIL: usize = 1024;
    let filled = bytes.iter().rposition(|byte| !matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n'));
    let bytes = bytes.get(..filled.map_or(0, |at| at + 1)).unwrap_or_default();
    let tail = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
    tail.windows(MARK.len()).any(|window| window == MARK)
}

/// What is drawn on pages, of which only text is of interest.
#[derive(Default)]
struct Drawn {
    layout: Layout,
}

impl<'a> Device<'a> for Drawn {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        /// Units of a glyph's space in the size of its font.
        const UNITS: f64 = 1000.0;
        /// What a glyph advances where the file does not say so.
        const UNKNOWN: f64 = 0.5;
        for glyph in run.glyphs() {
            let text = match glyph.as_unicode() {
                Some(BfString::Char(character)) => character.to_string(),
                Some(BfString::String(text)) => text,
                None => char::REPLACEMENT_CHARACTER.to_string(),
            };
            let place = props.transform * glyph.transform();
            let origin = place * Point::ZERO;
            let mut along = place * Point::new(UNITS, 0.0) - origin;
            if let WritingMode::Vertical = run.writing_mode() {
                along = place * Point::new(0.0, -UNITS) - origin;
            }
            let advance = match &**glyph {
                Glyph::Outline(outline) => outline.advance_width(),
                Glyph::Type3(drawn) => drawn.advance_width(),
            };
            let advance = advance.map_or(UNKNOWN, |width| f64::from(width) / UNITS);
            self.layout
                .push(&text, Mark { origin: (origin.x, origin.y), along: (along.x, along.y), advance });
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
