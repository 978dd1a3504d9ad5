//! A stand-in, until the page is here.
#![allow(missing_docs)]
use crate::view::View;
use axum::http::HeaderValue;
use std::path::PathBuf;
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Link {
    pub text: String,
    pub url: String,
}
#[derive(Debug)]
pub struct PageConfig {
    pub service: String,
    pub zone: String,
    pub links: Vec<Link>,
    pub texts: Option<PathBuf>,
    pub silence_s: u32,
}
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub struct PageError;
#[derive(Debug, serde::Serialize)]
pub struct Words {
    title: String,
}
#[derive(Debug)]
pub struct Language;
#[derive(Debug)]
pub struct Page(PageConfig);
pub const SESSION_JS: &str = "";
impl Page {
    pub fn new(c: PageConfig) -> Result<Self, PageError> {
        Ok(Self(c))
    }
    pub fn language(&self, _l: Option<&str>, _a: &str) -> &Language {
        &Language
    }
    pub fn html(&self, v: &View, _l: &Language, to: &str) -> String {
        format!("{} {:?} {to}", self.0.service, v)
    }
    pub fn words(&self, v: &View, _l: &Language) -> Words {
        Words {
            title: format!("{v:?}"),
        }
    }
    pub fn csp(&self) -> HeaderValue {
        HeaderValue::from_static("default-src 'none'")
    }
}
