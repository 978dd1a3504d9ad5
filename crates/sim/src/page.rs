//! What pages with plots are made of: each page is one file that needs no other.

use plotters::coord::Shift;
use plotters::prelude::*;

/// What comes of drawing.
pub type Drawn = Result<(), Box<dyn std::error::Error>>;
/// Where is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The font of a picture's text.
pub const FONT: &str = "sans-serif";
/// Colours that are told apart by most eyes (Okabe and Ito).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Draws a picture to be part of a page, which shrinks with it.
///
/// # Errors
/// Where it can't be drawn.
pub fn svg(
    width: u32,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    let fixed = format!("<svg width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&fixed, "<svg", 1))
}

/// Text to be part of a page.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
